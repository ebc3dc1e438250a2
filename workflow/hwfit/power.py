"""How small a difference the rounds at hand can find, and how many rounds a given one needs.

Both for a two-sided test that holds the family-wise error over all comparisons, at the level of Holm's
first step (Bonferroni's), which the one difference of a run has to pass. That the spread itself was
measured, on few degrees of freedom, is part of the chance: a plan that takes it for the truth finds less
than it promises.
"""

from __future__ import annotations

import bisect
import math
from functools import cache

import numpy as np

from hwfit.device_spread import DeviceSpread
from hwfit.uncertainty import Spread

FAMILY_ERROR = 0.05
POWER = 0.95
# What measurement.rounds may be at most.
MOST_ROUNDS = 1000
# Midpoints of equally likely slices, over which chances are averaged.
SLICES = 100


def detectable_difference(relative_error: float, degrees: int, comparisons: int) -> float:
    """The smallest relative difference that a test finds with a probability of 95%.

    Parameters
    ----------
    relative_error : standard error of the logarithm of the ratio
    degrees : of freedom that it rests on
    comparisons : how many tests share the family-wise error

    Returns
    -------
    0.05 for 5% slower. An estimate that lies above the critical value with 95% must have its mean above
    that by a quantile of Student's t, since the error is an estimate too.
    """
    from scipy.stats import t

    reach = critical_value(degrees, comparisons) + float(t.ppf(POWER, degrees))
    return math.expm1(min(reach * relative_error, math.log(1e6)))


def rounds_needed(
    spread: Spread, device: DeviceSpread, difference: float, comparisons: int, rows: int
) -> int | None:
    """The fewest rounds a side with which a difference is found in a row with a probability of 95%.

    Parameters
    ----------
    spread : of the row between processes, as measured
    device : what its rows say of spreads, which the test will draw on again
    difference : 0.05 for 5%
    comparisons : how many tests will share the family-wise error
    rows : how many rows of the device will be compared, each with as many rounds

    Returns
    -------
    None where a thousand are not enough
    """

    def is_enough(rounds: int) -> bool:
        return power(spread, device, difference, rounds, comparisons, rows) >= POWER

    choices = range(2, MOST_ROUNDS + 1)
    place = bisect.bisect_left(choices, True, key=is_enough)
    return choices[place] if place < len(choices) else None


def power(
    spread: Spread, device: DeviceSpread, difference: float, rounds: int, comparisons: int, rows: int
) -> float:
    """The chance that a difference between two rows of so many rounds each is found, and in its direction.

    Parameters as for `rounds_needed`. The statistic is a noncentral t but for the estimate of the spread, and
    like it a mixture of normals: over what that estimate may be, and over what the true spread may be, given
    the measured one.
    """
    from scipy.special import ndtr

    true = spread.relative / roots(spread.degrees)
    shift = math.log1p(difference) / np.maximum(true * math.sqrt(2 / rounds), 1e-12)
    own = 2 * (rounds - 1)
    bar = critical_value(device.degrees_at(rounds, rows), comparisons) * estimates(own, (rows - 1) * own)
    return float(ndtr(shift[:, None] - bar[None, :]).mean())


def critical_value(degrees: int, comparisons: int) -> float:
    """What the t statistic of one of several two-sided tests has to exceed."""
    from scipy.stats import t

    return float(t.isf(FAMILY_ERROR / 2 / comparisons, degrees))


@cache
def estimates(own: int, others: int) -> np.ndarray:
    """What `DeviceSpread.spread_of` makes of a true spread of 1: its values at equally likely slices.

    Parameters
    ----------
    own, others : degrees of freedom of the row, and of all others of the device together
    """
    alone = roots(own) ** 2
    if not others:
        return np.sqrt(alone)
    pooled = (own * alone[:, None] + others * roots(others)[None, :] ** 2) / (own + others)
    values = np.sort(np.sqrt(np.maximum(alone[:, None], pooled)).ravel())
    return values.reshape(SLICES, -1).mean(axis=1)


@cache
def roots(degrees: int) -> np.ndarray:
    """An estimated standard deviation over the true one: its values at equally likely slices."""
    from scipy.stats import chi2

    return np.sqrt(chi2.ppf((np.arange(SLICES) + 0.5) / SLICES, degrees) / degrees)
