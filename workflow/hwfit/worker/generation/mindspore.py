"""Generation in MindSpore: hwfit's own Llama, from a checkpoint of that architecture, in graph mode.

Run on: CPU (mindspore 2.8.0).
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np

from hwfit.worker.generation import GenerationSession
from hwfit.worker.generation.evaluation import WINDOWS_A_CALL
from hwfit.worker.models import load_arrays
from hwfit.worker.runtimes import Batch, Request
from hwfit.worker.runtimes.mindspore import MindSporeSession
from hwfit.worker.zoo.llama import Architecture
from hwfit.worker.zoo.llama.mindspore import Decoder, Llama


class MindSporeGeneration(GenerationSession, MindSporeSession):
    """The network, its graphs compiled at their first call."""

    def __init__(self, request: Request) -> None:
        MindSporeSession.__init__(self, request)
        self.prepare_generation(request)

    def build(self, request: Request) -> Any:
        cell = Llama(Architecture.from_config(request.card["architecture"]), load_arrays(request.weights))
        self.decoder = Decoder(cell)
        return cell

    def try_kernels(self, one: Batch) -> None:
        # As many rows as an evaluation has, since another number would be another graph to compile.
        (tokens,) = one.values()
        self.logits(np.repeat(tokens, WINDOWS_A_CALL, axis=0))

    def wait(self) -> None:
        ms.runtime.synchronize()

    def to_host(self, array: Any) -> np.ndarray:
        return (array.astype(ms.float32) if array.is_floating_point() else array).asnumpy()
