"""Weights and activations in a narrower float format: half the bytes to move, and, where the device has
units for the format, more products a second. On a CPU without AVX512-BF16 or AMX bf16 is emulated.
"""

from __future__ import annotations

from typing import Any

from hwfit.worker.errors import Unsupported

# As OpenVINO names what a device can do, and what it is asked for.
OPENVINO = {"bfloat16": ("BF16", "bf16"), "float16": ("FP16", "f16")}


def torch(session: Any, dtype: str, keep_depthwise: bool = False) -> None:
    """Cast the module; inputs are cast when they are placed.

    With `keep_depthwise` only dense layers and filters that mix channels are cast, and what lies between them
    stays in fp32: in EfficientNet-Lite0 the depthwise filters, whose few products even no rounding out, make
    four of five changed answers (top-1 agreement 95.9% with all in bf16, 98.8% with these in fp32).
    Raises Unsupported where it would keep nothing, or cast nothing.
    """
    import torch as framework

    wanted = getattr(framework, dtype)
    if not keep_depthwise:
        session.input_dtype = wanted
        session.module = session.module.to(wanted)
        return
    products: list[Any] = [m for m in session.module.modules() if isinstance(m, products_of(framework))]
    kept = [m for m in products if getattr(m, "groups", 1) > 1]
    if not kept or len(kept) == len(products):
        raise Unsupported(f"{len(kept)} of {len(products)} products are depthwise: nothing to tell apart")
    for layer in products:
        if layer not in kept:
            layer.to(wanted)
            layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(wanted), *inputs[1:]))
            layer.register_forward_hook(lambda _, inputs, output: output.float())


def products_of(framework: Any) -> tuple[type, ...]:
    """The layers of torch that multiply by weights."""
    nn = framework.nn
    return (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def tensorflow(session: Any, dtype: str, keep_depthwise: bool = False) -> None:
    """Build the model with Keras's policy of that name: weights and computation in the format.

    The session raises Unsupported where the model that comes has not taken it.
    """
    refuse(keep_depthwise, "tensorflow")
    session.dtype = dtype


def openvino(session: Any, dtype: str, keep_depthwise: bool = False) -> None:
    """Ask the device's plugin for the format: it converts weights and activations while it compiles.

    Raises Unsupported where the device has no units for it, since OpenVINO would then compute in fp32.
    """
    refuse(keep_depthwise, "openvino")
    capability, hint = OPENVINO[dtype]
    able = session.core.get_property(session.device, "OPTIMIZATION_CAPABILITIES")
    if capability not in able:
        raise Unsupported(f"openvino's {session.device} computes in {', '.join(able)}, not in {capability}")
    session.settings["INFERENCE_PRECISION_HINT"] = hint


def mindspore(session: Any, dtype: str, keep_depthwise: bool = False) -> None:
    """Cast the cell's weights; inputs are cast when they are placed."""
    import mindspore as framework

    refuse(keep_depthwise, "mindspore")
    session.input_dtype = getattr(framework, dtype)
    for parameter in session.cell.get_parameters():
        parameter.set_dtype(session.input_dtype)


def refuse(keep_depthwise: bool, runtime: str) -> None:
    """Raises Unsupported: these runtimes choose the format of all layers at once."""
    if keep_depthwise:
        raise Unsupported(f"{runtime} takes one format for all layers; keep_depthwise is for torch")
