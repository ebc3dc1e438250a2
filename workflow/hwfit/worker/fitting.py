"""A torch module made as small as a checkpoint whose channels were cut out.

A definition knows the sizes of the network as it was; the checkpoint, those of what is left of it. Only a
checkpoint that a pass made may be smaller than the module (its file says so, by METADATA): one of any other
shape is another model's.

Run on: CPU (torch 2.13.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

# What the header of a safetensors file says where passes cut parts out of the network.
METADATA = {"hwfit": "smaller than its definition"}

Shape = tuple[int, ...]


def is_smaller(weights: Path) -> bool:
    """Whether a checkpoint's file says that it is smaller than the network's definition."""
    from safetensors import safe_open

    with safe_open(weights, "numpy") as file:
        return (file.metadata() or {}).get("hwfit") == METADATA["hwfit"]


def shapes_in(weights: Path) -> dict[str, Shape]:
    """The shapes of a checkpoint's arrays by name."""
    from safetensors import safe_open

    with safe_open(weights, "numpy") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def fit(module: nn.Module, shapes: Mapping[str, Shape]) -> None:
    """Give the layers of a module the shapes of a checkpoint's arrays; their values are then to be loaded.

    Parameters
    ----------
    module : the network as it is defined
    shapes : by the names of its `state_dict`, each axis as long as the module's or shorter

    Raises ValueError where an array has another number of axes, or is the longer one.
    """
    for path, layer in module.named_modules():
        prefix = f"{path}." if path else ""
        tensors = {**layer._parameters, **layer._buffers}
        found = {
            name: tuple(shapes[prefix + name])
            for name, tensor in tensors.items()
            if tensor is not None and tuple(shapes.get(prefix + name, tensor.shape)) != tuple(tensor.shape)
        }
        for name, shape in found.items():
            require_shorter(prefix + name, shape, tuple(tensors[name].shape))
        if found:
            state_sizes(layer, found)
            for name, shape in found.items():
                shrink(layer, name, shape)


def require_shorter(name: str, shape: Shape, defined: Shape) -> None:
    """Raises ValueError where an array is no part of what is defined."""
    if len(shape) != len(defined) or any(left > all_ for left, all_ in zip(shape, defined, strict=True)):
        raise ValueError(f"{name} has shape {shape}, which is no part of the model's {defined}")


def shrink(layer: nn.Module, name: str, shape: Shape) -> None:
    """Replace a parameter or a buffer of a layer by an empty one of a smaller shape."""
    old = getattr(layer, name)
    new = torch.empty(shape, dtype=old.dtype, device=old.device)
    is_parameter = isinstance(old, nn.Parameter)
    setattr(layer, name, nn.Parameter(new, requires_grad=old.requires_grad) if is_parameter else new)


def state_sizes(layer: nn.Module, shapes: Mapping[str, Shape]) -> None:
    """Set what a layer says of its sizes to those of its new parameters.

    A layer of any other kind has none that torch's functions read: its forward takes what its parameters
    are, or fails when it is tried (`passes.prune_channels` tries it).
    """
    first: Any = next(iter(shapes.values()))
    match layer:
        case _ConvNd() if "weight" in shapes:
            state_channels(layer, shapes["weight"])
        case nn.Linear() if "weight" in shapes:
            layer.out_features, layer.in_features = shapes["weight"]
        case nn.Embedding():
            layer.num_embeddings, layer.embedding_dim = first
        case _NormBase():
            layer.num_features = first[0]
        case nn.GroupNorm():
            layer.num_channels = first[0]
        case nn.LayerNorm() | nn.RMSNorm():
            layer.normalized_shape = first


def state_channels(layer: _ConvNd, shape: Shape) -> None:
    """Set the channels and groups of a convolution to those of its new filters.

    Filters are (out, in / groups, ...), and (in, out / groups, ...) where transposed. Of a convolution that
    is depthwise, a group a channel, the groups follow its channels; another one keeps their number.
    """
    before, behind = ("in", "out") if layer.transposed else ("out", "in")
    own = getattr(layer, f"{before}_channels")
    if layer.groups > 1 and layer.groups == layer.in_channels:
        layer.groups = shape[0] * layer.groups // own
    setattr(layer, f"{before}_channels", shape[0])
    setattr(layer, f"{behind}_channels", shape[1] * layer.groups)
