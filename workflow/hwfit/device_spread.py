"""How far the processes of each row lie apart, as far as all rows of a device can tell.

Two or three rounds say little of a row's own spread, so that it is pooled over the device. But the rows of
a device do not share one: a call of 20 us scatters from process to process by more than one of 20 ms. How
far spreads differ says how much a row's own counts beside the pooled one, and on how many degrees of freedom
a statement rests: variances that are draws of a scaled inverse chi-square make the statistic a Student's t
with the degrees of that (the model of the moderated t test: Smyth, Linear models and empirical Bayes methods
for assessing differential expression in microarray experiments, 2004, whose estimate, by logarithms, follows
the calm rows; here the moments of the variances themselves, which follow the restless).

A decision weighs both by their degrees of freedom (`moderated`), which keeps its probabilities calibrated;
a comparison of two runs, which must not raise false alarms, takes the larger of them (`spread_of`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hwfit.uncertainty import ASSUMED_SPREAD, Spread, pooled_spread

Medians = Sequence[Sequence[float]]


@dataclass(frozen=True)
class DeviceSpread:
    """What the rows of a device say of the spread of any of them.

    Attributes
    ----------
    relative : standard deviation of the logarithm between processes, pooled
    weight : degrees of freedom that a row has beside its own; infinite where rows do not differ in their
        spread by more than chance
    total : degrees of freedom of all rows together, more than which no row can have
    is_assumed : whether nothing was measured in several processes
    """

    relative: float
    weight: float
    total: int
    is_assumed: bool = False

    def spread_of(self, medians: Medians) -> Spread:
        """The spread of one row.

        Parameters
        ----------
        medians : of each of its sides, a value a round; sides may have different means
        """
        own = pooled_spread(medians) or Spread(0, 0)
        degrees = min(self.weight + own.degrees, self.total)
        return Spread(max(self.relative, own.relative), max(1, math.floor(degrees)))

    def moderated(self, medians: Medians) -> Spread:
        """The spread of one row by the mean of its own variance and the device's, weighed by their degrees of
        freedom; `medians` as in `spread_of`.
        """
        own = pooled_spread(medians) or Spread(0, 0)
        weight = min(self.weight, self.total)
        variance = (weight * self.relative**2 + own.degrees * own.relative**2) / (weight + own.degrees)
        degrees = min(weight + own.degrees, self.total)
        return Spread(math.sqrt(variance), max(1, math.floor(degrees)))

    def degrees_at(self, rounds: int, rows: int) -> int:
        """Degrees of freedom of a row's spread when each of so many rows has so many rounds a side."""
        own = 2 * (rounds - 1)
        return math.floor(min(self.weight + own, rows * own))


def learn(groups: Iterable[Medians]) -> DeviceSpread:
    """What groups of medians, one group a row, say of the spread between processes.

    The variances of an inverse chi-square with w degrees of freedom have a squared coefficient of variation
    of 2 / (w - 4); that of the rows' is taken from the second and fourth moments.
    """
    found = [spread for group in groups if (spread := pooled_spread(group))]
    total = sum(spread.degrees for spread in found)
    if not total:
        assumed = ASSUMED_SPREAD
        return DeviceSpread(assumed.relative, math.inf, assumed.degrees, is_assumed=True)
    degrees = np.array([spread.degrees for spread in found], dtype=float)
    variances = np.array([spread.relative**2 for spread in found])
    pooled = float(degrees @ variances) / total
    fourth = float(degrees @ (variances**2 * degrees / (degrees + 2))) / total
    variation = fourth / pooled**2 - 1 if pooled else 0.0
    return DeviceSpread(math.sqrt(pooled), 4 + 2 / variation if variation > 0 else math.inf, total)
