"""Generation in TensorFlow: hwfit's own Llama, from a checkpoint of that architecture.

Run on: CPU (tensorflow-cpu 2.21.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hwfit.worker.generation import GenerationSession
from hwfit.worker.models import load_arrays
from hwfit.worker.runtimes import Request
from hwfit.worker.runtimes.tensorflow import TensorFlowSession
from hwfit.worker.zoo.llama import Architecture
from hwfit.worker.zoo.llama.tensorflow import Llama


class TensorFlowGeneration(GenerationSession, TensorFlowSession):
    """The network, its graphs traced at their first call."""

    def __init__(self, request: Request) -> None:
        TensorFlowSession.__init__(self, request)
        self.decoder = self.model
        self.prepare_generation(request)

    def build(self, request: Request) -> None:
        architecture = Architecture.from_config(request.card["architecture"])
        with tf.device(self.device):
            self.model = Llama(architecture, load_arrays(request.weights), self.dtype)

    def wait(self) -> None:
        if self.is_asynchronous:
            tf.test.experimental.sync_devices()

    def to_host(self, array: Any) -> np.ndarray:
        return (tf.cast(array, tf.float32) if array.dtype.is_floating else array).numpy()
