"""Weights of dense layers as int8 or int4 while activations stay floats: fewer bytes to move.

Pays where a product is bound by memory: a language model that writes token by token at a small batch. Int8
has a scale a row, or in ONNX Runtime a group; int4 a scale and a zero point a group (round to nearest, no
calibration).

torch: its CPU kernels (`hwfit.worker.torch_weight_only`); onnxruntime: MatMulNBits; openvino: NNCF's
compress_weights. The last two quantize activations to int8 as well, ONNX Runtime where it is asked to
(accuracy_level 4), OpenVINO unasked (MiniLM then takes half the time): both are told not to, since that is
another optimization, `quantize_dynamic`.

Run on: CPU (torch 2.13.0, onnxruntime 1.31.1, openvino 2026.4.1 with nncf 3.4.0).
"""

from __future__ import annotations

from typing import Any

from hwfit.worker.errors import Unsupported

BITS = {"int8": 8, "int4": 4}
# As OpenVINO calls the formats of compressed constants.
OPENVINO = {"i8": "int8", "u8": "int8", "i4": "int4", "u4": "int4"}


def torch(session: Any, dtype: str, group_size: int) -> None:
    """Replace every Linear layer, and an embedding that shares its table with one.

    Raises Unsupported where there is none, or int4 does not fit one layer.
    """
    from hwfit.worker import torch_weight_only

    torch_weight_only.quantize(session.module, dtype, group_size)
    found = torch_weight_only.formats(session.module)
    if not hasattr(session, "prepare_generation"):
        require_callable(session)
    if dtype not in found:
        why = f", or none that int4 in groups of {group_size} fits" if dtype == "int4" else ""
        raise Unsupported(f"no Linear layer{why}")
    session.pass_facts["quantize_weights"] = {"layers": found}


def require_callable(session: Any) -> None:
    """Raises Unsupported where a network reads its layers' weights itself, which are no floats any more."""
    import torch as framework

    from hwfit.worker.passes.in_place import made_up

    batch = [framework.from_numpy(array) for array in made_up(session.card).values()]
    if session.input_dtype:
        batch = [t.to(session.input_dtype) if t.is_floating_point() else t for t in batch]
    try:
        with framework.inference_mode():
            session.module(*batch)
    except Exception as error:  # whatever its code leads to
        said = (str(error).strip().splitlines() or [""])[0]
        raise Unsupported(f"it does not run on quantized layers: {type(error).__name__}: {said}") from error


def onnxruntime(session: Any, dtype: str, group_size: int) -> None:
    """Replace products with constant matrices by MatMulNBits, whose weights are in groups for int8 as well.

    Raises Unsupported where there is none, or where what the quantizer needs is not installed.
    """
    import onnx

    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            MatMulNBitsQuantizer,
        )
    except ImportError as error:
        raise Unsupported(f"ONNX Runtime's quantizer of weights: {error}") from error

    # Of accuracy levels, 1 is computing in fp32.
    configuration = DefaultWeightOnlyQuantConfig(
        block_size=group_size, is_symmetric=dtype == "int8", accuracy_level=1, bits=BITS[dtype]
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(session.model), algo_config=configuration)
    quantizer.process()
    model = quantizer.model.model
    constants = {tensor.name for tensor in model.graph.initializer}
    # A product of two activations holds no weights.
    left = [
        node
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm", "Gather", "Conv") and constants & set(node.input[:2])
    ]
    done = sum(node.op_type == "MatMulNBits" for node in model.graph.node)
    if not done:
        raise Unsupported("no product with a constant matrix")
    session.pass_facts["quantize_weights"] = {"layers": {dtype: done, "float32": len(left)}}
    session.model = model.SerializeToString()


def openvino(session: Any, dtype: str, group_size: int) -> None:
    """Compress the constants of products and embeddings; int4 leaves the first and the last in int8.

    Raises Unsupported where NNCF is not installed or finds nothing to compress.
    """
    session.pass_facts["quantize_weights"] = {"layers": compress(session, dtype, group_size)}
    session.settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"


def compress(session: Any, dtype: str, group_size: int) -> dict[str, int]:
    """Let NNCF compress an OpenVINO session's constants; returns how many there are in each format.

    Raises Unsupported where NNCF is not installed or finds nothing to compress.
    """
    try:
        import nncf
    except ImportError as error:
        raise Unsupported(f"needs NNCF: {error}") from error

    if dtype == "int8":
        options = {"mode": nncf.CompressWeightsMode.INT8_SYM}
    else:
        options = {"mode": nncf.CompressWeightsMode.INT4_ASYM, "group_size": group_size}
    session.model = nncf.compress_weights(session.model, **options)
    held: dict[str, int] = {}
    for node in session.model.get_ops():
        name = node.get_element_type().get_type_name() if node.get_type_name() == "Constant" else ""
        if name in OPENVINO and not node.get_friendly_name().endswith("/zero_point"):
            held[OPENVINO[name]] = held.get(OPENVINO[name], 0) + 1
    if not held:
        raise Unsupported("NNCF found no weights to compress")
    return held
