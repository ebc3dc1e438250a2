"""The benchmarks' arithmetic: processes that are alike are seldom told apart, others are."""

import numpy as np
import pytest
from benchmarks import __main__ as bench
from benchmarks import halving, scale, tracking
from benchmarks.deep_compression import lost_points
from benchmarks.project import CELL, write_project
from mlflow import MlflowClient

from trainings import curve, make_run, make_training

PROCESSES = 36


def test_processes_that_are_alike_are_seldom_told_apart():
    generator = np.random.default_rng(3)
    rates = []
    for _ in range(5):
        medians = 10 * np.exp(0.03 * generator.standard_normal(PROCESSES))
        rates.append(bench.told_apart(list(medians), [0.005] * PROCESSES) / bench.PAIRS)
    assert np.mean(rates) <= bench.AA_RATE


def test_a_rule_that_seldom_calls_a_tie_is_found_out(monkeypatch):
    monkeypatch.setattr(bench, "TIE_SHARE", 0.3)
    medians = 10 * np.exp(0.03 * np.random.default_rng(3).standard_normal(PROCESSES))
    different = bench.told_apart(list(medians), [0.005] * PROCESSES)
    assert bench.rate_lower_bound(different) > bench.AA_RATE


def test_the_bound_fails_a_rate_that_is_surely_too_high_and_forgives_chance():
    assert bench.rate_lower_bound(0) == 0.0
    assert bench.rate_lower_bound(10) < bench.AA_RATE
    assert bench.rate_lower_bound(30) > bench.AA_RATE


def test_the_project_that_is_measured_is_a_valid_study(tmp_path):
    assert CELL in write_project(tmp_path).cells


def test_both_sides_of_the_tracking_benchmark_log_every_run(tmp_path):
    found = tracking.rates(tmp_path, runs=6, block=3)
    assert found["ratio"] > 0
    assert len(found["ratios"]) == 2
    for name in tracking.SIDES:
        client = MlflowClient(f"sqlite:///{tmp_path}/{name}/mlflow.db")
        experiment = client.get_experiment_by_name("bench").experiment_id
        children = [r for r in client.search_runs([experiment]) if "mlflow.parentRunId" in r.data.tags]
        # Two are logged before the clock starts.
        assert len(children) == 2 + 6
        assert all(len(run.data.metrics) >= 30 for run in children)


def test_what_takes_time_in_proportion_to_its_rows_grows_with_the_exponent_1():
    def steps(**seconds):
        return {name: {"seconds": 1.0, "cpu_s": value, "peak_mb": 100.0} for name, value in seconds.items()}

    found = scale.growth(
        {
            "1000": steps(decide=1.0, report=1.0),
            "3000": steps(decide=2.0, report=2.0),
            "9000": steps(decide=6.0, report=18.0),
        }
    )
    assert found == {"decide": pytest.approx(1.0), "report": pytest.approx(2.0)}


def test_a_loss_of_accuracy_is_bounded_over_images_not_over_pairs():
    before, after = np.ones((1, 1000), bool), np.ones((1, 1000), bool)
    after[0, :10] = False
    one = lost_points(before, after)
    assert one["lost"] == pytest.approx(1) and 1.4 < one["upper_95"] < 1.6
    # The same answers three times over say no more than once.
    assert lost_points(before.repeat(3, 0), after.repeat(3, 0)) == pytest.approx(one)


def grid(**changes):
    """The curves of a whole grid, by formula, and its matrix."""
    asked = {"learning_rates": [0.003, 0.01, 0.03, 0.1, 0.3], "seeds": [0, 1, 2], "target_accuracy": 0.93}
    plan = make_training(**asked | {"max_epochs": 27, "search": "halving"} | changes)
    matrix = plan.training[0].matrix
    return {p.run: curve(p.run, 27, matrix.target_accuracy) for p in plan.training}, matrix


def test_a_replay_of_halving_is_cheaper_than_the_grid_and_finds_what_is_in_it():
    curves, matrix = grid()
    found = halving.compare(curves, matrix)
    assert all(each["cost"] < 1 for each in found["seeds"])
    assert {each["found"] for each in found["seeds"]} <= {run.configuration for run in curves}


def test_a_replay_in_which_everything_goes_on_is_the_grid_but_for_what_came_too_late():
    curves, matrix = grid(halving={"eta": 100, "rungs": 2}, optimizers=["sgd"], learning_rates=[0.1])
    found = halving.compare(curves, matrix)
    assert [each["is_winner"] for each in found["seeds"]] == [True, True, True]


def test_a_run_that_ends_without_the_target_before_its_epochs_has_failed():
    run = make_run()
    assert halving.standing_at(run, [], 3, 0.9).failure
    lines = [{"epoch": 1, "validation_accuracy": 0.5, "seconds": 1.0, "loss": 1.0}]
    assert not halving.standing_at(run, lines, 1, 0.9).failure
    assert halving.standing_at(run, lines, 2, 0.9).failure == "diverged"
