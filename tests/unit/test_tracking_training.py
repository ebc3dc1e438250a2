"""Runs of training in MLflow: below the sweep, curves as steps, and live ones that give way at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwfit.cost_sections import Cost
from hwfit.tracking import log_training
from hwfit.tracking.store import Store
from hwfit.tracking.training import TrainingLog, Watch
from hwfit.training.collect import read_training
from hwfit.training.plan import TRAINING
from hwfit.training.records import run_of
from hwfit.training.table import make_run_table
from tracked import EXPERIMENT, Sweep
from trainings import make_training, train


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


@pytest.fixture
def plan(tmp_path):
    return train(tmp_path, make_training(optimizers=["adam"], learning_rates=[0.01, 1.0], batch_sizes=[16]))


def log(sweep: Sweep, plan) -> dict[str, int]:
    runs = make_run_table(read_training(plan, sweep.directory), plan, {}, {}, Cost())
    place = {"uri": sweep.uri, "experiment": EXPERIMENT, "sweep": "default", "project": "mine"}
    return log_training(**place, runs=runs, directory=sweep.directory)


def trained(sweep: Sweep) -> dict[str, object]:
    return {r.info.run_name: r for r in sweep.runs() if r.data.tags["hwfit.kind"] == "training"}


def curve(sweep: Sweep, run, metric: str) -> list[tuple[int, float]]:
    found = sweep.client().get_metric_history(run.info.run_id, metric)
    return sorted((each.step, each.value) for each in found)


def lines_of(sweep: Sweep, run_name: str) -> list[dict]:
    path = sweep.directory / TRAINING / run_name / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_has_its_curve_as_steps_below_the_sweep(sweep, plan):
    sweep.log()
    assert log(sweep, plan)["created"] == 2
    good = next(run for name, run in trained(sweep).items() if "lr0.01" in name)
    assert good.data.tags["mlflow.parentRunId"] == sweep.parent().info.run_id
    wanted = [(line["epoch"], line["validation_accuracy"]) for line in lines_of(sweep, good.info.run_name)]
    assert curve(sweep, good, "validation_accuracy") == wanted
    assert good.data.params["learning_rate"] == "0.01"
    assert good.data.metrics["seconds_to_target"] > 0


def test_a_run_that_diverged_failed_and_says_why(sweep, plan):
    log(sweep, plan)
    bad = next(run for name, run in trained(sweep).items() if "lr1" in name)
    assert bad.info.status == "FAILED"
    assert bad.data.tags["status"] == "diverged" and "no number" in bad.data.tags["reason"]
    assert "seconds_to_target" not in bad.data.metrics


def test_a_second_log_adds_nothing_and_a_log_that_grew_replaces_its_run(sweep, plan):
    log(sweep, plan)
    assert log(sweep, plan) == {"created": 0, "replaced": 0, "unchanged": 2, "left": 0}
    path = next((sweep.directory / TRAINING).glob("**/lr0.01*/**/log.jsonl"))
    path.write_text(
        path.read_text() + path.read_text().splitlines()[-1].replace('"epoch": ', '"epoch": 1') + "\n"
    )
    assert log(sweep, plan)["replaced"] == 1


def test_training_and_combinations_leave_each_other_alone(sweep, plan):
    log(sweep, plan)
    sweep.log()
    assert sweep.log()["unchanged"] == len(sweep.table)
    assert log(sweep, plan)["unchanged"] == 2


def watching(sweep: Sweep, plan) -> Watch:
    runs = {run_of(planned).path: run_of(planned) for planned in plan["training"]}
    return Watch(TrainingLog(Store(sweep.uri, EXPERIMENT), "default", "mine"), sweep.directory, runs)


def test_a_watched_run_grows_with_its_log_and_is_told_of(sweep, plan):
    path = next((sweep.directory / TRAINING).glob("**/lr0.01*/**/log.jsonl"))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0])
    watch = watching(sweep, plan)
    assert any("epoch 1" in said for said in watch.look())
    assert watch.look() == []
    # A line that is still being written is no line yet.
    path.write_text("".join(lines[:2]) + lines[2][:20])
    assert [said.partition(": ")[2].partition(",")[0] for said in watch.look()] == ["epoch 2"]
    live = next(run for name, run in trained(sweep).items() if "lr0.01" in name)
    assert live.info.status == "RUNNING"
    assert [step for step, _ in curve(sweep, live, "validation_accuracy")] == [1, 2]


def test_at_the_end_the_tracking_job_takes_the_place_of_what_was_watched(sweep, plan):
    watch = watching(sweep, plan)
    watch.look()
    assert log(sweep, plan)["replaced"] == 2
    assert {run.info.status for run in trained(sweep).values()} == {"FINISHED", "FAILED"}
    assert watching(sweep, plan).look() != []
    assert {run.info.status for run in trained(sweep).values()} == {"FINISHED", "FAILED"}
