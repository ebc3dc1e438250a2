"""Successive halving against the whole grid: does it find the winner, and at what cost?

The whole grid is trained once, by the workflow, with ten seeds. Halving trains beginnings of the same runs,
so what it would have done with a seed is replayed from the logs: the same verdicts, and no second training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.training.collect import curve_of
from hwfit.training.halving import Standing, judge
from hwfit.training.records import TrainingRun
from hwfit.training.runs import runs_of
from hwfit.training.sections import TrainingMatrix
from hwfit.uncertainty import pooled_spread

MATRIX: dict[str, Any] = {
    "models": ["lenet-300-100"],
    "devices": ["cpu"],
    "runtimes": ["torch"],
    "optimizers": ["momentum", "rmsprop", "adam"],
    "learning_rates": [0.001, 0.003, 0.01, 0.03, 0.1],
    "batch_sizes": [32, 128],
    "seeds": list(range(10)),
    # Of 143 validation samples: a run in ten comes so far, by its seed.
    "target_accuracy": 0.97,
    "max_epochs": 27,
}
# A curve that ends at 97% has all lower targets in it.
TARGETS = (0.9, 0.92, 0.94, 0.95, 0.96, 0.97)
HALVING = TrainingMatrix.model_validate(MATRIX | {"search": "halving"})
GOAL_COST = 0.4
# Two figures of one run each are a tie within so many spreads between seeds: 1.96 times the root of 2.
TIE_SPREADS = 2.77

Curve = Sequence[Mapping[str, Any]]


def standing_at(run: TrainingRun, lines: Curve, epochs: int, target: float) -> Standing:
    """Where a run stood after so many epochs, by its log; one that ends sooner without the target failed."""
    known = [line for line in lines if line["epoch"] <= epochs and line["validation_accuracy"] is not None]
    reached = next((line["seconds"] for line in known if line["validation_accuracy"] >= target), None)
    if reached is None and len(known) < epochs:
        return Standing(run, train_s=known[-1]["seconds"] if known else 0.0, failure="diverged")
    return Standing(
        run,
        reached,
        max(line["validation_accuracy"] for line in known),
        known[-1]["loss"],
        reached or known[-1]["seconds"],
    )


def replay(curves: Mapping[TrainingRun, Curve], matrix: TrainingMatrix) -> dict[TrainingRun, Standing]:
    """Where every run stood when halving was done with it."""
    going, standings = set(curves), {}
    for epochs in matrix.rung_epochs:
        for run in going:
            standings[run] = standing_at(run, curves[run], epochs, matrix.target_accuracy)
        in_race = [each for each in standings.values() if each.run in going or each.is_finished]
        named = set(judge(in_race, matrix.halving.eta).go_on)
        going = {run for run in going if run.path in named}
    return standings


def whole(curves: Mapping[TrainingRun, Curve], matrix: TrainingMatrix) -> dict[TrainingRun, Standing]:
    """Where every run stands at the end of the grid."""
    last, target = matrix.max_epochs, matrix.target_accuracy
    return {run: standing_at(run, lines, last, target) for run, lines in curves.items()}


def soonest(standings: Mapping[TrainingRun, Standing]) -> tuple[str, float]:
    """The configuration that is at the target first, and when; never, where none is."""
    found = ((each.seconds_to_target, run.configuration) for run, each in standings.items())
    known = [(seconds, name) for seconds, name in found if seconds is not None]
    return min(known)[::-1] if known else ("", math.inf)


def compare_at_all_targets(curves: Mapping[TrainingRun, Curve]) -> dict[str, Any]:
    """`compare` at each target."""
    return {
        str(target): compare(curves, HALVING.model_copy(update={"target_accuracy": target}))
        for target in TARGETS
    }


def compare(curves: Mapping[TrainingRun, Curve], matrix: TrainingMatrix = HALVING) -> dict[str, Any]:
    """The whole grid and halving for each seed; `curves` are of all seeds."""
    groups: dict[str, list[float]] = {}
    for run, standing in whole(curves, matrix).items():
        if standing.seconds_to_target:
            groups.setdefault(run.configuration, []).append(standing.seconds_to_target)
    spread = pooled_spread(groups.values())
    tie = math.exp(TIE_SPREADS * spread.relative) if spread else 1.0
    seeds = []
    for seed in sorted({run.seed for run in curves}):
        own = {run: lines for run, lines in curves.items() if run.seed == seed}
        grid, halved = whole(own, matrix), replay(own, matrix)
        (name, seconds), (found, found_seconds) = soonest(grid), soonest(halved)
        cost = [sum(each.train_s or 0.0 for each in standings.values()) for standings in (halved, grid)]
        seeds.append(
            {
                "seed": seed,
                "winner": name,
                "found": found,
                "is_winner": found == name,
                "is_in_tie": found_seconds <= seconds * tie,
                "cost": cost[0] / cost[1],
            }
        )
    return {
        "seeds": seeds,
        "runs": len(curves),
        "reaching": sum(len(reached) for reached in groups.values()),
        "winners": sum(each["is_winner"] for each in seeds),
        "winners_or_ties": sum(each["is_in_tie"] for each in seeds),
        "cost_median": float(np.median([each["cost"] for each in seeds])),
        "cost_highest": max(each["cost"] for each in seeds),
        "goal_cost": GOAL_COST,
        "within_goal": sum(each["is_in_tie"] and each["cost"] <= GOAL_COST for each in seeds),
        "spread_between_seeds": spread.relative if spread else None,
    }


def read_curves(devices: Mapping[str, Any], directory: Path) -> dict[TrainingRun, Curve]:
    """The logs of the grid that was trained in a directory."""
    return {run: curve_of(run, directory) for run in runs_of(HALVING, devices)}
