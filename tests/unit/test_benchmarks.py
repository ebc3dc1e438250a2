"""The benchmarks' arithmetic: processes that are alike are seldom told apart, others are."""

import numpy as np
import pytest
from benchmarks import __main__ as bench
from benchmarks import tracking
from benchmarks.deep_compression import lost_points
from mlflow import MlflowClient

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


def test_a_loss_of_accuracy_is_bounded_over_images_not_over_pairs():
    before, after = np.ones((1, 1000), bool), np.ones((1, 1000), bool)
    after[0, :10] = False
    one = lost_points(before, after)
    assert one["lost"] == pytest.approx(1) and 1.4 < one["upper_95"] < 1.6
    # The same answers three times over say no more than once.
    assert lost_points(before.repeat(3, 0), after.repeat(3, 0)) == pytest.approx(one)
