"""Small ONNX graphs made by hand, and what can be read of a graph without a runtime."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hwfit.worker.zoo import layers

# Read by every runtime release of the last years.
OPSET = 17
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def product(rows: int, size: int, left: int, weights: int, result: int) -> bytes:
    """`output = x @ weights`, rows x size by size x size, of ONNX's element types."""
    operator = "MatMulInteger" if result == TensorProto.INT32 else "MatMul"
    random, dtype = np.random.default_rng(0), helper.tensor_dtype_to_np_dtype(weights)
    if result == TensorProto.INT32:
        array = random.integers(-127, 128, (size, size), dtype)
    else:
        array = random.random((size, size), np.float32).astype(dtype)
    node = helper.make_node(operator, ["x", "weights"], ["output"])
    return model([node], {"x": (rows, size)}, (rows, size), {"weights": array}, left, result)


def cast(shape: tuple[int, ...], element: int) -> bytes:
    """`output = x` in another element type, from fp32."""
    node = helper.make_node("Cast", ["x"], ["output"], to=element)
    return model([node], {"x": shape}, shape, result=element)


def doubling(length: int) -> bytes:
    """`output = x + x`, an fp32 vector: reads and writes every value, and is never folded away."""
    return model([helper.make_node("Add", ["x", "x"], ["output"])], {"x": (length,)}, (length,))


def sequence(network: Sequence[layers.Layer], weights: Mapping[str, np.ndarray]) -> bytes:
    """Dense layers or convolutions with ReLU between them, for batches of any size; weights as torch's."""
    nodes: list[Any] = []
    value = "x"
    for number, layer in enumerate(network):
        name = layers.name_of(layer, number)
        output = "output" if number == len(network) - 1 else f"{name}.output"
        match layer:
            case layers.Dense():
                of = [value, f"{name}.weight", f"{name}.bias"]
                nodes.append(helper.make_node("Gemm", of, [output], transB=1))
            case layers.Convolution():
                of = [value, f"{name}.weight", f"{name}.bias"]
                pads = [layer.padding] * 4
                strides = [layer.stride] * 2
                nodes.append(helper.make_node("Conv", of, [output], pads=pads, strides=strides))
            case layers.ReLU():
                nodes.append(helper.make_node("Relu", [value], [output]))
            case _:
                raise ValueError(f"no node is made of {layer}")
        value = output
    weighted = [layer for layer in network if isinstance(layer, layers.Dense | layers.Convolution)]
    first, last = weighted[0], weighted[-1]
    axes = ("height", "width") if isinstance(first, layers.Convolution) else ()
    return model(nodes, {"x": ("batch", first.inputs, *axes)}, ("batch", last.outputs, *axes), weights)


def model(
    nodes: list[Any],
    inputs: Mapping[str, tuple[int | str, ...]],
    output: tuple[int | str, ...],
    weights: Mapping[str, np.ndarray] | None = None,
    element: int = TensorProto.FLOAT,
    result: int = TensorProto.FLOAT,
) -> bytes:
    """A serialized model with one output, called `output`; fp32 where no other element type is given."""
    graph = helper.make_graph(
        nodes,
        "hwfit",
        [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("output", result, output)],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    return made.SerializeToString()


def initializer_bytes(source: str | Path | bytes) -> int:
    """Bytes of a model's weights in their own formats, external data counted as if it were inside."""
    return sum(bytes_of(tensor) for tensor in weights_of(read(source).graph))


def parameter_counts(source: str | Path | bytes) -> tuple[int, int]:
    """How many floating-point weights a model has, and how many of them are not zero.

    Whole numbers are left out: they are shapes and axes.
    """
    directory = str(Path(source).parent) if isinstance(source, (str, Path)) else ""
    total = nonzero = 0
    for tensor in weights_of(read(source).graph):
        if tensor.data_type in FLOATS:
            array = numpy_helper.to_array(tensor, directory)
            total += array.size
            nonzero += int(np.count_nonzero(array))
    return total, nonzero


def weights_of(graph: Any) -> Iterator[Any]:
    """The tensors that a graph and the branches of its conditions hold, as initializers or constants."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.t.dims:
                yield attribute.t
            for inner in [attribute.g, *attribute.graphs]:
                if inner.node or inner.initializer:
                    yield from weights_of(inner)


def bytes_of(tensor: Any) -> int:
    """Bytes of one tensor's values; formats below a byte (int4) are packed."""
    bits = {TensorProto.INT4: 4, TensorProto.UINT4: 4}.get(tensor.data_type)
    if bits is None:
        bits = 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return math.ceil(math.prod(tensor.dims) * bits / 8)


def read(source: str | Path | bytes) -> Any:
    """The model, its external data left where it is."""
    if isinstance(source, bytes):
        return onnx.load_model_from_string(source)
    return onnx.load(str(source), load_external_data=False)
