"""What a series of timed calls is worth and proves; numpy alone, so that both wings may use it."""

from __future__ import annotations

import math

import numpy as np

CONFIDENCE = 0.95


def autocorrelation_time(series: np.ndarray) -> float:
    """How many samples of a correlated series are worth one independent sample (1 or more).

    Geyer's initial positive sequence (Practical Markov Chain Monte Carlo, 1992): autocorrelations are
    summed in pairs of lags until a pair's sum is no longer positive. A constant series has nothing to
    correlate: 1.

    Parameters
    ----------
    series : shape (n,), in the order it was taken
    """
    n = len(series)
    centred = series - series.mean() if n else series
    variance = float(centred @ centred) / max(n, 1)
    if n < 4 or variance == 0:
        return 1.0
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size)[: n // 2] / n
    correlation = covariance / variance
    pairs = correlation[: len(correlation) // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    return float(max(1.0, 2 * pairs[: negative[0] if len(negative) else None].sum() - 1))


def exceedance_verdict(
    durations: np.ndarray, limit: float, percentile: float, confidence: float = CONFIDENCE
) -> str:
    """Whether a percentile (0 to 1) of a call's time lies below a limit.

    One-sided exact binomial tests on the calls that went over the limit: 'met' when so few would be
    rare were the percentile above the limit, 'violated' when so many would be rare were it below, else
    'unproven'. Calls that come in runs prove less than as many independent ones: how they come is
    learnt from those that went half-way from the percentile to the limit, since a slow drift far below
    a limit says nothing of what happens at it.

    Parameters
    ----------
    durations : shape (n,), in the order they were taken, in the limit's unit
    """
    halfway = (np.quantile(durations, percentile) + limit) / 2
    counted = max(1, round(len(durations) / autocorrelation_time((durations > halfway).astype(float))))
    exceeding = round(float((durations > limit).mean()) * counted)
    share = 1 - percentile
    if binomial_cdf(exceeding, counted, share) <= 1 - confidence:
        return "met"
    if 1 - binomial_cdf(exceeding - 1, counted, share) <= 1 - confidence:
        return "violated"
    return "unproven"


def binomial_cdf(successes: int, trials: int, probability: float) -> float:
    """The chance of so many successes or fewer, each of the probability (0 to 1, exclusive)."""
    if successes < 0:
        return 0.0
    if successes >= trials:
        return 1.0
    counts = np.arange(1, successes + 1)
    choices = np.concatenate([[0.0], np.cumsum(np.log((trials - counts + 1) / counts))])
    counts = np.arange(successes + 1)
    logs = choices + counts * math.log(probability) + (trials - counts) * math.log1p(-probability)
    return float(min(1.0, np.exp(logs).sum()))
