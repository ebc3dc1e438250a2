"""Which optimizer, learning rate and batch size a model should be trained with on a device, and how surely.

What counts is a figure until the target accuracy: seconds, energy or cost. A configuration's is the median
of its seeds; how far chance moves it is learnt from all configurations of the model on the device that have
several seeds, as the relative spread between these, and carried to the median's doubt (the standard error of
a median is about 1.25 times that of a mean). With one seed each nothing is known of that, and nothing is
claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hwfit.decide.choice import TIE_SHARE
from hwfit.training.table import FIGURES, Configuration, unit_of
from hwfit.uncertainty import Estimate, Spread, draws, pooled_spread

DRAWS = 4000
MEDIAN_ERROR = 1.2533
LESS = {"seconds": "slower", "energy": "more energy", "cost": "dearer"}


@dataclass
class TrainingDecision:
    """The answer for one model on one device.

    Attributes
    ----------
    figure : of the chosen configuration, in the objective's unit
    margin : how much more the next best takes, relative; `margin_low` and `margin_high` its 95% interval
    probability_best : that no other configuration is truly better; None where no seeds tell
    """

    model: str
    device: str
    objective: str
    target_accuracy: float
    verdict: str
    summary: str
    chosen: Configuration | None = None
    figure: float | None = None
    probability_best: float | None = None
    margin: float | None = None
    margin_low: float | None = None
    margin_high: float | None = None
    tied: list[Configuration] = field(default_factory=list)
    runner_up: Configuration | None = None

    @property
    def unit(self) -> str:
        """Of the figure."""
        return unit_of(self.objective, self.chosen.lines[0]["currency"] if self.chosen else None)


def decide_training(configurations: Sequence[Configuration], objective: str) -> list[TrainingDecision]:
    """An answer for each model and device; every configuration gets its verdict and its reason."""
    groups: dict[tuple[str, str], list[Configuration]] = {}
    for each in configurations:
        groups.setdefault((each.model, each.device), []).append(each)
    return [decide_one(group, objective) for group in groups.values()]


def decide_one(group: Sequence[Configuration], objective: str) -> TrainingDecision:
    """The answer for the configurations of one model on one device."""
    for each in group:
        each.verdict, each.reason = standing(each)
    column = FIGURES[objective]
    known = [each for each in group if each.verdict == "dominated" and each.to_target(column) is not None]
    # One that reaches the target with every seed is preferred to one that does by luck.
    most = max((each.reached / len(each.ended) for each in known), default=0.0)
    reliable = [each for each in known if each.reached / len(each.ended) == most]
    decision = TrainingDecision(
        group[0].model, group[0].device, objective, group[0].target_accuracy, "none", ""
    )
    if not reliable:
        decision.summary = why_none(group, objective)
        return decision
    choose(decision, reliable, column)
    for each in known:
        if each not in reliable:
            each.verdict = "unreliable"
            each.reason = f"reached the target in {each.reached} of {len(each.ended)} seeds"
    return decision


def standing(configuration: Configuration) -> tuple[str, str]:
    """The verdict and the reason of a configuration by itself; `dominated` where it reaches the target."""
    lines = configuration.lines
    if not configuration.counted:
        distrusted = next((line for line in lines if line["status"] == "ok"), None)
        if distrusted:
            return "rejected", f"its time cannot be trusted: {distrusted['flags']}"
        return "not_measured", f"{lines[0]['status']}: {lines[0]['reason']}"
    seeds, reached = len(configuration.ended), configuration.reached
    if configuration.to_target("epochs_to_target") is not None:
        if configuration.to_target(FIGURES["seconds"]) is not None:
            return "dominated", ""
        flags = next(line["flags"] for line in lines if line["reached"] and not line["valid"])
        return "rejected", f"it reaches the target, and no time of that can be trusted: {flags}"
    if configuration.diverged == len(lines):
        return "diverged", str(lines[0]["reason"])
    best = max(configuration.values("best_validation_accuracy"), default=None)
    stopped = next((str(line["stopped"]) for line in lines if line["stopped"]), "")
    parts = [f"reached in {reached} of {seeds} seeds" if seeds > 1 else ""]
    parts += [f"diverged in {configuration.diverged}" if configuration.diverged else ""]
    parts += [f"best {best:.4g} of {configuration.target_accuracy:g}" if best is not None else ""]
    parts += [f"stopped after {stopped}" if stopped else ""]
    return "not_reached", ", ".join(part for part in parts if part)


def choose(decision: TrainingDecision, candidates: list[Configuration], column: str) -> None:
    """Fill in the choice among those that reached the target, and the verdicts of all of them."""
    figures = {id(each): float(each.to_target(column) or 0.0) for each in candidates}
    ranked = sorted(candidates, key=lambda each: figures[id(each)])
    leader, others = ranked[0], ranked[1:]
    decision.verdict, decision.chosen, decision.figure = "chosen", leader, figures[id(leader)]
    leader.verdict = "chosen"
    worlds = plausible(ranked, column, [figures[id(each)] for each in ranked])
    for place, each in enumerate(others, start=1):
        ratio = figures[id(each)] / max(decision.figure, 1e-12)
        each.reason = f"{ratio - 1:.0%} {LESS[decision.objective]} than {leader.name}"
        if worlds is not None and np.mean(worlds[:, place] <= worlds[:, 0]) >= TIE_SHARE:
            each.verdict = "tied"
            each.reason = f"cannot be told from {leader.name}"
            decision.tied.append(each)
    if worlds is not None:
        decision.probability_best = float(np.mean(worlds.argmin(axis=1) == 0))
    if others:
        decision.runner_up = others[0]
        decision.margin = figures[id(others[0])] / max(decision.figure, 1e-12) - 1
        if worlds is not None:
            low, high = np.quantile(worlds[:, 1] / worlds[:, 0] - 1, (0.025, 0.975))
            decision.margin_low, decision.margin_high = float(low), float(high)
    decision.summary = summary_of(decision)


def plausible(
    candidates: Sequence[Configuration], column: str, figures: Sequence[float]
) -> np.ndarray | None:
    """Plausible figures, shape (draws, candidates); None where no configuration has two seeds."""
    spread = pooled_spread([positive(each.values(column)) for each in candidates])
    if spread is None:
        return None
    estimates = [
        Estimate(max(figure, 1e-12), error_of(len(each.values(column)), spread), spread.degrees)
        for each, figure in zip(candidates, figures, strict=True)
    ]
    return draws(estimates, DRAWS, seed=0)


def error_of(seeds: int, spread: Spread) -> float:
    """The relative standard error of a median of so many seeds; of one or two it is their mean."""
    return spread.relative / math.sqrt(max(seeds, 1)) * (MEDIAN_ERROR if seeds > 2 else 1.0)


def positive(values: Sequence[float]) -> list[float]:
    """Those above 0: a logarithm needs them so."""
    return [value for value in values if value > 0]


def summary_of(decision: TrainingDecision) -> str:
    """The answer in a sentence or two."""
    chosen = decision.chosen
    assert chosen is not None and decision.figure is not None
    unit, seeds = decision.unit, len(chosen.ended)
    where = f"{decision.model} on {decision.device}"
    reached = f"{decision.target_accuracy:g} after {decision.figure:.3g} {unit}"
    said = f"{where}: {chosen.name} reaches {reached}"
    said += f" (median of {seeds} seeds)." if seeds > 1 else " (one seed)."
    if chosen.reached < seeds:
        said += f" It does so in {chosen.reached} of {seeds} seeds only."
    if decision.runner_up is None:
        return f"{said} Nothing else reaches it."
    if decision.probability_best is None:
        return f"{said} With one seed each, nothing tells how far chance moves these figures."
    if decision.tied:
        tied = "; ".join(each.name for each in decision.tied[:3])
        more = f" and {len(decision.tied) - 3} more" if len(decision.tied) > 3 else ""
        return f"{said} It cannot be told from {tied}{more}."
    return f"{said} The next, {decision.runner_up.name}, is {decision.margin:.0%} {LESS[decision.objective]}."


def why_none(group: Sequence[Configuration], objective: str) -> str:
    """Why nothing is recommended."""
    where, target = f"{group[0].model} on {group[0].device}", group[0].target_accuracy
    reached = [each for each in group if each.verdict == "dominated"]
    if reached:
        return f"{where}: {target:g} is reached, but its {objective} is not known."
    tried = [each for each in group if each.values("best_validation_accuracy")]
    if not tried:
        return f"{where}: nothing was trained to an end."
    best = max(tried, key=lambda each: max(each.values("best_validation_accuracy")))
    accuracy = max(best.values("best_validation_accuracy"))
    if any(each.verdict == "rejected" and each.to_target("epochs_to_target") for each in group):
        return f"{where}: {target:g} is reached, but no time can be trusted: measure on a quiet host."
    return f"{where}: nothing reaches {target:g}; the nearest is {best.name} with {accuracy:.4g}."
