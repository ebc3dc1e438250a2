"""Learning rates and the order of the data: the same numbers in every framework."""

from __future__ import annotations

import math

import numpy as np


def learning_rates(
    schedule: str, learning_rate: float, first: int, last: int, steps: int, warm_up_steps: float = 0.0
) -> np.ndarray:
    """The learning rates of steps `first` to `last` (exclusive) of `steps`, float64 (last - first,).

    `constant` stays; `cosine` falls along half a cosine to nothing at the end of all steps (Loshchilov and
    Hutter, *SGDR*, 2017, without restarts). With a warm-up, a rate also rises linearly to that over the first
    steps (Goyal et al., 2017), and the cosine begins after it.
    """
    number = np.arange(first, last, dtype=np.float64)
    rates = np.full(len(number), learning_rate)
    if schedule == "cosine":
        share = np.clip((number - warm_up_steps) / max(steps - warm_up_steps, 1), 0, 1)
        rates *= 0.5 * (1 + np.cos(math.pi * share))
    if warm_up_steps:
        rates *= np.minimum(1.0, (number + 1) / warm_up_steps)
    return rates


def order(samples: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """The rows of each step of an epoch, int32 (steps, batch_size).

    A permutation drawn from the seed and the epoch alone, so that a run that is taken up again needs no
    memory of it. The rest that makes no whole batch is left out: each epoch it is another one.
    """
    steps = samples // batch_size
    permuted = np.random.default_rng((seed, epoch)).permutation(samples)
    return permuted[: steps * batch_size].reshape(steps, batch_size).astype(np.int32)
