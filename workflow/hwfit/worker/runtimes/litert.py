"""LiteRT, TensorFlow's runtime for models that its converter has quantized.

Run on: CPU (ai-edge-litert 2.3.0).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from hwfit.worker.errors import Unsupported
from hwfit.worker.runtimes import Batch, Request, Session
from hwfit.worker.runtimes.tensorflow import turns


class LiteRtSession(Session):
    """An interpreter of a .tflite file, its inputs resized where the batch changes."""

    def __init__(self, request: Request) -> None:
        if request.accelerator != "cpu":
            raise Unsupported("LiteRT runs on CPUs here")
        if request.passes:
            raise Unsupported(f"LiteRT runs the file as it is, without {request.passes[0]['pass']}")
        self.compute_threads = request.threads or os.cpu_count() or 1
        self.size = request.weights.stat().st_size
        self.interpreter = Interpreter(str(request.weights), num_threads=self.compute_threads)
        self.names = [entry["name"] for entry in request.card["inputs"]]
        self.inputs = self.interpreter.get_input_details()
        (self.output, *_) = self.interpreter.get_output_details()
        self.shapes: list[tuple[int, ...]] = []

    def place(self, batch: Batch) -> list[np.ndarray]:
        return [
            np.ascontiguousarray(self.arranged(batch[name], told), dtype=told["dtype"])
            for name, told in zip(self.names, self.inputs, strict=True)
        ]

    def arranged(self, array: np.ndarray, told: dict[str, Any]) -> np.ndarray:
        """Images with their channels last, where the file takes them so."""
        declared = tuple(int(size) for size in told["shape"][1:])
        return array.transpose(0, 2, 3, 1) if turns(array.shape[1:], [declared]) else array

    def run(self, placed: list[np.ndarray]) -> np.ndarray:
        shapes = [array.shape for array in placed]
        if shapes != self.shapes:
            for array, told in zip(placed, self.inputs, strict=True):
                self.interpreter.resize_tensor_input(told["index"], array.shape)
            self.interpreter.allocate_tensors()
            self.shapes = shapes
        for array, told in zip(placed, self.inputs, strict=True):
            self.interpreter.set_tensor(told["index"], array)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output["index"])

    def fetch(self, output: np.ndarray) -> np.ndarray:
        return np.asarray(output, np.float32)

    def accelerator_of(self, output: np.ndarray) -> str:
        return "cpu"

    def model_size_bytes(self) -> int:
        return self.size

    def precisions(self) -> dict[str, int]:
        # The formats of the tensors that are kept, which the operators read and write.
        told = Counter(np.dtype(tensor["dtype"]).name for tensor in self.interpreter.get_tensor_details())
        return dict(sorted(told.items()))

    def threads(self) -> dict[str, int]:
        return {"interpreter": self.compute_threads}


def int8_matmul_kernel(rows: int, size: int) -> Callable[[], None]:
    """A fully connected layer of size x size int8 weights on rows x size int8 inputs, added up in int32."""
    import tensorflow as tf

    samples = np.random.default_rng(0).random((rows, size), np.float32)
    layer = tf.keras.layers.Dense(size, use_bias=False)
    module = tf.keras.Sequential([tf.keras.Input((size,), batch_size=rows), layer])
    converter = tf.lite.TFLiteConverter.from_keras_model(module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter([[samples]])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    interpreter = Interpreter(model_content=converter.convert(), num_threads=os.cpu_count() or 1)
    interpreter.allocate_tensors()
    (told,) = interpreter.get_input_details()
    interpreter.set_tensor(told["index"], np.random.default_rng(0).integers(-128, 128, (rows, size), np.int8))
    return interpreter.invoke
