"""Learning rates, and what intervals of training say of its speed."""

from __future__ import annotations

import numpy as np
import pytest

from hwfit.worker.training.progress import MOST_INTERVALS, Progress, speed, student_quantile
from hwfit.worker.training.schedule import learning_rates


def test_a_cosine_falls_from_the_learning_rate_to_nothing():
    rates = learning_rates("cosine", 0.4, 0, 100, 100)
    assert rates[0] == 0.4
    assert rates[50] == pytest.approx(0.2)
    assert 0 < rates[99] < 0.001
    assert (np.diff(rates) < 0).all()


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_warm_up_rises_to_the_learning_rate(schedule):
    rates = learning_rates(schedule, 1.0, 0, 100, 100, warm_up_steps=10)
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)


def test_the_rates_of_a_part_are_those_of_the_whole():
    whole = learning_rates("cosine", 0.1, 0, 60, 60, 7.5)
    assert (
        np.concatenate([learning_rates("cosine", 0.1, n, n + 20, 60, 7.5) for n in (0, 20, 40)]) == whole
    ).all()


def test_the_interval_of_the_speed_holds_the_true_one_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        steps = generator.integers(20, 60, 40)
        seconds = steps * 0.01 * np.exp(0.1 * generator.standard_normal(40) - 0.005)
        found = speed(list(zip(steps.tolist(), seconds.tolist(), strict=True)), 32)
        held += found["samples_per_s_ci_low"] <= 3200 <= found["samples_per_s_ci_high"]
    assert 0.91 <= held / 400 <= 0.99


def test_few_intervals_have_a_speed_and_no_interval():
    found = speed([[10, 1.0], [30, 3.0]], 4)
    assert found["samples_per_s"] == pytest.approx(40)
    assert found["step_p50_ms"] == pytest.approx(100)
    assert found["samples_per_s_ci_low"] is None
    assert speed([], 4) == {}


def test_many_intervals_are_joined_without_loss():
    progress = Progress()
    for number in range(3 * MOST_INTERVALS):
        progress.add_interval(2, 0.5)
        assert sum(steps for steps, _ in progress.intervals) == 2 * (number + 1)
    assert len(progress.intervals) <= MOST_INTERVALS


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (1.3, 7.5005), (2, 4.3027), (4, 2.7764), (30, 2.0423), (1e6, 1.96)]
)
def test_students_quantile(freedom, quantile):
    assert student_quantile(freedom) == pytest.approx(quantile, rel=0.0005)
