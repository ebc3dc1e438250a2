"""How long to sample a call, and what the samples say.

Sampling stops when the answer is known. Three things make that claim true:

- Calls made one after the other resemble each other (a busy neighbour, a clock that steps), so the
  interval of the median counts *effective* samples. Whether a sample lies above the median is a
  series of zeros and ones; its autocorrelation (`hwfit.series`) says how many independent samples it
  is worth, and never more than one in BURST_SECONDS: a series that saw no burst cannot tell of the
  next. The ranks of the order-statistic interval (Conover, Practical Nonparametric Statistics, 3.2)
  are widened by it.
- Looking until an interval is narrow makes it lie, so looks are few, at times that grow by half, and
  each uses a wider quantile than the 95% it promises. `tests/unit/test_sampling.py` holds the
  coverage with the stopping rule in force.
- A percentile is given only when enough samples prove it: n samples of which all lie below a bound
  prove the q-quantile at confidence c when q**n <= 1 - c. This is the smallest case of the early
  stopping of MLPerf LoadGen (mlcommons/inference_policies, 'early stopping').
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwfit.series import autocorrelation_time, exceedance_verdict

# Normal quantile behind every look. 1.96 would promise 95% for one look at independent samples; this
# pays for several looks and for an autocorrelation that is itself estimated (see the coverage test).
LOOK_QUANTILE = 2.5
# For the same reason, of the one-sided tests of limits; the decision itself asks for 95%.
LOOK_CONFIDENCE = 0.99
# What a machine does to calls lasts about as long, though a short series need not show it. Chosen by
# simulation: with one second of timed calls, bursts of 250 ms in a quarter of the time are covered.
BURST_SECONDS = 0.05
MINIMUM_SAMPLES = 5
# With fewer, the autocorrelation cannot be told from noise, and an interval is not proven narrow.
MINIMUM_SAMPLES_TO_STOP = 20
LOOK_GROWTH = 1.5
MINIMUM_WARM_UP_CALLS = 6
# Between thousands of calls any trend is significant; one of less than this is no warm-up any more.
SPEED_UP_THAT_MATTERS = 0.01


@dataclass(frozen=True)
class StoppingRule:
    """When to stop sampling.

    Attributes
    ----------
    relative_ci : the half-width of the median's interval, relative to the median
    min_seconds, max_seconds : bounds of the time spent in timed calls
    limits_s : (percentile from 0 to 1, seconds): whether it lies below them should be decided too
    least_samples : fewer are never enough, however long they take
    """

    relative_ci: float
    min_seconds: float
    max_seconds: float
    limits_s: tuple[tuple[float, float], ...] = ()
    least_samples: int = MINIMUM_SAMPLES


@dataclass(frozen=True)
class Interval:
    """An interval of the median.

    Attributes
    ----------
    low, high : in the samples' unit
    independent_samples : what the samples are worth by their autocorrelation alone
    effective_samples : what they count for: BURST_SECONDS bounds it too
    proven : false where so few cannot prove an interval; it then spans all samples
    """

    low: float
    high: float
    independent_samples: float
    effective_samples: float
    proven: bool

    def relative_half_width(self, median: float) -> float:
        return (self.high - self.low) / 2 / median


def median_interval(samples: np.ndarray, elapsed_s: float, quantile: float = LOOK_QUANTILE) -> Interval:
    """Order-statistic interval of the median, its ranks widened by the samples' autocorrelation.

    Parameters
    ----------
    samples : shape (n,), in the order they were taken
    elapsed_s : the time they were taken in
    quantile : of the normal distribution; 1.96 for a single look at 95%
    """
    n = len(samples)
    above = (samples > np.median(samples)).astype(float)
    independent = n / autocorrelation_time(above)
    effective = min(independent, max(1.0, elapsed_s / BURST_SECONDS))
    spread = quantile / 2 * n / math.sqrt(effective)
    low, high = math.floor(n / 2 - spread), math.ceil(n / 2 + spread)
    ordered = np.sort(samples)
    proven = low >= 0 and high <= n - 1
    return Interval(
        low=float(ordered[max(low, 0)]),
        high=float(ordered[min(high, n - 1)]),
        independent_samples=independent,
        effective_samples=effective,
        proven=proven,
    )


def samples_that_prove(percentile: float, confidence: float = 0.95) -> int:
    """The fewest independent samples that can prove a percentile (0 to 1) at a confidence."""
    return math.ceil(math.log(1 - confidence) / math.log(percentile))


def proven_percentile(samples: np.ndarray, percentile: float) -> float | None:
    """The sample percentile (0 to 1), or None where too few samples prove it."""
    if len(samples) < samples_that_prove(percentile):
        return None
    return float(np.quantile(samples, percentile))


def is_known(samples: np.ndarray, rule: StoppingRule) -> bool:
    """Whether the median's interval is as narrow as asked for, and every limit is decided.

    Parameters
    ----------
    samples : seconds, in order
    """
    if len(samples) < MINIMUM_SAMPLES_TO_STOP:
        return False
    interval = median_interval(samples, float(samples.sum()))
    if not interval.proven or interval.relative_half_width(float(np.median(samples))) > rule.relative_ci:
        return False
    return all(
        exceedance_verdict(samples, limit, percentile, LOOK_CONFIDENCE) != "unproven"
        for percentile, limit in rule.limits_s
    )


def sample(
    run: Callable[[Any], Any],
    inputs: Sequence[Any],
    rule: StoppingRule,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> tuple[np.ndarray, list[Any]]:
    """Time calls of `run`, over the inputs in turn, until the rule is satisfied.

    Returns
    -------
    durations : shape (n,), seconds, in order
    outputs : the last output of each input, to be checked; None where it was not called
    """
    durations: list[int] = []
    outputs: list[Any] = [None] * len(inputs)
    count = len(inputs)
    total = 0
    look_at = int(rule.min_seconds * 1e9)
    limit = int(rule.max_seconds * 1e9)
    while True:
        index = len(durations) % count
        placed = inputs[index]
        start = clock()
        output = run(placed)
        duration = clock() - start
        outputs[index] = output
        durations.append(duration)
        total += duration
        if total < look_at and total < limit:
            continue
        if len(durations) < rule.least_samples:
            continue
        if total >= limit or is_known(np.array(durations) / 1e9, rule):
            return np.array(durations) / 1e9, outputs
        look_at = min(int(max(look_at, total) * LOOK_GROWTH), limit)


def warm_up(
    run: Callable[[Any], Any],
    inputs: Sequence[Any],
    max_seconds: float,
    before: Sequence[float] = (),
    clock: Callable[[], int] = time.perf_counter_ns,
) -> tuple[int, bool | None]:
    """Call `run` until its times are steady.

    Steady is when, after the first third of the calls so far, the later half is not faster than the
    earlier half (`is_still_speeding_up`). Georges, Buytaert and Eeckhout (OOPSLA 2007) wait for a small
    coefficient of variation, which a noisy machine never shows; comparing halves asks for the absence
    of a trend alone.

    Parameters
    ----------
    before : seconds of the calls that were made already, in order; they count

    Returns
    -------
    calls : the number of calls, those before included
    is_steady : None where time was up before there were calls enough to tell
    """
    durations = [round(duration * 1e9) for duration in before]
    look_at = MINIMUM_WARM_UP_CALLS
    total = 0
    limit = int(max_seconds * 1e9)
    is_steady = None
    while True:
        if len(durations) >= look_at:
            is_steady = not is_still_speeding_up(np.array(durations[len(durations) // 3 :]))
            look_at = math.ceil(len(durations) * LOOK_GROWTH)
        if is_steady or total >= limit:
            return len(durations), is_steady
        placed = inputs[len(durations) % len(inputs)]
        start = clock()
        run(placed)
        duration = clock() - start
        durations.append(duration)
        total += duration


def is_still_speeding_up(durations: np.ndarray) -> bool:
    """Whether the later half is faster than the earlier, by what matters and by more than chance.

    What matters is SPEED_UP_THAT_MATTERS between the medians; chance is a one-sided Mann-Whitney test
    at 10%, in its normal approximation.
    """
    half = len(durations) // 2
    early, late = np.sort(durations[:half]), np.sort(durations[-half:])
    if np.median(early) <= np.median(late) * (1 + SPEED_UP_THAT_MATTERS):
        return False
    below = np.searchsorted(late, early, side="left").sum()
    below_or_equal = np.searchsorted(late, early, side="right").sum()
    greater = (below + below_or_equal) / 2
    deviation = math.sqrt(half * half * (2 * half + 1) / 12)
    return bool(greater > half * half / 2 + 1.28 * deviation)
