"""DenseNet-121 (Huang et al., *Densely Connected Convolutional Networks*, CVPR 2017), as torchvision has
it: 7,978,856 weights under torchvision's names.
"""

from __future__ import annotations

from collections.abc import Iterator

from hwfit.worker.zoo import layers
from hwfit.worker.zoo.photographs import INPUT_SHAPE, evaluation_inputs
from hwfit.worker.zoo.settling import PROVENANCE, settle

__all__ = ["INPUT_SHAPE", "PROVENANCE", "evaluation_inputs", "settle"]

TOLERANCE = 1e-3
IS_TRAINED_HERE = False
FIRST_CHANNELS, GROWTH, BOTTLENECK = 64, 32, 128
BLOCKS = (6, 12, 24, 16)


def dense_layer(name: str, channels: int) -> layers.Layer:
    """Adds GROWTH channels, by way of BOTTLENECK."""
    return layers.ConcatenateInput(
        name,
        (
            layers.BatchNorm("norm1", channels),
            layers.ReLU(),
            layers.Convolution("conv1", channels, BOTTLENECK, 1, bias=False),
            layers.BatchNorm("norm2", BOTTLENECK),
            layers.ReLU(),
            layers.Convolution("conv2", BOTTLENECK, GROWTH, 3, padding=1, bias=False),
        ),
    )


def transition(name: str, channels: int) -> layers.Layer:
    """Half of the channels, at half of the resolution."""
    return layers.Block(
        name,
        (
            layers.BatchNorm("norm", channels),
            layers.ReLU(),
            layers.Convolution("conv", channels, channels // 2, 1, bias=False),
            layers.AveragePool(2),
        ),
    )


def features() -> Iterator[layers.Layer]:
    """From the image to the last batch norm."""
    channels = FIRST_CHANNELS
    yield layers.Convolution("conv0", 3, channels, 7, stride=2, padding=3, bias=False)
    yield layers.BatchNorm("norm0", channels)
    yield layers.ReLU()
    yield layers.MaxPool(3, stride=2, padding=1)
    for block, depth in enumerate(BLOCKS, 1):
        inside = (dense_layer(f"denselayer{i + 1}", channels + i * GROWTH) for i in range(depth))
        yield layers.Block(f"denseblock{block}", tuple(inside))
        channels += depth * GROWTH
        if block < len(BLOCKS):
            yield transition(f"transition{block}", channels)
            channels //= 2
    yield layers.BatchNorm("norm5", channels)


LAYERS = (
    layers.Block("features", tuple(features())),
    layers.ReLU(),
    layers.GlobalAveragePool(),
    layers.Dense("classifier", 1024, 1000),
)
