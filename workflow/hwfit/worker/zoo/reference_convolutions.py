"""Four convolutions of 64 channels on 56x56: 1.6 MB of activations at a time and hardly a weight, so that a
process that runs it tells what a runtime makes of a byte of activations. Its weights are not kept.
"""

from __future__ import annotations

from hwfit.worker.zoo import layers

CHANNELS, SIZE, DEPTH = 64, 56, 4
INPUT_SHAPE = (CHANNELS, SIZE, SIZE)
LAYERS = tuple(
    layer
    for number in range(1, DEPTH + 1)
    for layer in (layers.Convolution(f"conv{number}", CHANNELS, CHANNELS, 3, padding=1), layers.ReLU())
)
