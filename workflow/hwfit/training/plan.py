"""What Snakemake asks about training: the files of each run and rung, and the jobs that make them.

Without a search a run has one rung. With successive halving a job after each rung names the runs that go on,
so that what the next rung consists of is known only then: a checkpoint of Snakemake's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwfit.device_sections import Device
from hwfit.layout import RESULTS, data_files, environment_file, probe_file
from hwfit.matrix import Plan
from hwfit.records import fingerprint, read_json
from hwfit.training.records import TrainingRun, record_path
from hwfit.training.runs import PlannedRun

TRAINING = f"{RESULTS}/training"
VERDICTS = f"{RESULTS}/halving"
# Snakemake's wildcards for what a target's rule makes: the configuration of a run below its model, its seed.
PATTERN = TRAINING + "/{device}/{runtime}/{{model}}/{{optimizer}}/{{settings}}/seed{{seed}}/rung{{rung}}.json"
Group = tuple[str, str, str]


@dataclass(frozen=True)
class TrainingPlan:
    """The runs of a plan that are to be made, by their path."""

    plan: Plan

    @cached_property
    def runs(self) -> dict[str, PlannedRun]:
        """The runs that are to be made."""
        return {planned.run.path: planned for planned in self.plan.training if not planned.status}

    @cached_property
    def groups(self) -> dict[Group, list[PlannedRun]]:
        """The runs that are compared with each other: of a device, runtime and model."""
        groups: dict[Group, list[PlannedRun]] = {}
        for planned in self.runs.values():
            groups.setdefault(group_of(planned.run), []).append(planned)
        return groups

    def rungs(self, group: Group) -> int:
        """How many rungs the runs of a group have; all of a model have the same."""
        return len(self.groups[group][0].matrix.rung_epochs)

    def records(self, checkpoints: Any) -> list[str]:
        """Every record of training, once the rungs are judged on which it depends."""
        return [path for group in self.groups for path in self.records_of(group, checkpoints)]

    def records_of(self, group: Group, checkpoints: Any) -> list[str]:
        """The records of a group's every rung, with the verdicts between them."""
        last = self.rungs(group) - 1
        found = [path for rung in range(last) for path in self.rung_records(group, rung, checkpoints)]
        return [*found, *self.rung_records(group, last, checkpoints)]

    def rung_records(self, group: Group, rung: int, checkpoints: Any) -> list[str]:
        """The records of a group's rung, and the verdict on the one before.

        Raises Snakemake's IncompleteCheckpointException where that is not there yet.
        """
        if rung == 0:
            return [record_file(planned.run, 0) for planned in self.groups[group]]
        device, runtime, model = group
        judged = checkpoints.judge_rung.get(device=device, runtime=runtime, model=model, rung=rung - 1)
        verdict = str(judged.output[0])
        return [verdict, *(record_file(self.runs[path].run, rung) for path in read_json(verdict)["go_on"])]

    def judged_records(self, checkpoints: Any) -> Callable[[Any], list[str]]:
        """What a verdict on a rung rests on."""
        return lambda wildcards: self.rung_records(
            (wildcards.device, wildcards.runtime, wildcards.model), int(wildcards.rung), checkpoints
        )

    def run_of(self, device: str, runtime: str, wildcards: Any) -> PlannedRun:
        """The run that the wildcards of a target's rule name."""
        names = (wildcards.model, wildcards.optimizer, wildcards.settings)
        return self.runs["/".join((device, runtime, *names, f"seed{wildcards.seed}"))]

    def data_of(self, wildcards: Any) -> list[str]:
        """The data that a run is trained on."""
        return data_files(wildcards.model, self.plan.study.models[wildcards.model].data)

    def before(self, device: str, runtime: str) -> Callable[[Any], list[str]]:
        """The record of the rung before, from whose checkpoint a run goes on."""

        def record(wildcards: Any) -> list[str]:
            rung, planned = int(wildcards.rung), self.run_of(device, runtime, wildcards)
            return [record_file(planned.run, rung - 1)] if rung else []

        return record

    def job_of(self, device: str, runtime: str) -> Callable[[Any], str]:
        """The job of a run in a rung, as JSON."""
        return lambda wildcards: json.dumps(
            self.job(self.run_of(device, runtime, wildcards), int(wildcards.rung)), sort_keys=True
        )

    def job(self, planned: PlannedRun, rung: int) -> dict[str, Any]:
        """What a worker needs to bring a run to the end of a rung."""
        run, matrix = planned.run, planned.matrix
        model, device = self.plan.study.models[run.model], self.plan.study.devices[run.device]
        assert isinstance(device, Device), "a composite's runs are not made"
        given = matrix.hyperparameters.get(run.optimizer)
        return {
            "run": run.to_dict(),
            "rung": rung,
            "epochs": matrix.rung_epochs[rung],
            "max_epochs": matrix.max_epochs,
            "target_accuracy": matrix.target_accuracy,
            "hyperparameters": given.given() if given else {},
            "task": model.task,
            "source": model.sources[run.runtime].model_dump(mode="json", exclude_none=True),
            "data": next(iter(data_files(run.model, model.data)), ""),
            "directory": run_directory(run),
            "environment_file": environment_file(self.plan.environment(run.device, run.runtime)),
            "probe_file": probe_file(run.device),
            "accelerator": device.accelerator,
            "index": device.index,
            "threads": device.threads or (len(device.cores) if device.cores else None),
            "cores": device.cores or [],
            "checkpoint_seconds": matrix.checkpoint_seconds,
            "timeout_seconds": matrix.timeout_seconds,
            "memory_limit_mb": device.memory_limit_mb,
            "energy": self.plan.energy_of(run.device),
            **self.plan.class_of(run.device),
            "parallel": {"processes": matrix.processes} if matrix.processes > 1 else None,
        }

    def priority_of(self, device: str, runtime: str) -> Callable[[Any], float]:
        """Runs in an order that is random and the same each time: what drifts falls on none in particular."""
        return lambda wildcards: (
            -int(fingerprint("order", self.run_of(device, runtime, wildcards).run.path)[:8], 16) / (16**8)
        )


def group_of(run: TrainingRun) -> Group:
    """Whom a run is compared with."""
    return run.device, run.runtime, run.model


def run_directory(run: TrainingRun) -> str:
    """Where a run's records, log and checkpoints lie."""
    return f"{TRAINING}/{run.path}"


def record_file(run: TrainingRun, rung: int) -> str:
    """Where the record of a run's rung lies."""
    return str(record_path(run_directory(run), rung))


def record_pattern(device: str, runtime: str) -> str:
    """Where the records of a target lie, with Snakemake's wildcards for the rest."""
    return PATTERN.format(device=device, runtime=runtime)


def verdict_file(group: Group, rung: int) -> str:
    """What was decided after a rung of a group."""
    return str(Path(VERDICTS, *group, f"rung{rung}.json"))
