"""TensorFlow, one traced graph for each batch size (`tf.function`): on CPUs, GPUs and TPUs.

Run on: CPU (tensorflow-cpu 2.21.0). Elsewhere only the strategy differs that places model and calls (one
device, or a TPU's core), and the wait at the end of `run` for devices that answer before they are done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from hwfit.worker import models
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import act_on
from hwfit.worker.runtimes import Batch, Request, Session
from hwfit.worker.zoo.layers import channels_last

PLATFORMS = {"cpu": "CPU", "cuda": "GPU", "tpu": "TPU"}


class TensorFlowSession(Session):
    """A Keras model on a device; session passes set `dtype`, `jit_compile` and `is_traced` before."""

    def __init__(self, request: Request) -> None:
        if request.threads:
            tf.config.threading.set_intra_op_parallelism_threads(request.threads)
        self.device = device_of(request.accelerator, request.index)
        self.is_asynchronous = request.accelerator != "cpu"
        self.names = [entry["name"] for entry in request.card["inputs"]]
        self.dtype = "float32"
        self.jit_compile = False
        self.is_traced = True
        act_on(self, "tensorflow", request.passes)
        keras.config.set_dtype_policy(self.dtype)
        self.strategy = strategy_of(request.accelerator, self.device)
        with self.strategy.scope():
            self.build(request)
        tf.config.experimental.enable_tensor_float_32_execution(False)

    def build(self, request: Request) -> None:
        """The model and its graph, in the session's float format, where the strategy places them."""
        self.model = models.keras_model(request.source, request.weights)
        kept = {v.dtype for v in self.model.weights if tf.as_dtype(v.dtype).is_floating} - {self.dtype}
        if request.passes and kept:
            raise Unsupported(
                f"the model keeps its {', '.join(sorted(map(str, kept)))} weights, not {self.dtype}"
            )
        self.graph = tf.function(self.placed_call) if self.is_traced else self.call

    def placed_call(self, *inputs: Any) -> Any:
        """The call as the strategy places it: traced, so that it costs nothing when it runs."""
        # A TPU's strategy compiles what it runs anyway; elsewhere XLA is asked for.
        is_asked = self.jit_compile and not isinstance(self.strategy, tf.distribute.TPUStrategy)
        call = tf.function(self.call, jit_compile=True) if is_asked else self.call
        (output,) = self.strategy.experimental_local_results(self.strategy.run(call, inputs))
        return output

    def call(self, *inputs: Any) -> Any:
        """The model's outputs. Keras takes several inputs as one list."""
        return self.model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    def place(self, batch: Batch) -> list[Any]:
        with tf.device(self.device):
            return [tf.constant(self.in_layout(batch[name])) for name in self.names]

    def in_layout(self, array: np.ndarray) -> np.ndarray:
        """Images with their channels last, in the session's float format."""
        array = arranged_for(self.model, array)
        is_float = np.issubdtype(array.dtype, np.floating)
        return array.astype(tf.as_dtype(self.dtype).as_numpy_dtype) if is_float else array

    def run(self, placed: list[Any]) -> Any:
        output = self.graph(*placed)
        if self.is_asynchronous:
            tf.test.experimental.sync_devices()
        return output

    def start(self, placed: list[Any]) -> Any:
        return self.graph(*placed)

    def fetch(self, output: Any) -> np.ndarray:
        return tf.cast(output, tf.float32).numpy()

    def accelerator_of(self, output: Any) -> str:
        platform = tf.DeviceSpec.from_string(output.device).device_type
        return next(name for name, known in PLATFORMS.items() if known == platform)

    def model_size_bytes(self) -> int:
        return sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in self.model.variables)

    def parameters(self) -> int:
        return self.model.count_params()

    def threads(self) -> dict[str, int]:
        return {
            "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        }

    def reset_peak_memory(self) -> None:
        if self.is_asynchronous:
            tf.config.experimental.reset_memory_stats(self.device.removeprefix("/"))

    def peak_memory_bytes(self) -> int | None:
        if not self.is_asynchronous:
            return None
        return tf.config.experimental.get_memory_info(self.device.removeprefix("/"))["peak"]


def arranged_for(model: Any, array: np.ndarray) -> np.ndarray:
    """Inputs in torch's layout as a Keras model takes them: images with their channels last."""
    declared = [tuple(entry.shape[1:]) for entry in getattr(model, "inputs", None) or []]
    return array.transpose(0, 2, 3, 1) if turns(array.shape[1:], declared) else array


def turns(shape: tuple[int, ...], declared: Sequence[tuple[int | None, ...]]) -> bool:
    """Whether some declared input has this shape (channels, height, width) with its channels last."""
    if len(shape) != 3 or shape in declared:
        return False
    turned = channels_last(shape)
    return any(len(d) == 3 and all(a in (None, b) for a, b in zip(d, turned, strict=True)) for d in declared)


def open_session(request: Request) -> Session:
    """Build the model from the checkpoint on the device."""
    if request.task == "generation":
        from hwfit.worker.generation.tensorflow import TensorFlowGeneration

        return TensorFlowGeneration(request)
    if request.weights.suffix == ".tflite":
        from hwfit.worker.runtimes.litert import LiteRtSession

        return LiteRtSession(request)
    return TensorFlowSession(request)


def describe(accelerator: str, index: int) -> dict[str, Any]:
    """Versions, and the device as TensorFlow names it. Raises Unsupported where it does not see it."""
    return {
        "runtime_version": tf.__version__,
        "device_name": device_of(accelerator, index),
        "keras": keras.__version__,
    }


def device_of(accelerator: str, index: int) -> str:
    """The name of the device. The worker sees the probed one alone, so its number there is 0."""
    platform = PLATFORMS[accelerator]
    if not tf.config.list_physical_devices(platform):
        raise Unsupported(f"tensorflow {tf.__version__} finds no {platform} device")
    return f"/{platform}:0"


def strategy_of(accelerator: str, device: str) -> Any:
    """What places a model and its calls on a device: one device, or one core of the TPUs of this host."""
    if accelerator != "tpu":
        return tf.distribute.OneDeviceStrategy(device)
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
    topology = tf.tpu.experimental.initialize_tpu_system(resolver)
    core = tf.tpu.experimental.DeviceAssignment.build(topology, num_replicas=1)
    return tf.distribute.TPUStrategy(resolver, experimental_device_assignment=core)


def matmul_kernel(
    accelerator: str, index: int, number_format: str, rows: int, size: int
) -> Callable[[], Any]:
    """A product of rows x size and size x size matrices, run to its end; int8 by LiteRT, as it is measured.

    Raises Unsupported for int8 on what LiteRT does not run on.
    """
    if number_format == "int8":
        if accelerator != "cpu":
            raise Unsupported("int8 products are LiteRT's, which runs on CPUs here")
        from hwfit.worker.runtimes.litert import int8_matmul_kernel

        return int8_matmul_kernel(rows, size)
    tf.config.experimental.enable_tensor_float_32_execution(number_format == "tf32")
    dtype = tf.as_dtype("float32" if number_format == "tf32" else number_format)
    with tf.device(device_of(accelerator, index)):
        left, right = (tf.cast(tf.random.uniform(shape), dtype) for shape in ((rows, size), (size, size)))

    def matmul() -> Any:
        result = tf.linalg.matmul(left, right)
        finish(accelerator)
        return result

    return matmul


def copy_kernel(accelerator: str, index: int, copy_bytes: int) -> Callable[[], None]:
    """A copy on the device, run to its end."""
    with tf.device(device_of(accelerator, index)):
        source = tf.ones((copy_bytes // 4,))

    def copy() -> None:
        # Eager identity only adds a reference; adding zero reads and writes every value.
        tf.raw_ops.AddV2(x=source, y=0.0)
        finish(accelerator)

    return copy


def finish(accelerator: str) -> None:
    """Wait for the device where it does not wait by itself."""
    if accelerator != "cpu":
        tf.test.experimental.sync_devices()
