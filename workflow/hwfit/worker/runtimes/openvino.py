"""OpenVINO: on CPUs; Intel GPUs and NPUs by device name.

Run on: CPU (openvino 2026.4.1). A model is compiled anew for each batch size, as its guide to performance
recommends: with a dynamic batch it took 2 to 8% longer here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
from openvino import opset13

from hwfit.worker import arrangement
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import act_on
from hwfit.worker.runtimes import Batch, Request, Session

DEVICES = {"cpu": "CPU", "xpu": "GPU", "intel-npu": "NPU"}
# Layers of a compiled model that multiply, whose format is that of the model, and those that compute nothing.
PRODUCTS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
MOVES = ("Const", "Input", "Output", "Reorder", "Reshape", "Transpose", "ShapeOf", "Broadcast", "Convert")


class OpenVinoSession(Session):
    """A compiled model for each shape of its inputs; session passes may change `model` and `settings`, and
    say that it `is_asynchronous`: that several calls go on together, each in a request of its own.
    """

    def __init__(self, request: Request) -> None:
        self.core = core_with(request.accelerator)
        self.accelerator = request.accelerator
        self.device = device_name(request.accelerator, request.index)
        # Fp32 means fp32: where a CPU has bf16 units, OpenVINO takes them unasked.
        self.settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if request.threads:
            self.settings["INFERENCE_NUM_THREADS"] = request.threads
        try:
            self.model = self.core.read_model(str(request.weights))
        except RuntimeError as error:
            raise Unsupported(f"openvino {openvino.__version__}: {said(error)}") from error
        self.card = request.card
        known = [entry["name"] for entry in request.card["inputs"]]
        # In OpenVINO's order, which takes tensors by their place; one tensor may have several names.
        self.names = [next(name for name in known if name in port.names) for port in self.model.inputs]
        self.types = {name: self.model.input(name).get_element_type().to_dtype() for name in self.names}
        act_on(self, "openvino", request.passes)
        self.requests: dict[tuple[Any, ...], Any] = {}
        self.idle: dict[tuple[Any, ...], list[Any]] = {}

    def place(self, batch: Batch) -> tuple[tuple[Any, ...], list[Any]]:
        arranged = arrangement.arranged(batch, self.card)
        arrays = [np.asarray(arranged[name], self.types[name], order="C") for name in self.names]
        # The arrays are kept by the tensors that share their memory.
        return tuple(a.shape for a in arrays), [openvino.Tensor(a, shared_memory=True) for a in arrays]

    def run(self, placed: tuple[tuple[Any, ...], list[Any]]) -> Any:
        shapes, tensors = placed
        request = self.requests.get(shapes) or self.compiled(shapes)
        return request.infer(tensors, share_inputs=True, share_outputs=False)

    def start(self, placed: tuple[tuple[Any, ...], list[Any]]) -> Any:
        if not self.is_asynchronous:
            return self.run(placed)
        shapes, tensors = placed
        idle = self.idle.setdefault(shapes, [])
        known = self.requests.get(shapes) or self.compiled(shapes)
        request = idle.pop() if idle else known.get_compiled_model().create_infer_request()
        request.start_async(tensors, share_inputs=True)
        return shapes, request

    def finish(self, started: Any) -> np.ndarray:
        if not self.is_asynchronous:
            return self.fetch(started)
        shapes, request = started
        request.wait()
        # Copied: the next call of this request writes where its outputs lie.
        outputs = np.array(self.fetch(request.results))
        self.idle[shapes].append(request)
        return outputs

    def calls_at_a_time(self) -> int:
        if not self.is_asynchronous or not self.requests:
            return 1
        (request, *_) = self.requests.values()
        return int(request.get_compiled_model().get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def compiled(self, shapes: tuple[Any, ...]) -> Any:
        """An inference request of the model for inputs of these shapes, compiled at the first call."""
        model = self.model.clone()
        try:
            model.reshape(dict(zip(self.names, shapes, strict=True)))
            request = self.core.compile_model(model, self.device, self.settings).create_infer_request()
        except RuntimeError as error:
            raise Unsupported(f"openvino {openvino.__version__} on {self.device}: {said(error)}") from error
        self.requests[shapes] = request
        return request

    def fetch(self, output: Any) -> np.ndarray:
        found = np.asarray(output[self.card.get("output", 0)], np.float32)
        return arrangement.samples_first(found, self.card)

    def forget_compiled(self) -> None:
        self.requests.clear()
        self.idle.clear()

    def accelerator_of(self, output: Any) -> str:
        (request, *_) = self.requests.values()
        used = request.get_compiled_model().get_property("EXECUTION_DEVICES")
        known = {name.partition(".")[0].strip("()") for name in used}
        return next(
            (name for name, device in DEVICES.items() if known == {device}), " and ".join(sorted(known))
        )

    def model_size_bytes(self) -> int:
        # What a pass has made of the weights; a cast is done by the device's plugin, out of sight.
        return constant_bytes(self.model)

    def precisions(self) -> dict[str, int]:
        if not self.requests:
            return {}
        (request, *_) = self.requests.values()
        told = (node.get_rt_info() for node in request.get_compiled_model().get_runtime_model().get_ops())
        ran = [(info["layerType"].astype(str), info["runtimePrecision"].astype(str)) for info in told]
        products = [format for layer, format in ran if layer in PRODUCTS]
        return dict(sorted(Counter(products or (f for layer, f in ran if layer not in MOVES)).items()))

    def threads(self) -> dict[str, int]:
        if not self.requests:
            return {}
        (request, *_) = self.requests.values()
        compiled = request.get_compiled_model()
        return {
            "inference": int(compiled.get_property("INFERENCE_NUM_THREADS")),
            "streams": int(compiled.get_property("NUM_STREAMS")),
        }


def constant_bytes(model: Any) -> int:
    """Bytes of a model's constants, those in branches of conditions and bodies of loops too."""
    total = 0
    for node in model.get_ordered_ops():
        match node.get_type_name():
            case "Constant":
                total += node.get_byte_size()
            case "If":
                total += constant_bytes(node.get_then_body()) + constant_bytes(node.get_else_body())
            case "Loop" | "TensorIterator":
                total += constant_bytes(node.get_function())
    return total


def open_session(request: Request) -> OpenVinoSession:
    """Read the ONNX file; it is compiled at the first call of each batch size."""
    return OpenVinoSession(request)


def describe(accelerator: str, index: int) -> dict[str, Any]:
    """Versions, and the device as OpenVINO names it. Raises Unsupported where it finds none."""
    core, device = core_with(accelerator), device_name(accelerator, index)
    return {
        "runtime_version": openvino.__version__.split("-")[0],
        "device_name": core.get_property(device, "FULL_DEVICE_NAME"),
    }


def core_with(accelerator: str) -> Any:
    """OpenVINO's core. Raises Unsupported where it finds no such device."""
    core, device = openvino.Core(), DEVICES[accelerator]
    there = {name.partition(".")[0] for name in core.available_devices}
    if device not in there:
        found = ", ".join(sorted(there)) or "none"
        raise Unsupported(f"openvino {openvino.__version__} finds no {device} device; it finds {found}")
    return core


def device_name(accelerator: str, index: int) -> str:
    """The device as OpenVINO counts them: it has no variable by which only the probed one is seen."""
    return f"{DEVICES[accelerator]}.{index}" if index else DEVICES[accelerator]


def said(error: Exception) -> str:
    """The line of OpenVINO's message that matters: those before it say where in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = ("Exception from", "Check '", "FrontEnd API failed", "Model wasn't", "-- ", "While validating")
    return next((line for line in lines if not line.startswith(where)), lines[0])


# What a product's layer says it computes in, where it does what was asked for.
COMPUTES = {"float32": ("f32",), "bfloat16": ("bf16",), "float16": ("f16",), "int8": ("i8", "u8")}
HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}


def matmul_kernel(
    accelerator: str, index: int, number_format: str, rows: int, size: int
) -> Callable[[], Any]:
    """A product of a rows x size matrix and size x size weights, run to its end; int8 as OpenVINO quantizes.

    Raises Unsupported where the compiled layer computes in another format: a hint is no promise.
    """
    random = np.random.default_rng(0)
    if number_format == "int8":
        left = opset13.parameter([rows, size], np.int8)
        array = random.integers(-128, 128, (rows, size), np.int8)
        weights = opset13.constant(random.integers(-127, 128, (size, size), np.int8))
        # A conversion and a scale of either side are what its quantizer leaves, and its plugins look for.
        scale = opset13.constant(np.float32(0.01))
        factors = [opset13.multiply(opset13.convert(side, "f32"), scale) for side in (left, weights)]
    else:
        left = opset13.parameter([rows, size], np.float32)
        array = random.random((rows, size), np.float32)
        factors = [left, opset13.constant(random.random((size, size), np.float32))]
    node = opset13.matmul(*factors, False, True)
    request = compiled_kernel(accelerator, index, node, left, HINTS[number_format])
    model = request.get_compiled_model().get_runtime_model()
    told = [op.get_rt_info() for op in model.get_ops()]
    layers = [(info["layerType"].astype(str), info["runtimePrecision"].astype(str)) for info in told]
    computed = {precision for layer, precision in layers if layer in PRODUCTS}
    if not computed or not computed <= set(COMPUTES[number_format]):
        raise Unsupported(
            f"computes in {' and '.join(sorted(computed)) or 'an unknown format'} when asked for it"
        )
    return bound(request, array)


def copy_kernel(accelerator: str, index: int, copy_bytes: int) -> Callable[[], Any]:
    """A copy on the device, run to its end."""
    # A sum reads and writes every value, and is never folded away.
    values = opset13.parameter([copy_bytes // 4], np.float32)
    request = compiled_kernel(accelerator, index, opset13.add(values, values), values, "f32")
    return bound(request, np.ones(copy_bytes // 4, np.float32))


def compiled_kernel(accelerator: str, index: int, node: Any, parameter: Any, hint: str) -> Any:
    """An inference request of a model of one input."""
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Model([node], [parameter])
    compiled = core_with(accelerator).compile_model(model, device_name(accelerator, index), settings)
    return compiled.create_infer_request()


def bound(request: Any, array: np.ndarray) -> Callable[[], Any]:
    """The call of a request on an input in place."""
    tensor = openvino.Tensor(array, shared_memory=True)
    return lambda: request.infer([tensor], share_inputs=True, share_outputs=True)
