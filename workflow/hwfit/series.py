"""How much a series of correlated samples is worth; numpy alone, so that both wings may use it."""

from __future__ import annotations

import numpy as np


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
