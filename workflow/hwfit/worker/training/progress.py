"""How far a run has come, over all its sessions, and what its intervals say of its speed. Plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hwfit.records import Flag
from hwfit.series import autocorrelation_time

# Fewer intervals do not say how far they scatter.
LEAST_INTERVALS = 5
# When there are more, neighbours are joined: longer ones are as good for the mean and better for its error.
MOST_INTERVALS = 512


@dataclass
class Progress:
    """What a checkpoint keeps beside the trainer's state.

    Attributes
    ----------
    step, epoch : done since the beginning of the run; `step_in_epoch` of them in an epoch that is not over
    train_s, evaluation_s, checkpoint_s, wall_s : of all sessions, without what a kill has lost
    intervals : [steps, seconds] of steady training, in order
    epoch_loss, epoch_s : sum of the losses of the steps of this epoch, and their time
    first_loss : of the very first step
    reached : epochs, samples, seconds, energy_j when the target was reached
    log_bytes : how much of the log belongs to what was done so far
    fresh_steps, fresh_s : of the first interval of sessions, until `train_s` has them
    target : the accuracy that `reached` speaks of
    flags : doubts about what was done so far, as plain data
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    sessions: int = 0
    train_s: float = 0.0
    evaluation_s: float = 0.0
    checkpoint_s: float = 0.0
    wall_s: float = 0.0
    energy_j: float | None = None
    first_step_s: float | None = None
    first_loss: float | None = None
    epoch_loss: float = 0.0
    epoch_s: float = 0.0
    intervals: list[list[float]] = field(default_factory=list)
    reached: dict[str, float | None] | None = None
    final_loss: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    best_validation_accuracy: float | None = None
    peak_bytes: float | None = None
    log_bytes: int = 0
    fresh_steps: int = 0
    fresh_s: float = 0.0
    target: float | None = None
    flags: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def add_time(self, seconds: float) -> None:
        """Take in time in training steps."""
        self.train_s += seconds
        self.epoch_s += seconds

    def count_fresh(self) -> None:
        """Take in the first steps of sessions as what steady ones take; the rest of their time was a start.

        Where there was no steady step so far, they count as what they took.
        """
        steps, seconds = (sum(interval[part] for interval in self.intervals) for part in (0, 1))
        at_pace = self.fresh_steps * seconds / steps if steps else self.fresh_s
        self.add_time(min(self.fresh_s, at_pace))
        self.fresh_steps, self.fresh_s = 0, 0.0

    def add_interval(self, steps: int, seconds: float) -> None:
        """Take in so many steps of steady training."""
        self.intervals.append([steps, seconds])
        if len(self.intervals) > MOST_INTERVALS:
            pairs = zip(self.intervals[::2], self.intervals[1::2], strict=False)
            left = self.intervals[-1:] if len(self.intervals) % 2 else []
            self.intervals = [[a[0] + b[0], a[1] + b[1]] for a, b in pairs] + left


def each_code_once(flags: Iterable[Flag]) -> list[Flag]:
    """The flags, of those with one code the first."""
    found: dict[str, Flag] = {}
    for flag in flags:
        found.setdefault(flag.code, flag)
    return list(found.values())


def speed(intervals: Sequence[Sequence[float]], batch_size: int) -> dict[str, float | None]:
    """Samples a second with their 95% interval, and the median time of a step, of steady training.

    The rate is all steps over all seconds; its error is that of a ratio over intervals of unlike lengths
    (Cochran, *Sampling Techniques*, 1977, 6.4), widened by the intervals' autocorrelation, with Student's
    quantile in its expansion (Abramowitz and Stegun, 26.7.5).

    Parameters
    ----------
    intervals : [steps, seconds] of each, in order
    """
    if not intervals:
        return {}
    steps, seconds = np.array(intervals, np.float64).T
    rate = steps.sum() / seconds.sum()
    found: dict[str, float | None] = {
        "samples_per_s": float(rate * batch_size),
        "samples_per_s_ci_low": None,
        "samples_per_s_ci_high": None,
        "step_p50_ms": weighted_median(seconds / steps, steps) * 1e3,
    }
    if len(steps) >= LEAST_INTERVALS:
        apart = steps - rate * seconds
        effective = max(len(steps) / autocorrelation_time(apart), 2.0)
        error = math.sqrt((apart**2).sum() / len(steps) / (effective - 1)) / seconds.mean()
        half = student_quantile(effective - 1) * error
        found["samples_per_s_ci_low"] = float(max(rate - half, 0.0) * batch_size)
        found["samples_per_s_ci_high"] = float((rate + half) * batch_size)
    return found


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value below which half of the weight lies."""
    ranked = np.argsort(values)
    below = np.cumsum(weights[ranked])
    return float(values[ranked][np.searchsorted(below, below[-1] / 2)])


def student_quantile(freedom: float) -> float:
    """Student's two-sided 95% quantile, from one degree of freedom on.

    With t = sqrt(freedom) tan(angle), the angle's density is in proportion to cos(angle) ** (freedom - 1).
    """
    # Beyond, it is the normal one's but for 0.03%, and the grid too coarse for what is left of the angles.
    freedom = min(freedom, 5000.0)
    angles = np.linspace(0.0, np.pi / 2, 10_001)
    below = np.cumsum(np.cos((angles[1:] + angles[:-1]) / 2) ** (freedom - 1))
    return math.sqrt(freedom) * math.tan(np.interp(0.95, below / below[-1], angles[1:]))
