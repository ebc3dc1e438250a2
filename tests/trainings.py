"""Training without a framework: a small study, learning curves by formula, and the records they leave."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hwfit.cost_sections import Cost
from hwfit.decision_sections import Decision as Wanted
from hwfit.matrix import Plan
from hwfit.records import COLUMNS, Flag, write_json
from hwfit.report.training import Training
from hwfit.training.answers import training_answers
from hwfit.training.collect import TrainingRow, judge_rung
from hwfit.training.halving import judge, standing_of
from hwfit.training.plan import TRAINING, TrainingPlan, verdict_file
from hwfit.training.records import TrainingRecord, TrainingRun, record_path
from hwfit.training.runs import PlannedRun
from hwfit.training.table import (
    RUN_COLUMNS,
    Configuration,
    make_configuration_table,
    make_configurations,
    make_run_table,
)
from studies import make_plan

SAMPLES = 1437
MATRIX: dict[str, Any] = {
    "models": ["net"],
    "devices": ["cpu"],
    "runtimes": ["torch"],
    "optimizers": ["sgd", "adam"],
    "learning_rates": [0.01, 0.1, 1.0],
    "batch_sizes": [16, 64],
    "target_accuracy": 0.9,
    "max_epochs": 9,
    "halving": {"eta": 3, "rungs": 3},
}
# The learning rate that suits each optimizer best at a batch of 16; that of sgd grows with the batch.
BEST_RATE = {"sgd": 0.1, "momentum": 0.03, "rmsprop": 0.001, "adam": 0.01, "adamw": 0.01}


def make_training(*, matrix: dict[str, Any] | None = None, **changes: Any) -> Plan:
    """The plan of a study that trains a small model; keys of the training matrix by name."""
    more = {"matrix": matrix} if matrix else {}
    return make_plan(training=MATRIX | changes, **more)


def make_run(**changes: Any) -> TrainingRun:
    """A run of that study."""
    run = TrainingRun("net", "cpu", "torch", "sgd", 0.1, 16)
    return replace(run, **changes)


def curve(run: TrainingRun, epochs: int, target: float = 1.0) -> list[dict[str, Any]]:
    """A learning curve by formula: a power of the epochs, slower the further the rate is from its best, with
    noise of the seed; above 20 times the best rate the loss explodes.
    """
    random = np.random.default_rng([run.seed, run.batch_size, int(run.learning_rate * 1e6)])
    scale = run.batch_size / 16 if run.optimizer in ("sgd", "momentum") else math.sqrt(run.batch_size / 16)
    distance = math.log(run.learning_rate / (BEST_RATE.get(run.optimizer, 0.01) * scale))
    pace = math.exp(-0.25 * distance**2) * math.sqrt(16 / run.batch_size) * random.lognormal(0, 0.05)
    seconds_an_epoch = (0.02 + 0.5 / math.sqrt(run.batch_size)) * random.lognormal(0, 0.03)
    lines = []
    for epoch in range(1, epochs + 1):
        error = 0.9 / (1 + 4 * pace * epoch) + 0.02 + random.normal(0, 0.003)
        loss = None if distance > math.log(20) else 2.3 * error
        lines.append(
            {
                "step": epoch * math.ceil(SAMPLES / run.batch_size),
                "epoch": epoch,
                "samples": epoch * SAMPLES,
                "seconds": epoch * seconds_an_epoch,
                "samples_per_s": SAMPLES / seconds_an_epoch,
                "learning_rate": run.learning_rate,
                "loss": loss,
                "validation_loss": loss,
                "validation_accuracy": 1 - error if loss is not None else 0.1,
                "energy_j": None,
                "at": "2026-11-26T12:00:00Z",
            }
        )
        # As a worker ends a run.
        if loss is None or 1 - error >= target:
            break
    return lines


def record(planned: PlannedRun, rung: int, lines: list[dict[str, Any]], **changes: Any) -> TrainingRecord:
    """What a worker would write of a curve's beginning."""
    matrix, last = planned.matrix, lines[-1]
    found = next((line for line in lines if line["validation_accuracy"] >= matrix.target_accuracy), None)
    diverged = last["loss"] is None
    metrics = {
        "epochs": last["epoch"],
        "steps": last["step"],
        "samples_per_s": last["samples_per_s"],
        "step_p50_ms": 1e3 * last["seconds"] / last["step"],
        "train_s": last["seconds"],
        "wall_s": last["seconds"] + 2,
        "epochs_to_target": found["epoch"] if found else None,
        "seconds_to_target": found["seconds"] if found else None,
        "final_loss": last["loss"],
        "validation_accuracy": last["validation_accuracy"],
        "best_validation_accuracy": max(line["validation_accuracy"] for line in lines),
        "peak_memory_mb": 300.0,
    }
    told: dict[str, Any] = {
        "run": planned.run.to_dict(),
        "rung": rung,
        "epochs": matrix.rung_epochs[rung],
        "max_epochs": matrix.max_epochs,
        "target_accuracy": matrix.target_accuracy,
        "status": "diverged" if diverged else "ok",
        "reason": f"the loss is no number after step {last['step']}" if diverged else "",
        "metrics": metrics,
    }
    return TrainingRecord(**told | changes)


def train(directory: Path, plan: Plan, flags: tuple[Flag, ...] = ()) -> dict[str, Any]:
    """Leave what a run of the workflow would: records, logs and verdicts. Returns the plan as plain data."""
    trained, told = TrainingPlan(plan), plan.to_dict()
    for group, members in trained.groups.items():
        going = {planned.run.path for planned in members}
        for rung in range(trained.rungs(group)):
            for planned in members:
                if planned.run.path in going:
                    write_rung(directory, planned, rung, flags)
            if rung < trained.rungs(group) - 1:
                verdict = judge_rung(told, group, rung, directory)
                write_json(directory / verdict_file(group, rung), verdict)
                going = set(verdict["go_on"])
    return told


def simulate(plan: Plan) -> tuple[list[TrainingRow], float]:
    """The rows that the workflow would come to, without files, and the seconds that all runs trained."""
    trained, told = TrainingPlan(plan), {planned.run: planned.to_dict() for planned in plan.training}
    rows = []
    for group, members in trained.groups.items():
        going, records = {planned.run.path for planned in members}, {}
        for rung in range(trained.rungs(group)):
            for planned in (each for each in members if each.run.path in going):
                matrix = planned.matrix
                lines = curve(planned.run, matrix.rung_epochs[rung], matrix.target_accuracy)
                records[planned.run] = record(planned, rung, lines)
            known = going | {r.path for r, each in records.items() if each.metrics["seconds_to_target"]}
            standings = [standing_of(r, records[r].to_dict()) for r in records if r.path in known]
            going = set(judge(standings, members[0].matrix.halving.eta).go_on)
        rows += [TrainingRow(run, told[run], each.status, each.reason, each) for run, each in records.items()]
    return rows, sum(row.metrics["train_s"] or 0.0 for row in rows)


def write_rung(directory: Path, planned: PlannedRun, rung: int, flags: tuple[Flag, ...] = ()) -> None:
    """The record of one rung, and the log until then."""
    place = directory / TRAINING / planned.run.path
    lines = curve(planned.run, planned.matrix.rung_epochs[rung], planned.matrix.target_accuracy)
    write_json(record_path(place, rung), record(planned, rung, lines, flags=list(flags)).to_dict())
    (place / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_configuration(
    *seconds: float | None, status: str = "ok", valid: bool = True, accuracy: float = 0.95, **changes: Any
) -> Configuration:
    """A configuration with a seed for each figure, None where the target was not reached."""
    run = make_run(**{name: changes[name] for name in changes if name in TrainingRun.__dataclass_fields__})
    lines = []
    for seed, figure in enumerate(seconds):
        line: dict[str, Any] = dict.fromkeys(RUN_COLUMNS) | run.to_dict() | {"seed": seed, "status": status}
        line |= {"reason": "" if status == "ok" else "it failed", "valid": valid, "target_accuracy": 0.9}
        line |= {"stopped": "", "flags": "" if valid else "foreign_load", "max_epochs": 9}
        if status == "ok":
            line |= {"reached": figure is not None, "seconds_to_target": figure}
            line |= {"epochs_to_target": figure and math.ceil(figure)}
            line |= {"best_validation_accuracy": accuracy if figure is not None else min(accuracy, 0.85)}
        lines.append(line)
    return Configuration(lines)


def make_report_inputs(**changes: Any) -> tuple[Training, dict[str, Any]]:
    """What a report shows of a simulated study, and what its recommendation says of training."""
    plan = make_training(**changes)
    rows, _ = simulate(plan)
    configurations = make_configurations(make_run_table(rows, plan.to_dict(), {}, {}, Cost()))
    answers = training_answers(configurations, empty_combinations(), Wanted())
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        lines = curve(row.run, int(row.metrics["epochs"] or 0), row.planned["target_accuracy"])
        curves[row.run.configuration] = [(each["seconds"], each["validation_accuracy"]) for each in lines]
    return Training(make_configuration_table(configurations), curves), answers


def empty_combinations() -> pd.DataFrame:
    """combinations.csv of a study that only trains."""
    return pd.DataFrame(columns=list(COLUMNS))
