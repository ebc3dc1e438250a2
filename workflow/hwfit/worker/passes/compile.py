"""Kernels made for this model: operators are fused and compiled at the first call of each batch size.

torch: TorchInductor (Ansel et al., PyTorch 2, ASPLOS 2024); tensorflow: XLA, the compiler of TPUs. The
first call takes seconds to minutes, which `first_call_ms` shows: every process compiles anew. What an earlier
one left in Inductor's cache on disk is not used, since a second round would then tell of another start than
the first (LeNet-5 on two cores: 1.8 s in place of 15 s).
"""

from __future__ import annotations

from typing import Any

from hwfit.worker.errors import Unsupported


def torch(session: Any) -> None:
    """Compile the module. Raises Unsupported where Inductor finds no C++ compiler for a CPU."""
    import torch as framework
    from torch._inductor import config, cpp_builder, exc

    if session.device.type == "cpu":
        try:
            cpp_builder.get_cpp_compiler()
        except exc.InvalidCxxCompiler as error:
            raise Unsupported("torch.compile needs a C++ compiler: install g++") from error
    config.force_disable_caches = True
    # Of fixed shapes: every batch size is a combination of its own.
    session.module = framework.compile(session.module, dynamic=False)


def tensorflow(session: Any) -> None:
    """Have the graph compiled by XLA."""
    session.jit_compile = True
