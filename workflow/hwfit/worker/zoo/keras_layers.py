"""The zoo's layers in Keras, channels last: TensorFlow's convolutions on a CPU know no other layout.

The inputs come transposed, and the weights are transposed once, while they are loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from hwfit.worker.zoo import layers as kinds


def build(layers: Sequence[kinds.Layer], input_shape: tuple[int, ...], weights: kinds.Weights) -> Any:
    """A Keras model with a checkpoint's weights; its layers have the dtype policy that is in force.

    Sizes are those of the weights: passes may have cut channels out.
    """
    inputs = keras.Input(kinds.channels_last(input_shape))
    return keras.Model(inputs, Builder(weights).outputs_of(layers, inputs, ""))


class Builder:
    """Calls layer after layer on a symbolic tensor, and gives each its weights."""

    def __init__(self, weights: kinds.Weights) -> None:
        self.weights = weights
        # (height, width, channels) of what was flattened and has met no dense layer yet.
        self.flattened: tuple[int, ...] | None = None

    def outputs_of(self, layers: Sequence[kinds.Layer], x: Any, prefix: str) -> Any:
        """What layers whose names begin with `prefix` make of a tensor."""
        for position, layer in enumerate(layers):
            x = self.output_of(layer, x, prefix + kinds.name_of(layer, position))
        return x

    def output_of(self, layer: kinds.Layer, x: Any, name: str) -> Any:
        """What one layer makes of a tensor."""
        match layer:
            case kinds.Dense():
                arrays = [self.dense_kernel(name), self.weights[f"{name}.bias"]]
                return called(keras.layers.Dense(arrays[0].shape[1], name=name), x, arrays)
            case kinds.Convolution():
                return self.convolved(layer, x, name)
            case kinds.BatchNorm():
                own = ("weight", "bias", "running_mean", "running_var")
                # In training, torch's running statistics keep as much of what they were.
                settings = {"epsilon": kinds.BATCH_NORM_EPSILON, "momentum": 0.9}
                made = keras.layers.BatchNormalization(**settings, name=name)
                return called(made, x, [self.weights[f"{name}.{part}"] for part in own])
            case kinds.MaxPool():
                widened = padded(x, layer.padding, -float("inf"))
                return keras.layers.MaxPooling2D(layer.size, layer.stride)(widened)
            case kinds.AveragePool():
                return keras.layers.AveragePooling2D(layer.size)(x)
            case kinds.GlobalAveragePool():
                return keras.layers.GlobalAveragePooling2D()(x)
            case kinds.Flatten():
                self.flattened = tuple(x.shape[1:])
                return keras.layers.Flatten()(x)
            case kinds.ReLU():
                return keras.layers.ReLU()(x)
            case kinds.Block():
                return self.outputs_of(layer.layers, x, f"{name}.")
            case kinds.ConcatenateInput():
                return keras.layers.Concatenate()([x, self.outputs_of(layer.layers, x, f"{name}.")])

    def convolved(self, layer: kinds.Convolution, x: Any, name: str) -> Any:
        """What a convolution makes of a tensor."""
        arrays = [self.weights[f"{name}.weight"].transpose(2, 3, 1, 0)]
        if layer.bias:
            arrays.append(self.weights[f"{name}.bias"])
        # `same` is these zeros at stride 1, and pads inside the kernel; at other strides it pads the far
        # side more than the near one, and torch does not.
        is_same = layer.stride == 1 and layer.kernel == 2 * layer.padding + 1
        made = keras.layers.Conv2D(
            arrays[0].shape[-1],
            layer.kernel,
            strides=layer.stride,
            padding="same" if is_same else "valid",
            use_bias=layer.bias,
            name=name,
        )
        return called(made, x if is_same else padded(x, layer.padding, 0.0), arrays)

    def dense_kernel(self, name: str) -> np.ndarray:
        """(inputs, outputs) of a dense layer. Torch flattens (C, H, W), Keras (H, W, C): the rows follow."""
        kernel = self.weights[f"{name}.weight"]
        if self.flattened and len(self.flattened) == 3:
            height, width, channels = self.flattened
            kernel = kernel.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
            kernel = kernel.reshape(len(kernel), -1)
        self.flattened = None
        return kernel.T


def called(layer: Any, x: Any, arrays: Sequence[np.ndarray]) -> Any:
    """The layer's output, and with the call, which makes them, its weights set."""
    output = layer(x)
    layer.set_weights(arrays)
    return output


def padded(x: Any, padding: int, value: float) -> Any:
    """`padding` rows and columns of a value on each side of (n, height, width, channels)."""
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return keras.ops.pad(x, sides, constant_values=value) if padding else x
