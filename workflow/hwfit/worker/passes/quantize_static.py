"""Int8 weights and activations, their ranges calibrated on real inputs (Jacob et al., CVPR 2018).

Pays where a device multiplies int8 faster than fp32 (VNNI, AMX, tensor cores) and the network bears it.
Weights have a scale a channel, activations a scale and a zero a tensor. Each runtime is quantized by the
library made for it: torchao's PT2E, TensorFlow's converter, ONNX Runtime's quantizer, NNCF.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from hwfit.worker.errors import Unsupported
from hwfit.worker.file_passes import Workpiece

BATCH = 8


def onnxruntime(piece: Workpiece, dtype: str, samples: int) -> str:
    """QDQ format; unsigned activations, for which CPUs with VNNI have the faster kernels (2.5 and 1.1 times
    fp32 on EfficientNet-Lite0, batch 8, against signed ones).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from hwfit.worker import arrangement

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            batches = piece.batches(piece.card.get("batch_size") or BATCH, samples)
            self.batches = iter([dict(arrangement.arranged(each, piece.card)) for each in batches])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    prepared, made = piece.out / "prepared.onnx", piece.out / "model.onnx"
    model = onnx.load(str(piece.weights))
    # The quantizer trips over the shapes that the exporter wrote down.
    model.graph.ClearField("value_info")
    operators = {node.op_type for node in model.graph.node}
    onnx.save(model, str(prepared))
    # Symbolic shapes would need sympy, and change nothing where each operator's rank is known.
    quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(made),
        Reader(),
        quant_format=QuantFormat.QDQ,
        # Of a network without convolutions the products alone: softmax and norms do not bear it (MiniLM's
        # embeddings keep a cosine of 0.35 to those in fp32).
        op_types_to_quantize=None if "Conv" in operators else ["MatMul", "Gemm"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()
    kinds = [node.op_type for node in onnx.load(str(made)).graph.node]
    require_some("DequantizeLinear" in kinds)
    piece.facts["quantized_tensors"] = kinds.count("QuantizeLinear")
    return made.name


def openvino(piece: Workpiece, dtype: str, samples: int) -> str:
    """NNCF, with asymmetric activations, and its scheme for transformers where there is attention."""
    import nncf
    import openvino as framework

    from hwfit.worker import arrangement

    nncf.set_log_level(logging.ERROR)
    model = framework.Core().read_model(str(piece.weights))
    kinds = {node.get_type_name() for node in model.get_ordered_ops()}
    has_attention = bool({"Softmax", "ScaledDotProductAttention"} & kinds) and "Convolution" not in kinds
    size = piece.card.get("batch_size") or 1
    batches = [dict(arrangement.arranged(each, piece.card)) for each in piece.batches(size, samples)]
    quantized = nncf.quantize(
        model,
        nncf.Dataset(batches),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if has_attention else None,
        subset_size=len(batches),
    )
    quantizers = sum(node.get_type_name() == "FakeQuantize" for node in quantized.get_ordered_ops())
    require_some(quantizers > 0)
    piece.facts["quantized_tensors"] = quantizers
    framework.save_model(quantized, str(piece.out / "model.xml"), compress_to_fp16=False)
    return "model.xml"


def tensorflow(piece: Workpiece, dtype: str, samples: int) -> str:
    """TensorFlow's converter to LiteRT, which then runs it; inputs and outputs stay fp32."""
    import tensorflow as framework

    from hwfit.worker import models
    from hwfit.worker.runtimes.tensorflow import arranged_for

    model = models.keras_model(piece.source, piece.weights)
    names = [entry["name"] for entry in piece.card["inputs"]]
    if len(names) > 1:
        raise Unsupported("LiteRT orders inputs by itself: not for models of several")
    converter = framework.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [framework.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [arranged_for(model, batch[name]) for name in names] for batch in piece.batches(1, samples)
    )
    content = converter.convert()
    (piece.out / "model.tflite").write_bytes(content)
    told = framework.lite.Interpreter(model_content=content).get_tensor_details()
    quantizers = sum(tensor["dtype"] is np.int8 for tensor in told)
    require_some(quantizers > 0)
    piece.facts["quantized_tensors"] = quantizers
    return "model.tflite"


def torch(piece: Workpiece, dtype: str, samples: int) -> str:
    """PT2E for x86: an exported program whose products Inductor lowers to oneDNN's int8 kernels.

    Raises Unsupported where the quantizer recognises no product of the network.
    """
    import torch as framework

    from hwfit.worker import models

    module = models.torch_network(piece.source, piece.card["task"])
    models.load_torch_weights(module, piece.weights)
    module.eval()
    names = [entry["name"] for entry in piece.card["inputs"]]
    batches = [
        tuple(framework.from_numpy(np.ascontiguousarray(batch[name])) for name in names)
        for batch in piece.batches(BATCH, samples)
    ]
    failures = []
    # By Dynamo first: the quantizer recognises functional convolutions only in its graphs (of
    # EfficientNet-Lite0's 50 products it otherwise sees one, the last). MiniLM's it does not digest.
    for is_strict in (True, False):
        try:
            quantized, quantizers = quantized_program(module, batches, is_strict)
        except Exception as error:  # whatever a model's code leads Dynamo and the quantizer to
            failures.append(f"{type(error).__name__}: {error}".splitlines()[0])
            continue
        if quantizers:
            piece.facts["quantized_tensors"] = quantizers
            framework.export.save(quantized, str(piece.out / "model.pt2"))
            return "model.pt2"
    require_some(bool(failures))
    raise Unsupported(f"torch {framework.__version__} cannot quantize it: {'; '.join(failures)}")


def quantized_program(module: Any, batches: list[tuple[Any, ...]], is_strict: bool) -> tuple[Any, int]:
    """A module as an exported program in int8, for batches of any size, and how many tensors it quantizes."""
    import torch as framework
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    size = framework.export.Dim("batch", min=1)
    shapes = tuple({0: size} for _ in batches[0])

    def exported(network: Any) -> Any:
        return framework.export.export(network, batches[0], dynamic_shapes=shapes, strict=is_strict)

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    with framework.no_grad():
        prepared = prepare_pt2e(exported(module).module(), quantizer)
        for batch in batches:
            prepared(*batch)
        converted = convert_pt2e(prepared)
        move_exported_model_to_eval(converted)
        forget_unused(converted)
        kinds = [str(node.target) for node in converted.graph.nodes]
        quantizers = sum(".quantize_per_tensor" in kind for kind in kinds)
        return exported(converted), quantizers


def forget_unused(network: Any) -> None:
    """Remove a graph's weights that no node reads: the fp32 ones, in whose place int8 ones have come."""
    read = {str(node.target) for node in network.graph.nodes if node.op == "get_attr"}
    for name in [*dict(network.named_parameters()), *dict(network.named_buffers())]:
        if name not in read:
            owner, _, own = name.rpartition(".")
            delattr(network.get_submodule(owner), own)


def require_some(found: bool) -> None:
    """Raises Unsupported where nothing was quantized."""
    if not found:
        raise Unsupported("no product that the quantizer recognises")
