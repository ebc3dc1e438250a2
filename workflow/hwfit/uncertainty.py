"""Two sizes of doubt, joined: within a process and between processes.

Fresh processes of one program differ by more than the samples inside one of them tell (Kalibera and
Jones, Rigorous Benchmarking in Reasonable Time, 2013; Georges et al., 2007). The model here is a random
effect on the logarithm of the median: each process adds its own relative shift. The spread of those
shifts belongs to the device and the way it is used, so it is pooled over all rows that were measured in
several processes, and widens the interval of those that were measured in one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Relative standard deviation between processes, and the degrees of freedom it rests on."""

    relative: float
    degrees: int


# What is assumed where no spread could be measured, neither in the inventory nor by rounds. Seen for small
# models: 15% on a small shared machine, 1-2% on a quiet server.
ASSUMED_SPREAD = Spread(0.05, 4)
# Of the logarithm: with it nothing is known of a median, and exponentials of more would overflow. Seen: 332,
# of 67 calls on a host whose two cores fourteen others wanted.
LARGEST_ERROR = 10.0


@dataclass(frozen=True)
class Estimate:
    """A median in ms with the standard error of its logarithm, and the degrees of freedom of that."""

    median_ms: float
    relative_error: float
    degrees: int

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The interval of the median, in ms."""
        reach = student_quantile(confidence, self.degrees) * self.relative_error
        return self.median_ms * math.exp(-reach), self.median_ms * math.exp(reach)


def pooled_spread(groups: Iterable[Sequence[float]]) -> Spread | None:
    """The spread between processes, pooled over groups of medians of one row each.

    None where no group has two medians.
    """
    squares, degrees = 0.0, 0
    for medians in groups:
        if len(medians) >= 2:
            logs = np.log(medians)
            squares += float(((logs - logs.mean()) ** 2).sum())
            degrees += len(medians) - 1
    return Spread(math.sqrt(squares / degrees), degrees) if degrees else None


def estimate(medians_ms: Sequence[float], within: Sequence[float], spread: Spread) -> Estimate:
    """Join the rounds of a row.

    Parameters
    ----------
    medians_ms : of each round
    within : relative standard error of each of them, from the samples inside its process
    spread : between processes, of the device
    """
    rounds = len(medians_ms)
    centre = math.exp(float(np.mean(np.log(medians_ms))))
    # The spread of medians holds the doubt within them too; where that is larger in this row, it counts, as
    # the middle one of the rounds has it: one restless round says nothing of where the others agree.
    variance = float(np.median(np.square(within)))
    error = math.sqrt(max(spread.relative**2, variance) / rounds)
    return Estimate(centre, min(error, LARGEST_ERROR), spread.degrees)


@functools.cache
def student_quantile(confidence: float, degrees: int) -> float:
    """Two-sided quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, degrees))


def draws(estimates: Sequence[Estimate], count: int, seed: int) -> np.ndarray:
    """Plausible medians in ms, shape (count, len(estimates)): Student's t around each logarithm."""
    medians = np.log([e.median_ms for e in estimates])
    return np.exp(medians + shifts(estimates, count, np.random.default_rng(seed)))


def shifts(estimates: Sequence[Estimate], count: int, generator: np.random.Generator) -> np.ndarray:
    """By how much the logarithm of each median may be off, shape (count, len(estimates))."""
    degrees = np.array([min(e.degrees, 1_000) for e in estimates])
    found = generator.standard_t(degrees, size=(count, len(estimates)))
    found *= [e.relative_error for e in estimates]
    return found
