"""Retraining a network while it is made smaller: what gradual pruning and Deep Compression share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

BATCH = 128
# Of the loss, what comes from the network's own outputs before it was made smaller (Hinton et al., 2015).
DISTILLED_SHARE = 0.5
TEMPERATURE = 4.0
# Pruning grows over this share of the steps; in the rest the network settles.
RAMP_SHARE = 0.5
STEPS_BETWEEN_PRUNINGS = 50

AfterStep = Callable[[int, int], None]


def cosine(step: int, steps: int) -> float:
    """The learning rate of a step over that of the first (Loshchilov and Hutter, ICLR 2017)."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def cubic(step: int, ramp_steps: int, amount: float) -> float:
    """The share of weights to be zero at a step (Zhu and Gupta, 2017, equation 1, from 0)."""
    return amount * (1 - (1 - min(1.0, step / ramp_steps)) ** 3)


@torch.inference_mode()
def outputs_of(module: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """The outputs (n, classes) in evaluation mode, batch by batch."""
    module.eval()
    return torch.cat([module(batch) for batch in inputs.split(1000)]).clone()


def accuracy(module: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of the samples whose largest output is their label's."""
    return float((outputs_of(module, inputs).argmax(1) == labels).double().mean())


def loss_of(outputs: torch.Tensor, labels: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Cross entropy against the labels, mixed with that against a teacher's outputs (n, classes)."""
    soft = functional.cross_entropy(outputs / TEMPERATURE, functional.softmax(taught / TEMPERATURE, 1))
    hard = functional.cross_entropy(outputs, labels)
    return (1 - DISTILLED_SHARE) * hard + DISTILLED_SHARE * TEMPERATURE**2 * soft


def shifted(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """Each image (n, channels, height, width) moved by up to so many pixels both ways; zeros come in."""
    count, channels, height, width = images.shape
    top, left = torch.randint(2 * pixels + 1, (2, count, 1))
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    padded = functional.pad(images, (pixels,) * 4)
    return padded[
        torch.arange(count)[:, None, None, None],
        torch.arange(channels)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def retrain(
    module: torch.nn.Module,
    parameters: Sequence[torch.Tensor],
    data: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    epochs: int,
    seed: int,
    after_backward: Callable[[], None],
    after_step: AfterStep,
    learning_rate: float,
    shift_pixels: int,
) -> None:
    """Train with Adam at a rate that falls to nothing along half a cosine.

    Parameters
    ----------
    parameters : what Adam changes; need not be the module's own
    data : inputs, labels, and the outputs of the network as it was
    after_backward : called when the module's gradients are there
    after_step : called with the number of steps done and of all
    learning_rate : Adam's, at the beginning
    shift_pixels : how far images (n, channels, height, width) are moved at random; their labels, and what the
        network made of them where they were, are still their targets
    """
    inputs, labels, taught = data
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    steps, step = epochs * -(-len(inputs) // BATCH), 0
    # Half the time of LeNet-5's convolutions and poolings on a CPU.
    module.to(memory_format=torch.channels_last)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * cosine(step, steps)
            module.zero_grad()
            seen = shifted(inputs[rows], shift_pixels) if shift_pixels else inputs[rows]
            loss_of(module(seen), labels[rows], taught[rows]).backward()
            after_backward()
            optimizer.step()
            step += 1
            after_step(step, steps)
    module.to(memory_format=torch.contiguous_format)
    module.eval()


def prune_while_training(
    module: torch.nn.Module,
    names: Sequence[str],
    data: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    amount: float,
    epochs: int,
    seed: int,
    learning_rate: float,
    shift_pixels: int,
) -> None:
    """Zero a growing share of the named weights, all of them together, while the others are trained."""
    weights = {name: parameter for name, parameter in module.named_parameters() if name in names}
    masks = {name: torch.ones_like(weight) for name, weight in weights.items()}

    @torch.no_grad()
    def after_step(step: int, steps: int) -> None:
        ramp = max(1, round(RAMP_SHARE * steps))
        if step == ramp or (step < ramp and step % STEPS_BETWEEN_PRUNINGS == 0):
            masks.update(kept(weights, cubic(step, ramp, amount)))
        for name, weight in weights.items():
            weight.mul_(masks[name])

    parameters = list(module.parameters())
    retrain(module, parameters, data, epochs, seed, lambda: None, after_step, learning_rate, shift_pixels)


def kept(weights: Mapping[str, torch.Tensor], amount: float) -> dict[str, Any]:
    """Masks, 1 where a weight stays: a share of all weights goes, the smallest of all layers together."""
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    stays = torch.ones_like(magnitudes)
    stays[torch.topk(magnitudes, round(amount * len(stays)), largest=False, sorted=False).indices] = 0
    parts = stays.split([weight.numel() for weight in weights.values()])
    return {name: part.view(weights[name].shape) for name, part in zip(weights, parts, strict=True)}
