"""Successive halving: who goes on, and whether the winner of the full grid is among them."""

from __future__ import annotations

import numpy as np
import pytest

from hwfit.cost_sections import Cost
from hwfit.training.decision import decide_training
from hwfit.training.halving import Standing, judge, standing_of
from hwfit.training.table import make_configurations, make_run_table
from trainings import make_run, make_training, simulate


def standing(rate: float, *, seconds=None, accuracy=0.5, failure="", trained=1.0, **run) -> Standing:
    return Standing(make_run(learning_rate=rate, **run), seconds, accuracy, 1.0, seconds or trained, failure)


def going(*standings: Standing, eta: int = 3) -> list[float]:
    verdict = judge(standings, eta)
    return sorted({s.run.learning_rate for s in standings if s.run.path in verdict.go_on})


def test_the_best_part_by_accuracy_goes_on_rounded_up():
    found = [standing(rate, accuracy=accuracy) for rate, accuracy in ((1, 0.2), (2, 0.9), (3, 0.5), (4, 0.7))]
    assert going(*found) == [2, 4]


def test_one_that_has_reached_the_target_is_finished_and_does_not_go_on():
    reached = standing(1, seconds=9.0, accuracy=0.91)
    verdict = judge([reached, standing(2, accuracy=0.95)], 1)
    assert verdict.finished == [reached.run.path]
    assert verdict.go_on == [make_run(learning_rate=2).path]


def test_one_that_has_reached_the_target_is_ahead_of_one_that_is_more_accurate():
    verdict = judge([standing(1, seconds=9.0, accuracy=0.91), standing(2, accuracy=0.95)], 2)
    assert [(each.rank, each.reason) for each in verdict.stopped] == [(2, "ranked 2 of 2")]


def test_one_that_can_no_longer_be_the_soonest_is_stopped_whatever_its_rank():
    verdict = judge([standing(1, seconds=2.0), standing(2, trained=3.0), standing(3, trained=1.0)], 1)
    assert verdict.go_on == [make_run(learning_rate=3).path]
    (stopped,) = verdict.stopped
    assert "trained 3 s, and" in stopped.reason and "after 2 s" in stopped.reason


@pytest.mark.parametrize(("valid", "stopped"), [(True, 1), (False, 0)])
def test_a_time_that_was_disturbed_is_no_ground_to_stop(valid, stopped):
    record = {"status": "ok", "reason": "", "valid": valid, "metrics": {"train_s": 3.0}}
    verdict = judge([standing(1, seconds=2.0), standing_of(make_run(learning_rate=2), record)], 1)
    assert len(verdict.stopped) == stopped


def test_of_a_configuration_only_the_seeds_go_on_that_have_not_reached_the_target():
    seeds = [standing(1, seconds=1.0), standing(1, seed=1), standing(1, seed=2)]
    verdict = judge(seeds, 3)
    assert verdict.go_on == [make_run(learning_rate=1, seed=seed).path for seed in (1, 2)]
    assert verdict.finished == [seeds[0].run.path]


def test_batch_sizes_do_not_compete_with_each_other():
    small = [standing(rate, accuracy=0.9, batch_size=16) for rate in (1, 2)]
    large = [standing(rate, accuracy=0.1 * rate, batch_size=256) for rate in (3, 4)]
    assert going(*small, *large, eta=2) == [1, 4]


def test_what_diverged_never_goes_on_even_where_all_others_fell_behind():
    verdict = judge([standing(1, failure="diverged: no number"), standing(2, accuracy=0.1)], 2)
    assert verdict.go_on == [make_run(learning_rate=2).path]
    (stopped,) = verdict.stopped
    assert (stopped.reason, stopped.of) == ("diverged: no number", 2)


def test_where_everything_failed_nothing_goes_on():
    assert judge([standing(1, failure="oom"), standing(2, failure="crashed")], 3).go_on == []


def test_the_seeds_of_a_configuration_stand_and_fall_together():
    seeds = [standing(1, accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.9, 0.2, 0.8))]
    other = [standing(2, accuracy=0.7, seed=seed) for seed in range(3)]
    assert len(judge([*seeds, *other], 2).go_on) == 3
    assert going(*seeds, *other, eta=2) == [1]


def test_a_stopped_configuration_is_told_its_rank():
    verdict = judge([standing(rate, accuracy=1 - rate / 10) for rate in (1, 2, 3)], 3)
    assert [(s.rank, s.of, s.reason) for s in verdict.stopped] == [
        (2, 3, "ranked 2 of 3"),
        (3, 3, "ranked 3 of 3"),
    ]


def decided(**study):
    """The decision of a simulated study, and the seconds that its runs trained."""
    plan = make_training(**study)
    rows, seconds = simulate(plan)
    table = make_run_table(rows, plan.to_dict(), {}, {}, Cost())
    (decision,) = decide_training(make_configurations(table), "seconds")
    return decision, seconds


def test_halving_finds_the_grids_winner_or_one_of_its_tie_at_two_fifths_of_the_cost_in_nine_of_ten():
    study = {
        "optimizers": ["sgd", "momentum", "adam"],
        "learning_rates": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
        "batch_sizes": [16, 64, 256],
        "max_epochs": 27,
        "target_accuracy": 0.93,
        "halving": {},
    }
    hits, costs = 0, []
    for trial in range(10):
        seeds = [3 * trial, 3 * trial + 1, 3 * trial + 2]
        whole, whole_s = decided(seeds=seeds, **study)
        found, found_s = decided(seeds=seeds, search="halving", **study)
        best = {each.name for each in (whole.chosen, *whole.tied)}
        hits += found.chosen is not None and found.chosen.name in best
        costs.append(found_s / whole_s)
    assert hits >= 9
    assert np.median(costs) <= 0.4
