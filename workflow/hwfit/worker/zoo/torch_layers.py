"""The zoo's layers in torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from hwfit.worker.zoo import layers as kinds


def build(layers: Sequence[kinds.Layer]) -> nn.Sequential:
    """The network with torch's own initial weights."""
    return nn.Sequential(named(layers))


def named(layers: Sequence[kinds.Layer]) -> OrderedDict[str, nn.Module]:
    """The layers' modules by name, in order."""
    modules = OrderedDict()
    before: kinds.Layer | None = None
    for position, layer in enumerate(layers):
        modules[kinds.name_of(layer, position)] = module_of(layer, before)
        before = layer
    return modules


def module_of(layer: kinds.Layer, before: kinds.Layer | None) -> nn.Module:
    """One layer, which gets the output of the one before it, if any, in its sequence."""
    match layer:
        case kinds.Dense():
            return nn.Linear(layer.inputs, layer.outputs)
        case kinds.Convolution():
            return nn.Conv2d(
                layer.inputs,
                layer.outputs,
                layer.kernel,
                stride=layer.stride,
                padding=layer.padding,
                bias=layer.bias,
            )
        case kinds.BatchNorm():
            return nn.BatchNorm2d(layer.channels, eps=kinds.BATCH_NORM_EPSILON)
        case kinds.MaxPool():
            return nn.MaxPool2d(layer.size, layer.stride, layer.padding)
        case kinds.AveragePool():
            return nn.AvgPool2d(layer.size)
        case kinds.GlobalAveragePool():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case kinds.Flatten():
            return nn.Flatten()
        case kinds.ReLU():
            # As in torchvision: the output of such a layer is held by no one else. DenseNet-121 takes a
            # fifth longer without.
            return nn.ReLU(inplace=isinstance(before, kinds.Dense | kinds.Convolution | kinds.BatchNorm))
        case kinds.Block():
            return nn.Sequential(named(layer.layers))
        case kinds.ConcatenateInput():
            return ConcatenateInput(named(layer.layers))


class ConcatenateInput(nn.Sequential):
    """The input, (n, channels, height, width), and behind it along the channels the layers' output."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.cat((input, super().forward(input)), dim=1)
