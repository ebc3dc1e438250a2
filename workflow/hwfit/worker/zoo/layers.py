"""Plain feed-forward networks, said once as a tuple of layers and built in three frameworks.

The checkpoint is in torch's names and layouts: `<layer>.weight` is (out, in) for a dense layer and
(out, in, height, width) for a convolution, inputs are (channels, height, width). TensorFlow's
convolutions on a CPU know channels last only: there the inputs come transposed, and the weights are
transposed once, while they are loaded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Dense:
    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Convolution:
    """Without padding, stride 1."""

    name: str
    inputs: int
    outputs: int
    kernel: int


@dataclass(frozen=True)
class MaxPool:
    size: int


@dataclass(frozen=True)
class Flatten:
    pass


@dataclass(frozen=True)
class ReLU:
    pass


Layer = Dense | Convolution | MaxPool | Flatten | ReLU


def build_torch(layers: Sequence[Layer]) -> Any:
    """A torch.nn.Sequential with torch's own initial weights."""
    from torch import nn

    def built(layer: Layer) -> Any:
        match layer:
            case Dense():
                return nn.Linear(layer.inputs, layer.outputs)
            case Convolution():
                return nn.Conv2d(layer.inputs, layer.outputs, layer.kernel)
            case MaxPool():
                return nn.MaxPool2d(layer.size)
            case Flatten():
                return nn.Flatten()
            case ReLU():
                return nn.ReLU()

    return nn.Sequential(OrderedDict((name_of(layer, i), built(layer)) for i, layer in enumerate(layers)))


def build_keras(layers: Sequence[Layer], input_shape: tuple[int, ...], weights: Weights) -> Any:
    """A Keras model that takes channels last; its layers have the dtype policy that is in force."""
    import keras

    inputs = keras.Input(channels_last(input_shape))
    shape: tuple[int, ...] = input_shape
    flattened: tuple[int, ...] | None = None
    outputs: Any = inputs
    arrays: list[np.ndarray] = []
    for layer in layers:
        match layer:
            case Dense():
                outputs = keras.layers.Dense(layer.outputs, name=layer.name)(outputs)
                kernel = weights[f"{layer.name}.weight"]
                if flattened and len(flattened) == 3:
                    # Torch flattens (C, H, W), Keras (H, W, C): the columns follow.
                    kernel = kernel.reshape(-1, *flattened).transpose(0, 2, 3, 1).reshape(len(kernel), -1)
                arrays += [kernel.T, weights[f"{layer.name}.bias"]]
                flattened = None
            case Convolution():
                outputs = keras.layers.Conv2D(layer.outputs, layer.kernel, name=layer.name)(outputs)
                arrays += [
                    weights[f"{layer.name}.weight"].transpose(2, 3, 1, 0),
                    weights[f"{layer.name}.bias"],
                ]
                shape = (layer.outputs, *(size - layer.kernel + 1 for size in shape[1:]))
            case MaxPool():
                outputs = keras.layers.MaxPooling2D(layer.size)(outputs)
                shape = (shape[0], *(size // layer.size for size in shape[1:]))
            case Flatten():
                outputs = keras.layers.Flatten()(outputs)
                flattened = shape
            case ReLU():
                outputs = keras.layers.ReLU()(outputs)
    model = keras.Model(inputs, outputs)
    model.set_weights(arrays)
    return model


def build_mindspore(layers: Sequence[Layer], weights: Weights) -> Any:
    """A mindspore.nn.SequentialCell in evaluation mode."""
    import mindspore
    from mindspore import nn

    def built(layer: Layer) -> Any:
        match layer:
            case Dense():
                return nn.Dense(layer.inputs, layer.outputs)
            case Convolution():
                return nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, pad_mode="valid", has_bias=True)
            case MaxPool():
                return nn.MaxPool2d(layer.size, layer.size)
            case Flatten():
                return nn.Flatten()
            case ReLU():
                return nn.ReLU()

    cell = nn.SequentialCell(OrderedDict((name_of(layer, i), built(layer)) for i, layer in enumerate(layers)))
    for parameter in cell.get_parameters():
        parameter.set_data(mindspore.Tensor(np.ascontiguousarray(weights[parameter.name])))
    cell.set_train(False)
    return cell


def name_of(layer: Layer, position: int) -> str:
    """A layer's name in the checkpoint; those without weights are named by their place."""
    return getattr(layer, "name", f"{type(layer).__name__.lower()}{position}")


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(C, H, W) as (H, W, C); other shapes as they are."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape
