"""Runs of training: each once, with its reason where it will not be made, and the jobs that make them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from hwfit.config import Study
from hwfit.matrix import Plan
from hwfit.training.plan import TrainingPlan, record_pattern
from studies import make_plan
from trainings import MATRIX, make_training

COMPOSITE = {"both": {"members": [{"device": "cpu", "runtime": "torch"}, {"device": "gpu0"}]}}


def reasons(plan: Plan) -> dict[tuple[str, str], str]:
    return {(p.run.runtime, p.run.optimizer): f"{p.status}: {p.reason}" for p in plan.training if p.status}


def wildcards(run, rung=0):
    _, _, model, optimizer, settings, seed = run.path.split("/")
    return SimpleNamespace(
        model=model, optimizer=optimizer, settings=settings, seed=seed.removeprefix("seed"), rung=rung
    )


def test_the_runs_are_the_product_of_the_lists():
    runs = [planned.run for planned in make_training(seeds=[0, 1]).training]
    assert len(runs) == len(set(runs)) == 2 * 3 * 2 * 2


def test_runtimes_that_are_not_named_are_those_of_the_device_that_train():
    plan = make_training(runtimes=None)
    assert {planned.run.runtime for planned in plan.training} == {"torch", "tensorflow"}


def test_an_optimizer_that_a_runtime_lacks_is_unsupported_never_another_one():
    plan = make_training(runtimes=None, optimizers=["sgd", "lion"])
    assert reasons(plan) == {
        ("tensorflow", "lion"): "unsupported: lion is in torch; tensorflow has none of its own"
    }
    assert ("cpu", "tensorflow") in plan.training_targets


def test_a_composite_is_unsupported_and_builds_nothing():
    plan = make_plan_on(["both"], devices=COMPOSITE)
    assert {planned.status for planned in plan.training} == {"unsupported"}
    assert plan.environments == {}


def make_plan_on(names, **study):
    training = MATRIX | {"devices": names, "runtimes": None}
    return make_plan(training=training, matrix=[], **study)


def test_what_is_excluded_is_a_row_that_was_skipped():
    plan = make_training(exclude=[{"optimizer": "sgd", "learning_rate": 1.0}])
    skipped = [planned.run for planned in plan.training if planned.status == "skipped"]
    assert {(run.optimizer, run.learning_rate) for run in skipped} == {("sgd", 1.0)}


def test_excluded_from_one_matrix_and_asked_for_in_another_is_asked_for():
    both = [MATRIX | {"exclude": [{"optimizer": "sgd"}]}, MATRIX | {"optimizers": ["sgd"]}]
    study = make_training().study.model_dump(mode="json", by_alias=True)
    study["config"]["training"] = both
    assert not any(planned.status for planned in Plan(Study.model_validate(study)).training)


def test_training_alone_brings_its_devices_and_environments():
    plan = make_plan_on(["gpu0"])
    assert plan.combinations == []
    assert set(plan.hardware) == {"gpu0"}
    assert plan.environments == {"torch-cuda": ["gpu0"]}
    assert plan.runtimes_of("gpu0") == ["torch"]


def test_a_study_with_training_reads_back_from_the_plan_file():
    plan = make_training(search="halving")
    told = json.loads(json.dumps(plan.to_dict()))
    again = Plan(Study.model_validate(told["study"]))
    assert [p.run for p in again.training] == [p.run for p in plan.training]


def test_rungs_grow_to_the_end_of_the_schedule():
    (first, *_) = make_training(search="halving", max_epochs=27).training
    assert first.matrix.rung_epochs == (2, 7, 27)
    halving = {"rungs": 3, "first_epochs": 5}
    (first, *_) = make_training(search="halving", max_epochs=40, halving=halving).training
    assert first.matrix.rung_epochs == (5, 14, 40)
    (first, *_) = make_training(max_epochs=27).training
    assert first.matrix.rung_epochs == (27,)


@pytest.mark.parametrize(
    ("max_epochs", "epochs"),
    [(2, (1, 2)), (9, (1, 2, 4, 9)), (27, (2, 5, 11, 27)), (160, (12, 28, 67, 160))],
)
def test_without_a_number_of_rungs_there_are_as_many_as_fit_and_four_at_most(max_epochs, epochs):
    (first, *_) = make_training(search="halving", max_epochs=max_epochs, halving={}).training
    assert first.matrix.rung_epochs == epochs


def test_a_job_says_how_far_a_rung_goes_and_how_long_the_schedule_is():
    plan = make_training(search="halving", hyperparameters={"adam": {"beta1": 0.8}})
    training = TrainingPlan(plan)
    planned = next(p for p in plan.training if p.run.optimizer == "adam")
    job = json.loads(training.job_of("cpu", "torch")(wildcards(planned.run, 1)))
    assert (job["rung"], job["epochs"], job["max_epochs"]) == (1, 3, 9)
    assert job["hyperparameters"] == {"beta1": 0.8}
    assert job["run"] == planned.run.to_dict()
    assert job["data"] == "results/data/digits.npz"
    assert job["source"] == {"zoo": "lenet-5"}


def test_processes_that_share_a_batch_are_part_of_the_job():
    plan = make_training(processes=2)
    assert TrainingPlan(plan).job(plan.training[0], 0)["parallel"] == {"processes": 2}


def test_a_rung_goes_on_from_the_record_of_the_one_before():
    plan = make_training(search="halving")
    before, run = TrainingPlan(plan).before("cpu", "torch"), plan.training[0].run
    assert before(wildcards(run, 0)) == []
    assert before(wildcards(run, 2)) == [f"results/training/{run.path}/rung1.json"]


def test_the_records_of_a_rung_are_those_of_the_runs_that_go_on(tmp_path):
    plan = make_training(search="halving")
    survivor = plan.training[0].run
    verdict = tmp_path / "rung0.json"
    verdict.write_text(json.dumps({"go_on": [survivor.path], "stopped": []}))
    asked = []

    def get(**wildcards):
        asked.append(wildcards)
        return SimpleNamespace(output=[str(verdict)])

    checkpoints = SimpleNamespace(judge_rung=SimpleNamespace(get=get))
    group = ("cpu", "torch", "net")
    found = TrainingPlan(plan).rung_records(group, 1, checkpoints)
    assert asked == [{"device": "cpu", "runtime": "torch", "model": "net", "rung": 0}]
    assert found == [str(verdict), f"results/training/{survivor.path}/rung1.json"]
    assert len(TrainingPlan(plan).rung_records(group, 0, checkpoints)) == 12


def test_a_pattern_is_where_the_records_of_its_target_lie():
    run = make_training().training[0].run
    pattern = record_pattern("cpu", "torch")
    assert pattern.format(**vars(wildcards(run))) == f"results/training/{run.path}/rung0.json"
