"""Feed-forward networks, said once as a tuple of layers; a module a framework builds them.

The checkpoint is in torch's names and layouts: `<layer>.weight` is (out, in) for a dense layer and
(out, in, height, width) for a convolution, inputs are (channels, height, width). A layer inside a named
one has both names, `<outer>.<inner>.weight`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Weights = Mapping[str, np.ndarray]

# Torch's default, said because Keras has another.
BATCH_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Dense:
    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Convolution:
    """Square kernels; `padding` zeros on each side."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True


@dataclass(frozen=True)
class BatchNorm:
    """As in inference: by the running statistics of the checkpoint."""

    name: str
    channels: int


@dataclass(frozen=True)
class MaxPool:
    """`padding` values on each side that are no maximum; the stride is the size where none is given."""

    size: int
    stride: int | None = None
    padding: int = 0


@dataclass(frozen=True)
class AveragePool:
    size: int


@dataclass(frozen=True)
class GlobalAveragePool:
    """(channels, height, width) to (channels)."""


@dataclass(frozen=True)
class Flatten:
    pass


@dataclass(frozen=True)
class ReLU:
    pass


@dataclass(frozen=True)
class Block:
    """Layers one after another, under one name."""

    name: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class ConcatenateInput:
    """Its input, and behind it along the channels what the layers make of it (Huang et al., 2017)."""

    name: str
    layers: tuple[Layer, ...]


Layer = (
    Dense
    | Convolution
    | BatchNorm
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | Flatten
    | ReLU
    | Block
    | ConcatenateInput
)


def name_of(layer: Layer, position: int) -> str:
    """A layer's name in the checkpoint; those without weights are named by their place."""
    return getattr(layer, "name", f"{type(layer).__name__.lower()}{position}")


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(C, H, W) as (H, W, C); other shapes as they are."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape
