"""The linear-scaling rule beside what was found: k times the batch, k times the learning rate.

Goyal et al., *Accurate, Large Minibatch SGD* (2017), for SGD; for Adam and its kin the square root of k is
the usual rule (Malladi et al., *On the SDEs and Scaling Rules for Adaptive Gradient Algorithms*, 2022). The
best learning rate of the smallest batch size is where both start from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwfit.training.table import FIGURES, Configuration


@dataclass(frozen=True)
class ScaledRate:
    """A batch size with its best learning rate and the one that linear scaling names.

    `at_predicted` says what the run nearest to the predicted rate came to: reached, not_reached, diverged, or
    not_tried, where the predicted rate lies more than half a step outside those that were tried.
    """

    batch_size: int
    found: float | None
    predicted: float
    at_predicted: str


@dataclass(frozen=True)
class Scaling:
    """The rule for one optimizer, of a model in a runtime on a device.

    `exponent` is that of the batch size in the best learning rate: 1 is the linear rule, 0.5 the square root;
    None where fewer than two batch sizes have a best rate.
    """

    model: str
    device: str
    runtime: str
    optimizer: str
    schedule: str
    precision: str
    rates: tuple[ScaledRate, ...]
    exponent: float | None


def scaling_of(configurations: Sequence[Configuration], objective: str) -> list[Scaling]:
    """The rule beside the findings, wherever two batch sizes were tried with several learning rates."""
    groups: dict[tuple[str, str, str, str, str, str], list[Configuration]] = {}
    for each in configurations:
        if each.accumulation == 1 and not each.activation_checkpointing:
            key = (each.model, each.device, each.runtime, each.optimizer, each.schedule, each.precision)
            groups.setdefault(key, []).append(each)
    found = []
    for key, group in groups.items():
        sizes = sorted({each.batch_size for each in group})
        best = {size: best_rate([e for e in group if e.batch_size == size], objective) for size in sizes}
        base = next((size for size in sizes if best[size]), None)
        tried = {each.learning_rate for each in group}
        if base is None or base == sizes[-1] or len(tried) < 2:
            continue
        rates = tuple(
            compared([e for e in group if e.batch_size == size], size, best[size], size / base * best[base])
            for size in sizes
            if size >= base
        )
        found.append(Scaling(*key, rates, exponent_of({size: rate for size, rate in best.items() if rate})))
    return found


def best_rate(group: Sequence[Configuration], objective: str) -> float | None:
    """The learning rate of the best of some configurations: the soonest there, else the most accurate; None
    where none was measured.
    """
    column = FIGURES[objective]

    def key(each: Configuration) -> tuple[float, float]:
        figure = each.to_target(column)
        best = each.values("best_validation_accuracy")
        return (math.inf if figure is None else figure, -max(best, default=-math.inf))

    measured = [each for each in group if each.values("best_validation_accuracy")]
    return min(measured, key=key).learning_rate if measured else None


def compared(
    group: Sequence[Configuration], batch_size: int, found: float | None, predicted: float
) -> ScaledRate:
    """One batch size's rate beside the predicted one, with what became of the run nearest to that."""
    rates = sorted(each.learning_rate for each in group)
    nearest = min(group, key=lambda each: abs(math.log(each.learning_rate / predicted)))
    steps = np.diff(np.log(rates))
    reach = float(steps.max()) / 2 if len(steps) else 0.0
    if abs(math.log(nearest.learning_rate / predicted)) > reach + 1e-9:
        outcome = "not_tried"
    elif nearest.diverged and not nearest.reached:
        outcome = "diverged"
    else:
        outcome = "reached" if nearest.to_target(FIGURES["seconds"]) is not None else "not_reached"
    return ScaledRate(batch_size, found, predicted, outcome)


def exponent_of(best: dict[int, float]) -> float | None:
    """The slope of the logarithm of the best rate over that of the batch size, by least squares."""
    if len(best) < 2:
        return None
    return float(np.polyfit(np.log(list(best)), np.log(list(best.values())), 1)[0])


def sentence(scaling: Scaling) -> str:
    """The rule and the findings in words."""
    first, *others = scaling.rates
    parts = []
    for rate in others:
        seen = {"diverged": ", which diverges", "not_tried": ", beyond what was tried"}
        said = f"at {rate.batch_size} linear scaling says {rate.predicted:g}"
        said += seen.get(rate.at_predicted, "")
        parts.append(f"{said}; found {rate.found:g}" if rate.found is not None else said)
    start = f"{scaling.optimizer} in {scaling.runtime}: from {first.found:g} at batch size {first.batch_size}"
    slope = f" The best rate grows as the batch size to the power {scaling.exponent:.2g}."
    return f"{start}, {'; '.join(parts)}." + (slope if scaling.exponent is not None else "")
