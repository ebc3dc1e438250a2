"""Guided search finds the exhaustive one's winner at a part of its time, on simulated and recorded sweeps."""

from __future__ import annotations

from benchmarks.guided import GOAL_COST, GOAL_SAME, compare
from benchmarks.sweeps import recorded, simulated


def test_it_names_the_same_winner_or_one_of_its_tie_at_a_quarter_of_the_time():
    found = compare(simulated(seed) for seed in range(6))
    assert found["same_or_tied"] >= GOAL_SAME
    assert found["cost_of_all"] <= GOAL_COST


def test_on_recorded_sweeps_too():
    found = compare(recorded(repeats=1))
    assert found["same_or_tied"] == 1.0
