"""Weights and activations in a narrower float format: half the bytes to move, and, where the device has
units for the format, more products a second. On a CPU without AVX512-BF16 or AMX bf16 is emulated.
"""

from __future__ import annotations

from typing import Any

from hwfit.worker.errors import Unsupported

# As OpenVINO names what a device can do, and what it is asked for.
OPENVINO = {"bfloat16": ("BF16", "bf16"), "float16": ("FP16", "f16")}


def torch(session: Any, dtype: str) -> None:
    """Cast the module; inputs are cast when they are placed."""
    import torch as framework

    session.input_dtype = getattr(framework, dtype)
    session.module = session.module.to(session.input_dtype)


def tensorflow(session: Any, dtype: str) -> None:
    """Build the model with Keras's policy of that name: weights and computation in the format.

    The session raises Unsupported where the model that comes has not taken it.
    """
    session.dtype = dtype


def openvino(session: Any, dtype: str) -> None:
    """Ask the device's plugin for the format: it converts weights and activations while it compiles.

    Raises Unsupported where the device has no units for it, since OpenVINO would then compute in fp32.
    """
    capability, hint = OPENVINO[dtype]
    able = session.core.get_property(session.device, "OPTIMIZATION_CAPABILITIES")
    if capability not in able:
        raise Unsupported(f"openvino's {session.device} computes in {', '.join(able)}, not in {capability}")
    session.settings["INFERENCE_PRECISION_HINT"] = hint


def mindspore(session: Any, dtype: str) -> None:
    """Cast the cell's weights; inputs are cast when they are placed."""
    import mindspore as framework

    session.input_dtype = getattr(framework, dtype)
    for parameter in session.cell.get_parameters():
        parameter.set_dtype(session.input_dtype)
