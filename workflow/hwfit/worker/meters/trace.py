"""The energy under a trace of power samples, or the reason why the trace does not tell it.

Trapezoids between samples, the power at both ends interpolated between the samples around them, and no
energy where two samples lie too far apart: the rules by which InferenceX integrates power
(SemiAnalysisAI/InferenceX, utils/aggregate_power.py). There a server runs on beyond both ends. Here nothing
does, so that a sample from outside counts only where it is near enough to tell of the work; else the end
has the power of the nearest sample inside. What makes a trace unfit is decided here:

- a gap: no sample for longer than the meter allows, at the ends too;
- a jump: a sample that is negative or no number, more than twice the power limit where that is known, or
  more than ten times what nine tenths of the samples stay below;
- frozen: nothing but 0 W, or, for a sensor that never says the same twice (`jitters`), nothing but one
  value. A constant trace of any other sensor may be true, and stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwfit.records import Flag

LEAST_SAMPLES = 5
# How far outside a sample may lie. NVML's figures are up to 100 ms old, and no other sensor's fresher.
NEAR_S = 0.1
# Below this number the same value again and again may be chance, even of a sensor that jitters.
FROZEN_SAMPLES = 20
MOST_OF_LIMIT = 2.0
MOST_OF_USUAL = 10.0


@dataclass(frozen=True)
class Demands:
    """What a trace has to keep.

    Attributes
    ----------
    resolution_s : the least time it has to span
    most_gap_s : the longest time without a sample
    limit_w : the power limit of the hardware, where known
    jitters : whether the sensor's last digit changes all the time
    """

    resolution_s: float
    most_gap_s: float
    limit_w: float | None = None
    jitters: bool = False


def energy_of(
    samples: Sequence[tuple[float, float]], start_s: float, end_s: float, demands: Demands
) -> tuple[float | None, tuple[Flag, ...], float | None]:
    """Integrate a trace.

    Parameters
    ----------
    samples : (seconds, watts) in order of time, on the clock of `start_s` and `end_s`

    Returns
    -------
    joules (None where a flag says why not), flags, and the largest gap in seconds (None without samples)
    """
    near = [each for each in samples if start_s - NEAR_S <= each[0] <= end_s + NEAR_S]
    if not near:
        return None, (Flag("energy_lost", "the sensor told nothing"),), None
    times, watts = np.array(near, float).T
    gap_s = largest_gap(times, start_s, end_s)
    inside = int(np.count_nonzero((times >= start_s) & (times <= end_s)))
    flag = unfit(times, watts, end_s - start_s, inside, demands)
    if flag is None and gap_s > demands.most_gap_s:
        said = f"no sample for {gap_s:.3g} s, and {demands.most_gap_s:g} s is the most that is bridged"
        flag = Flag("energy_gap", said, gap_s)
    if flag is not None:
        return None, (flag,), gap_s
    return trapezoids(times, watts, start_s, end_s), (), gap_s


def largest_gap(times: np.ndarray, start_s: float, end_s: float) -> float:
    """The longest time between start and end in which no sample was taken; one just outside counts too."""
    before = times[times <= start_s][-1:]
    after = times[times >= end_s][:1]
    within = times[(times > start_s) & (times < end_s)]
    known = np.concatenate([before if before.size else [start_s], within, after if after.size else [end_s]])
    return float(np.max(np.diff(known)))


def unfit(times: np.ndarray, watts: np.ndarray, seconds: float, inside: int, demands: Demands) -> Flag | None:
    """What about the samples themselves forbids an integral."""
    wrong = watts[~np.isfinite(watts) | (watts < 0)]
    if wrong.size:
        value = float(wrong[0]) if np.isfinite(wrong[0]) else None
        return Flag("energy_jump", f"the sensor said {wrong[0]:g} W", value)
    highest = float(np.max(watts))
    bound = MOST_OF_USUAL * float(np.quantile(watts, 0.9))
    named = f"{MOST_OF_USUAL:.0f} times its usual power"
    if demands.limit_w:
        bound, named = MOST_OF_LIMIT * demands.limit_w, f"{MOST_OF_LIMIT:.0f} times its limit"
    if highest > bound > 0:
        return Flag("energy_jump", f"the sensor said {highest:.0f} W, above {named}, {bound:.0f} W", highest)
    if seconds < demands.resolution_s or inside < LEAST_SAMPLES:
        said = (
            f"{inside} samples in {seconds:.3g} s; {LEAST_SAMPLES} in {demands.resolution_s:g} s are needed"
        )
        return Flag("energy_too_short", said, seconds)
    if highest == 0:
        return Flag("energy_frozen", "the sensor said 0 W all the time", 0)
    if demands.jitters and len(watts) >= FROZEN_SAMPLES and np.all(watts == watts[0]):
        said = f"{len(watts)} samples in {times[-1] - times[0]:.3g} s were all {watts[0]:g} W"
        return Flag("energy_frozen", said, float(watts[0]))
    return None


def trapezoids(times: np.ndarray, watts: np.ndarray, start_s: float, end_s: float) -> float:
    """Joules between two times; the power at either is interpolated, outside of all samples the nearest."""
    within = (times > start_s) & (times < end_s)
    edges = np.interp([start_s, end_s], times, watts)
    points = np.concatenate([[start_s], times[within], [end_s]])
    powers = np.concatenate([edges[:1], watts[within], edges[1:]])
    return float(np.sum(np.diff(points) * (powers[1:] + powers[:-1]) / 2))
