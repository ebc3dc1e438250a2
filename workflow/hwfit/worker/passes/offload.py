"""Weights in the host's memory, each layer's on the device only while it computes.

Takes less of the device's memory, and moves all weights over the link in each call.

Never run on a device: what is tested is that layers are moved and forgotten (on torch's device 'meta').
"""

from __future__ import annotations

from typing import Any


def torch(session: Any) -> None:
    """Have the session put hooks on the module where it would move it to the device."""
    session.move = onto


def onto(module: Any, device: Any) -> None:
    """Move a module's buffers; its parameters follow layer by layer when they are called."""
    for layer in layers(module):
        hold(layer, device)
    for part in module.modules():
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else buffer.to(device)


def layers(module: Any) -> list[Any]:
    """The outermost modules with parameters of their own: some use those of their children without a call."""
    if module._parameters:
        return [module]
    return [layer for child in module.children() for layer in layers(child)]


def hold(layer: Any, device: Any) -> None:
    """Keep a layer's parameters on the host, pinned so that the device copies them itself."""
    from torch.nn import Parameter

    kept = []
    for owner in layer.modules():
        for name, parameter in owner._parameters.items():
            if parameter is not None:
                if device.type in ("cuda", "xpu", "npu"):
                    parameter.data = parameter.data.pin_memory()
                kept.append((owner, name, parameter))

    def fetch(*_: Any) -> None:
        for owner, name, parameter in kept:
            copied = parameter.data.to(device, non_blocking=True)
            owner._parameters[name] = Parameter(copied, requires_grad=False)

    def forget(*_: Any) -> None:
        # The device's memory is used again in the order of its stream: after this layer has computed.
        for owner, name, parameter in kept:
            owner._parameters[name] = parameter

    layer.register_forward_pre_hook(fetch)
    layer.register_forward_hook(forget)
