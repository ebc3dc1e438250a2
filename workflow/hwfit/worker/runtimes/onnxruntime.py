"""ONNX Runtime: on CPUs; NVIDIA, Ascend and Intel devices by the name of an execution provider.

Run on: CPU (onnxruntime 1.31.1). Elsewhere only the provider differs; a build of ONNX Runtime brings the
providers it was made with, and `describe` says which where the device's is not among them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto

from hwfit.worker import arrangement, onnx_graphs
from hwfit.worker.errors import Unsupported
from hwfit.worker.onnx_model import NUMPY_TYPES, said
from hwfit.worker.passes import act_on
from hwfit.worker.runtimes import Batch, Placement, Request, Session

# The execution provider of each accelerator, ONNX Runtime's name for its memory, and what to set. Fp32
# means fp32: NVIDIA's TF32 is off.
PROVIDERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", "cpu", {}),
    "cuda": ("CUDAExecutionProvider", "cuda", {"use_tf32": "0"}),
    "npu": ("CANNExecutionProvider", "cann", {}),
    "xpu": ("OpenVINOExecutionProvider", "cpu", {"device_type": "GPU"}),
}
ON_CPU = "CPUExecutionProvider"
# Operators that multiply by weights, in whole numbers and in floats, as ONNX Runtime calls them.
INT8 = (
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "QAttention",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "ConvInteger",
)
PRODUCTS = ("Conv", "FusedConv", "NhwcFusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "Attention")
# A larger model is not written out to be looked at.
LARGEST_BYTES = 1e9


class OnnxRuntimeSession(Session):
    """An inference session with inputs and outputs bound on the device.

    Session passes may replace `model` (a path or a serialized model), `options` and `providers` before
    the session is made.
    """

    def __init__(self, request: Request) -> None:
        provider, self.memory, settings = provider_of(request.accelerator)
        self.accelerator = request.accelerator
        self.model: Any = str(request.weights)
        self.options = onnxruntime.SessionOptions()
        self.options.log_severity_level = 3
        # Asked for, so that it can be told afterwards which operators went to which provider.
        self.options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if request.threads:
            self.options.intra_op_num_threads = request.threads
        self.providers: list[Any] = [(provider, settings)]
        if provider != ON_CPU:
            self.providers.append(ON_CPU)
        act_on(self, "onnxruntime", request.passes)
        self.session = opened(self.model, self.options, self.providers)
        self.card = request.card
        self.types = {entry.name: NUMPY_TYPES.get(entry.type) for entry in self.session.get_inputs()}
        self.outputs = [entry.name for entry in self.session.get_outputs()]
        self.compared = self.outputs.index(self.card.get("output", self.outputs[0]))

    def place(self, batch: Batch) -> Any:
        binding = self.session.io_binding()
        for name, arranged in arrangement.arranged(batch, self.card).items():
            array = np.asarray(arranged, self.types[name], order="C")
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array, self.memory, 0)
            binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            binding.bind_output(name, self.memory)
        return binding

    def run(self, placed: Any) -> Any:
        # Waits for the device: ONNX Runtime synchronizes a bound run unless it is told not to.
        self.session.run_with_iobinding(placed)
        return placed

    def fetch(self, output: Any) -> np.ndarray:
        found = output.get_outputs()[self.compared].numpy()
        return arrangement.samples_first(found, self.card).astype(np.float32, copy=False)

    def accelerator_of(self, output: Any) -> str:
        # A provider that works from the host's memory leaves its outputs there.
        found = output.get_outputs()[0].device_name().lower()
        return self.accelerator if found == self.memory else found

    def model_size_bytes(self) -> int:
        return onnx_graphs.initializer_bytes(self.model)

    def placement(self) -> Placement | None:
        # A host's own ONNX Runtime may be older than this.
        told = getattr(self.session, "get_provider_graph_assignment_info", None)
        if told is None:
            return None
        wanted = self.providers[0][0]
        nodes = [(part.ep_name, node.op_type) for part in told() for node in part.get_nodes()]
        elsewhere = Counter(operator for provider, operator in nodes if provider != wanted)
        share = 1 - elsewhere.total() / len(nodes) if nodes else None
        return Placement(share, dict(sorted(elsewhere.items())))

    @cached_property
    def operators(self) -> Counter[str]:
        """The operators of the graph as it runs, fused and lowered: made again, as a session hides them."""
        if onnx_graphs.initializer_bytes(self.model) > LARGEST_BYTES:
            return Counter()
        with tempfile.TemporaryDirectory() as directory:
            path = str(Path(directory) / "model.onnx")
            self.options.optimized_model_filepath = path
            opened(self.model, self.options, self.providers)
            self.options.optimized_model_filepath = ""
            return Counter(node.op_type for node in onnx_graphs.read(path).graph.node)

    def precisions(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for operator, count in self.operators.items():
            if operator in INT8:
                found["int8"] += count
            elif operator in PRODUCTS:
                found["fp32"] += count
        return dict(found) if found["int8"] else {}

    def threads(self) -> dict[str, int]:
        # 0 is ONNX Runtime's word for a thread a physical core.
        return {"intra_op": self.options.intra_op_num_threads, "inter_op": self.options.inter_op_num_threads}


def open_session(request: Request) -> OnnxRuntimeSession:
    """Load the ONNX file on the device."""
    return OnnxRuntimeSession(request)


def opened(model: Any, options: Any, providers: list[Any]) -> Any:
    """An inference session. Raises Unsupported where the file asks for what this build does not have."""
    told = onnxruntime.capi.onnxruntime_pybind11_state
    # An operator set that is too new, or an operator nobody knows, is a plain Fail.
    refusals = (told.NotImplemented, told.InvalidGraph, told.InvalidProtobuf, told.NoSuchFile, told.Fail)
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except refusals as error:
        raise Unsupported(f"onnxruntime {onnxruntime.__version__}: {said(error)}") from error


def describe(accelerator: str, index: int) -> dict[str, Any]:
    """Versions. Raises Unsupported where this build lacks the device's execution provider."""
    provider, _, _ = provider_of(accelerator)
    return {"runtime_version": onnxruntime.__version__, "device_name": provider}


def provider_of(accelerator: str) -> tuple[str, str, dict[str, str]]:
    """The execution provider, its memory and settings. The worker sees the probed device alone."""
    provider = PROVIDERS[accelerator]
    there = onnxruntime.get_available_providers()
    if provider[0] not in there:
        found = ", ".join(there)
        raise Unsupported(
            f"onnxruntime {onnxruntime.__version__} was built without {provider[0]}; it has {found}"
        )
    return provider


# What ONNX calls the formats of a product: its inputs, and what they add up in.
ELEMENTS = {
    "float32": (TensorProto.FLOAT, TensorProto.FLOAT),
    "tf32": (TensorProto.FLOAT, TensorProto.FLOAT),
    "bfloat16": (TensorProto.BFLOAT16, TensorProto.BFLOAT16),
    "float16": (TensorProto.FLOAT16, TensorProto.FLOAT16),
    "int8": (TensorProto.INT8, TensorProto.INT32),
}


def matmul_kernel(
    accelerator: str, index: int, number_format: str, rows: int, size: int
) -> Callable[[], None]:
    """A product of a rows x size matrix and size x size weights, run to its end; int8 is added up in int32.

    Raises Unsupported where there is no kernel for the format, and ONNX Runtime would compute in fp32.
    """
    left, result = ELEMENTS[number_format]
    weights = left
    if number_format == "int8" and accelerator == "cpu":
        # As its quantizer makes them; signed on both sides there is no fast kernel.
        left = TensorProto.UINT8
    model = onnx_graphs.product(rows, size, left, weights, result)
    settings = {"use_tf32": "1"} if number_format == "tf32" else {}
    if number_format == "float16" and "Cast" in lowered(model, accelerator):
        raise Unsupported("there is no kernel for it: it is converted to fp32 and back")
    array = np.random.default_rng(0).random((rows, size), np.float32)
    return bound(model, accelerator, converted(array, left, accelerator), settings)


def copy_kernel(accelerator: str, index: int, copy_bytes: int) -> Callable[[], None]:
    """A copy on the device, run to its end."""
    value = onnxruntime.OrtValue.ortvalue_from_numpy(
        np.ones(copy_bytes // 4, np.float32), provider_of(accelerator)[1], 0
    )
    return bound(onnx_graphs.doubling(copy_bytes // 4), accelerator, value, {})


def bound(model: bytes, accelerator: str, value: Any, more: dict[str, str]) -> Callable[[], None]:
    """The call of a graph of one input and one output that lie on the device."""
    session, binding = bound_session(model, accelerator, value, more)
    return lambda: session.run_with_iobinding(binding)


def bound_session(model: bytes, accelerator: str, value: Any, more: dict[str, str]) -> tuple[Any, Any]:
    """A session and its binding, of the device's provider alone."""
    provider, memory, settings = provider_of(accelerator)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = opened(model, options, [(provider, settings | more)])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", value)
    binding.bind_output("output", memory)
    return session, binding


def converted(array: np.ndarray, element: int, accelerator: str) -> Any:
    """An array on the device in a format that numpy may not have: ONNX Runtime casts it there."""
    value = onnxruntime.OrtValue.ortvalue_from_numpy(array, provider_of(accelerator)[1], 0)
    session, binding = bound_session(onnx_graphs.cast(array.shape, element), accelerator, value, {})
    session.run_with_iobinding(binding)
    return binding.get_outputs()[0]


def lowered(model: bytes, accelerator: str) -> set[str]:
    """The operators that a graph becomes."""
    provider, _, settings = provider_of(accelerator)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as directory:
        options.optimized_model_filepath = path = str(Path(directory) / "model.onnx")
        opened(model, options, [(provider, settings)])
        return {node.op_type for node in onnx_graphs.read(path).graph.node}
