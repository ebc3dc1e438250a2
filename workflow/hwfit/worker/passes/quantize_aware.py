"""Fine-tune under fake quantization, so that the weights are good ones once they are rounded (Jacob et al.,
CVPR 2018; gradients pass the rounding by, Bengio et al., 2013).

Weights are rounded symmetrically, a scale an output channel; the inputs of each layer to a range that follows
the moving averages of their minimum and maximum, a scale a tensor. A batch norm that a runtime later folds
into the layer before it multiplies a channel and its scale alike, so it needs no folding here. What is
written is plain fp32 weights: `quantize_static`, after it, rounds them.

Run on: CPU (torch 2.13.0).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.ao.quantization import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torch.nn.utils import parametrize

from hwfit.worker import finetuning
from hwfit.worker.checkpoint import Checkpoint, TrainingSet
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes.prune import is_prunable

# Those whose output channels are the first axis of their weights, as the scales are.
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Samples from which the inputs' ranges are taken before the first step.
FIRST_SAMPLES = 1024
INPUTS = "input_fake_quantize"


def apply(
    checkpoint: Checkpoint, epochs: int, learning_rate: float = 1e-4, bits: int = 8, seed: int = 0
) -> None:
    """Fine-tune the network with its weights and activations rounded to so many bits; zeros stay zeros.

    Raises Unsupported where the model has no labelled training data, or no layer to quantize.
    """
    started = time.perf_counter()
    training = checkpoint.training()
    module = checkpoint.module()
    plain_before = finetuning.validation_accuracy(module, training)
    keep_zeros = zeros_keeper(module)
    insert(module, bits)
    settle_ranges(module, training, seed)
    accuracies = finetuning.finetune(module, training, epochs, learning_rate, seed, keep_zeros)
    remove(module)
    checkpoint.take(module)
    checkpoint.facts |= {
        "epochs": epochs,
        "seed": seed,
        "bits": bits,
        "validation_accuracies_quantized": accuracies,
        "validation_accuracy_quantized": {"before": accuracies[0], "after": max(accuracies[1:])},
        "validation_accuracy": {
            "before": plain_before,
            "after": finetuning.validation_accuracy(module, training),
        },
        "finetuning_seconds": time.perf_counter() - started,
    }


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The layers whose weights and inputs are rounded."""
    return [layer for layer in module.modules() if isinstance(layer, LAYERS)]


def zeros_keeper(module: nn.Module) -> Callable[[], None]:
    """A function that sets those weights to zero again that are zero now: what was pruned stays so."""
    masks = [
        (parameter, parameter.detach() != 0)
        for name, parameter in module.named_parameters()
        if is_prunable(name, parameter.detach()) and not bool(parameter.detach().all())
    ]

    @torch.no_grad()
    def keep() -> None:
        for parameter, mask in masks:
            parameter.mul_(mask)

    return keep


def insert(module: nn.Module, bits: int) -> None:
    """Let each layer round its weights and its inputs. Raises Unsupported where there is no layer."""
    layers = layers_of(module)
    if not layers:
        raise Unsupported("no dense layer and no convolution to quantize")
    for layer in layers:
        # The layer's own range each time: weights move slowly, and all of them are there.
        weights = FakeQuantize(
            MovingAveragePerChannelMinMaxObserver,
            quant_min=-(2 ** (bits - 1)),
            quant_max=2 ** (bits - 1) - 1,
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
            averaging_constant=1.0,
        )
        parametrize.register_parametrization(layer, "weight", weights)
        inputs = FakeQuantize(
            MovingAverageMinMaxObserver,
            quant_min=0,
            quant_max=2**bits - 1,
            dtype=torch.quint8,
            qscheme=torch.per_tensor_affine,
        )
        layer.add_module(INPUTS, inputs)
        setattr(layer, f"{INPUTS}_hook", layer.register_forward_pre_hook(round_inputs))


def round_inputs(layer: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the layer gets in place of its inputs. Their range is followed in training only."""
    inputs = getattr(layer, INPUTS)
    inputs.enable_observer(layer.training)
    return (inputs(arguments[0]), *arguments[1:])


@torch.no_grad()
def settle_ranges(module: nn.Module, training: TrainingSet, seed: int) -> None:
    """Let the inputs' ranges be seen on some of the training data, while all else is as in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(training.x_train), generator=generator)[:FIRST_SAMPLES]
    module.eval()
    for layer in layers_of(module):
        layer.training = True
    for some in rows.split(finetuning.BATCH):
        module(training.x_train[some])
    module.eval()


def remove(module: nn.Module) -> None:
    """Leave the plain layers, with the weights as they are before rounding."""
    for layer in layers_of(module):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        getattr(layer, f"{INPUTS}_hook").remove()
        delattr(layer, f"{INPUTS}_hook")
        delattr(layer, INPUTS)
