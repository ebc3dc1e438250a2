"""A program that torch exported and quantized, run by Inductor: only there do its int8 kernels exist.

Run on: CPU (torch 2.13.0, torchao 0.18.0).
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import compile as compile_pass
from hwfit.worker.runtimes import Request
from hwfit.worker.runtimes.torch import TorchSession

# What Inductor counts while it lowers products, by the format that they are computed in.
INT8 = (
    "qconv_unary_lower_count",
    "qconv2d_binary_lower_count",
    "qlinear_unary_lower_count",
    "qlinear_binary_lower_count",
)
FP32 = ("mkldnn_conv_weight_pack_matcher_count", "mkldnn_linear_weight_pack_matcher_count")


class ProgramSession(TorchSession):
    """An exported program, compiled with its weights as constants."""

    def __init__(self, request: Request) -> None:
        from torch._dynamo.utils import counters

        if request.passes:
            raise Unsupported(
                f"a quantized program is compiled as it is, without {request.passes[0]['pass']}"
            )
        # Weights become constants, without which products stay outside int8.
        torch._inductor.config.freezing = True
        counters.clear()
        super().__init__(request)
        compile_pass.torch(self)

    def loaded(self, request: Request) -> Any:
        # The operators that the program is made of.
        importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
        return torch.export.load(str(request.weights)).module()

    def forget_compiled(self) -> None:
        from torch._dynamo.utils import counters

        super().forget_compiled()
        # Those of other batch sizes, which are compiled on their own.
        counters.clear()

    def precisions(self) -> dict[str, int]:
        from torch._dynamo.utils import counters

        told = counters["inductor"]
        found = {
            "int8": sum(told[name] for name in INT8),
            "fp32": sum(told[name] for name in FP32),
        }
        return {name: count for name, count in found.items() if count}
