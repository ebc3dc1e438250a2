"""Training a network a little further, after or while a pass changes it.

Cross-entropy, Adam (Kingma and Ba, 2015), a learning rate that falls along half a cosine to zero (Loshchilov
and Hutter, *SGDR*, 2017); what is kept are the weights of the epoch that the validation data prefer.

Run on: CPU (torch 2.13.0).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from hwfit.worker.checkpoint import TrainingSet

BATCH = 128


def finetune(
    module: torch.nn.Module,
    training_set: TrainingSet,
    epochs: int,
    learning_rate: float,
    seed: int,
    after_step: Callable[[], None] | None = None,
) -> list[float]:
    """Train a classifier on labelled data; leaves it in evaluation mode.

    Parameters
    ----------
    module : from inputs (n, ...) to a score a class (n, classes)
    learning_rate : of the first step; the last one's is about zero
    seed : of the samples' order, and of what the network itself draws
    after_step : called after each step of the optimizer, to restore what training must not change

    Returns the validation accuracy (0 to 1) before, and after each epoch. The module has the state after the
    epoch of the highest, the last of equals: of a network that hwfit itself trained, the validation data were
    among those it has seen, so what it was before is not in the choice.
    """
    steps = epochs * -(-len(training_set.x_train) // BATCH)
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    generator = torch.Generator().manual_seed(seed)
    accuracies = [validation_accuracy(module, training_set)]
    best = copy.deepcopy(module.state_dict())
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        for _ in range(epochs):
            module.train()
            for rows in torch.randperm(len(training_set.x_train), generator=generator).split(BATCH):
                # A batch norm has no statistics of a single sample.
                if len(rows) == 1:
                    continue
                optimizer.zero_grad()
                scores = module(training_set.x_train[rows])
                cross_entropy(scores, training_set.y_train[rows].long()).backward()
                optimizer.step()
                schedule.step()
                if after_step:
                    after_step()
            accuracies.append(validation_accuracy(module, training_set))
            if accuracies[-1] == max(accuracies[1:]):
                best = copy.deepcopy(module.state_dict())
    module.load_state_dict(best)
    return accuracies


@torch.no_grad()
def validation_accuracy(module: Any, training_set: TrainingSet) -> float:
    """The share of the validation data whose label scores highest; leaves the module in evaluation mode."""
    module.eval()
    found = [module(x).argmax(1) for x in training_set.x_validation.split(BATCH)]
    return float((torch.cat(found) == training_set.y_validation).double().mean())
