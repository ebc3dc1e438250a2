"""Int8 weights in dense layers; activations are quantized call by call (torch, post-training).

Needs no calibration, and pays where dense layers dominate: transformers, large MLPs.
"""

from __future__ import annotations

from typing import Any

from hwfit.worker.errors import Unsupported


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
