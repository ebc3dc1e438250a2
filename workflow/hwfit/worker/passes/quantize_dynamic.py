"""Int8 weights in dense layers; activations are quantized call by call, without calibration.

Pays where dense layers dominate: transformers, large MLPs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hwfit.worker.errors import Unsupported

# Values of an activation that share a scale in OpenVINO, its own default.
GROUP = 32


def torch(session: Any, dtype: str) -> None:
    """Quantize every Linear layer. Raises Unsupported where there is none, or no int8 engine."""
    import torch as framework
    from torch.ao.quantization import quantize_dynamic

    if session.device.type != "cpu":
        raise Unsupported("torch's dynamic int8 kernels run on CPUs only")
    # By exact type, as torch replaces them: a subclass keeps its fp32 weights.
    if not any(type(module) is framework.nn.Linear for module in session.module.modules()):
        raise Unsupported("no Linear layer to quantize")
    session.module = quantize_dynamic(session.module, {framework.nn.Linear}, dtype=framework.qint8)


def onnxruntime(session: Any, dtype: str) -> None:
    """Quantize products with constant weights, a scale a channel. Raises Unsupported where there is none."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if session.accelerator != "cpu":
        raise Unsupported("ONNX Runtime's dynamic int8 kernels run on CPUs only")
    with tempfile.TemporaryDirectory() as directory:
        prepared, quantized = Path(directory) / "prepared.onnx", Path(directory) / "quantized.onnx"
        model = onnx.load(session.model)
        # The quantizer transposes weights and trips over the shapes that the exporter wrote down for them.
        model.graph.ClearField("value_info")
        onnx.save(model, str(prepared))
        quantize_dynamic(
            prepared,
            quantized,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(str(quantized))
    if not any(node.op_type == "MatMulInteger" for node in model.graph.node):
        raise Unsupported("no product with constant weights to quantize")
    session.model = model.SerializeToString()


def openvino(session: Any, dtype: str) -> None:
    """Compress the constants of products and embeddings; the plugin quantizes activations in groups.

    Raises Unsupported where there is nothing to compress, or no dense layer whose inputs to quantize.
    """
    from hwfit.worker.passes import quantize_weights

    if not any(node.get_type_name() == "MatMul" for node in session.model.get_ops()):
        raise Unsupported("no dense layer to quantize")
    session.pass_facts["quantize_dynamic"] = {"layers": quantize_weights.compress(session, dtype, GROUP)}
    session.settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(GROUP)
