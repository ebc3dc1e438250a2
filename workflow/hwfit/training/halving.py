"""Successive halving: after each rung the best part of the learning rates and optimizers trains on.

Jamieson and Talwalkar, *Non-stochastic Best Arm Identification and Hyperparameter Optimization* (2016); Li
et al., *Hyperband* (2018). Those compete that differ in the optimizer and its learning rate alone: at one
batch size, schedule and precision an epoch takes about as long for all of them, so equal epochs compare
fairly, and every batch size keeps a learning rate of its own. A configuration stands for its seeds together.

A run ends when it reaches the target, so those that have reached it have nothing left to learn; and one that
has trained longer than another of its bracket needed in all can no longer be the soonest: it is stopped
whatever its rank.

Pure logic on plain data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwfit.training.records import TrainingRun


@dataclass(frozen=True)
class Standing:
    """Where a run stands at the end of a rung; `failure` says why it cannot go on, where it cannot."""

    run: TrainingRun
    seconds_to_target: float | None = None
    best_accuracy: float | None = None
    loss: float | None = None
    train_s: float | None = None
    failure: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether it has reached the target."""
        return self.seconds_to_target is not None


@dataclass(frozen=True)
class Stopped:
    """A configuration that does not go on, with its runs that were not finished; rank 1 is the best."""

    configuration: str
    runs: list[str]
    rank: int
    of: int
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Which runs go on, by their paths, which have reached the target, and which were stopped."""

    go_on: list[str]
    finished: list[str]
    stopped: list[Stopped]


def judge(standings: Sequence[Standing], eta: int) -> Verdict:
    """Which runs go on after a rung: of each bracket the best `1 / eta` of its configurations, rounded up.

    Those that have reached the target come first, the soonest of them in front; then the more accurate, then
    the lower loss. What failed goes on in no seed, and comes last.

    Parameters
    ----------
    standings : of all runs that were not stopped before, those that finished earlier included
    """
    brackets: dict[tuple[Any, ...], dict[str, list[Standing]]] = {}
    for standing in standings:
        run = standing.run
        brackets.setdefault(bracket_of(run), {}).setdefault(run.configuration, []).append(standing)
    verdict = Verdict([], [each.run.path for each in standings if each.is_finished], [])
    for configurations in brackets.values():
        ranked = sorted(configurations.items(), key=lambda named: rank_key(named[1]))
        for rank, (name, seeds) in enumerate(ranked, start=1):
            open_runs = [each.run.path for each in seeds if not each.is_finished]
            reason = why_stopped(seeds, rank, len(ranked), eta, *ranked[0])
            if open_runs and reason:
                verdict.stopped.append(Stopped(name, open_runs, rank, len(ranked), reason))
            else:
                verdict.go_on.extend(open_runs)
    return verdict


def why_stopped(
    seeds: Sequence[Standing], rank: int, of: int, eta: int, leader: str, leading: Sequence[Standing]
) -> str:
    """Why a configuration does not go on; empty where it does."""
    if failure := next((each.failure for each in seeds if each.failure), ""):
        return failure
    soonest = middle([each.seconds_to_target for each in leading], math.inf)
    trained = middle([each.train_s for each in seeds], 0.0)
    if trained > soonest:
        return f"trained {trained:.3g} s, and {leader} had reached the target after {soonest:.3g} s"
    return f"ranked {rank} of {of}" if rank > math.ceil(of / eta) else ""


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
    """A run's standing by the `status`, `reason`, `metrics` and `valid` of its record.

    A time beside other load says nothing of how long a run takes: it is stopped by its rank alone.
    """
    if record["status"] != "ok":
        return Standing(run, failure=f"{record['status']}: {record['reason']}".rstrip(": "))
    metrics = record["metrics"]
    return Standing(
        run,
        metrics.get("seconds_to_target"),
        metrics.get("best_validation_accuracy"),
        metrics.get("final_loss"),
        metrics.get("train_s") if record["valid"] else None,
    )
