"""Four convolutions on 56x56, by way of 64 channels: 1.6 MB of activations at a time, and hardly a weight,
input or output beside them, so that a process that runs it tells what a runtime makes of a byte of them.
"""

from __future__ import annotations

from itertools import pairwise

from hwfit.worker.zoo import layers

SIZE = 56
CHANNELS = (3, 64, 64, 64, 3)
INPUT_SHAPE = (CHANNELS[0], SIZE, SIZE)
LAYERS = tuple(
    layer
    for number, (inputs, outputs) in enumerate(pairwise(CHANNELS), 1)
    for layer in (layers.Convolution(f"conv{number}", inputs, outputs, 3, padding=1), layers.ReLU())
)
# A layer's inputs and its outputs, as PyTorch has them.
PEAK_ACTIVATION_BYTES = 4 * 2 * max(CHANNELS) * SIZE**2
