"""The zoo's layers in MindSpore."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import mindspore
import numpy as np
from mindspore import nn, ops

from hwfit.worker.zoo import layers as kinds

# MindSpore's names for a batch norm's parameters, and torch's.
TORCH_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def build(layers: Sequence[kinds.Layer], weights: kinds.Weights) -> Any:
    """A cell in evaluation mode with a checkpoint's weights, and of their sizes: passes may have cut channels
    out.
    """
    cell = nn.SequentialCell(named(layers, weights, ""))
    for parameter in cell.get_parameters():
        layer, _, own = parameter.name.rpartition(".")
        array = weights[f"{layer}.{TORCH_NAMES.get(own, own)}"]
        parameter.set_data(mindspore.Tensor(np.ascontiguousarray(array)))
    cell.set_train(False)
    return cell


def named(layers: Sequence[kinds.Layer], weights: kinds.Weights, prefix: str) -> OrderedDict[str, Any]:
    """The cells by name, in order, of layers whose names in the checkpoint begin with `prefix`."""
    names = [kinds.name_of(layer, position) for position, layer in enumerate(layers)]
    return OrderedDict(
        (name, cell_of(layer, weights, prefix + name)) for name, layer in zip(names, layers, strict=True)
    )


def cell_of(layer: kinds.Layer, weights: kinds.Weights, name: str) -> Any:
    """One layer, of the sizes of its weights."""
    match layer:
        case kinds.Dense():
            outputs, inputs = weights[f"{name}.weight"].shape
            return nn.Dense(inputs, outputs)
        case kinds.Convolution():
            outputs, inputs = weights[f"{name}.weight"].shape[:2]
            return nn.Conv2d(
                inputs,
                outputs,
                layer.kernel,
                stride=layer.stride,
                pad_mode="pad",
                padding=layer.padding,
                has_bias=layer.bias,
            )
        case kinds.BatchNorm():
            return nn.BatchNorm2d(len(weights[f"{name}.weight"]), eps=kinds.BATCH_NORM_EPSILON)
        case kinds.MaxPool():
            return max_pool(layer)
        case kinds.AveragePool():
            return nn.AvgPool2d(layer.size, layer.size)
        case kinds.GlobalAveragePool():
            return GlobalAveragePool()
        case kinds.Flatten():
            return nn.Flatten()
        case kinds.ReLU():
            return nn.ReLU()
        case kinds.Block():
            return nn.SequentialCell(named(layer.layers, weights, f"{name}."))
        case kinds.ConcatenateInput():
            return ConcatenateInput(named(layer.layers, weights, f"{name}."))


def max_pool(layer: kinds.MaxPool) -> Any:
    """With padding it is another operator, of three dimensions: not where there is none."""
    stride = layer.stride or layer.size
    if layer.padding:
        return nn.MaxPool2d(layer.size, stride, pad_mode="pad", padding=layer.padding)
    return nn.MaxPool2d(layer.size, stride)


class GlobalAveragePool(nn.Cell):
    """(n, channels, height, width) to (n, channels)."""

    def construct(self, x: Any) -> Any:
        return ops.mean(x, (2, 3))


class ConcatenateInput(nn.SequentialCell):
    """The input, (n, channels, height, width), and behind it along the channels the layers' output."""

    def construct(self, x: Any) -> Any:
        output = x
        for cell in self.cell_list:
            output = cell(output)
        return ops.cat((x, output), 1)
