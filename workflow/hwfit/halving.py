"""Successive halving: after each rung the best part of the learning rates and optimizers trains on.

Jamieson and Talwalkar, *Non-stochastic Best Arm Identification and Hyperparameter Optimization* (2016); Li
et al., *Hyperband* (2018). Those compete that differ in the optimizer and its learning rate alone: at one
batch size, schedule and precision an epoch takes about as long for all of them, so equal epochs compare
fairly, and every batch size keeps a learning rate of its own. A configuration stands for its seeds together.

Pure logic on plain data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwfit.training_records import TrainingRun


@dataclass(frozen=True)
class Standing:
    """Where a run stands at the end of a rung; `failure` says why it cannot go on, where it cannot."""

    run: TrainingRun
    seconds_to_target: float | None = None
    best_accuracy: float | None = None
    loss: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class Stopped:
    """A configuration that does not go on: `rank` of `of` in its bracket, 1 the best."""

    configuration: str
    rank: int
    of: int
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Which runs go on, by their paths, and which configurations were stopped."""

    go_on: list[str]
    stopped: list[Stopped]


def judge(standings: Sequence[Standing], eta: int) -> Verdict:
    """Which runs go on after a rung: of each bracket the best `1 / eta` of its configurations, rounded up.

    Those that have reached the target come first, the soonest of them in front; then the more accurate, then
    the lower loss. What failed goes on in no seed, and takes nobody's place.
    """
    brackets: dict[tuple[Any, ...], dict[str, list[Standing]]] = {}
    for standing in standings:
        run = standing.run
        brackets.setdefault(bracket_of(run), {}).setdefault(run.configuration, []).append(standing)
    go_on: list[str] = []
    stopped: list[Stopped] = []
    for configurations in brackets.values():
        ranked = sorted(configurations, key=lambda name: rank_key(configurations[name]))
        kept = math.ceil(len(ranked) / eta)
        for rank, name in enumerate(ranked, start=1):
            failure = next((each.failure for each in configurations[name] if each.failure), "")
            if rank <= kept and not failure:
                go_on += [each.run.path for each in configurations[name]]
            else:
                reason = failure or f"ranked {rank} of {len(ranked)}"
                stopped.append(Stopped(name, rank, len(ranked), reason))
    return Verdict(go_on, stopped)


def bracket_of(run: TrainingRun) -> tuple[Any, ...]:
    """What runs have in common that compete with each other."""
    return (
        run.device,
        run.runtime,
        run.model,
        run.batch_size,
        run.schedule,
        run.precision,
        run.accumulation,
        run.activation_checkpointing,
    )


def rank_key(seeds: Sequence[Standing]) -> tuple[float, float, float, float]:
    """What a configuration is ranked by, lower is better: of each figure the middle one of its seeds."""
    return (
        float(any(each.failure for each in seeds)),
        middle([each.seconds_to_target for each in seeds], math.inf),
        -middle([each.best_accuracy for each in seeds], -math.inf),
        middle([each.loss for each in seeds], math.inf),
    )


def middle(values: Sequence[float | None], missing: float) -> float:
    """The median, a value that is not there counting as `missing`; of an even number the worse middle one."""
    known = sorted((missing if value is None else value for value in values), reverse=missing < 0)
    return float(np.asarray(known)[len(known) // 2])


def standing_of(run: TrainingRun, record: Mapping[str, Any]) -> Standing:
    """A run's standing by the `status`, `reason` and `metrics` of its record."""
    if record["status"] != "ok":
        return Standing(run, failure=f"{record['status']}: {record['reason']}".rstrip(": "))
    metrics = record["metrics"]
    return Standing(
        run,
        metrics.get("seconds_to_target"),
        metrics.get("best_validation_accuracy"),
        metrics.get("final_loss"),
    )
