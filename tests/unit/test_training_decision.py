"""The recommended way of training: by what counts, how surely, and what is said where nothing is known."""

from __future__ import annotations

import pandas as pd
import pytest

from hwfit.training.and_inference import decide_whole
from hwfit.training.decision import decide_training
from hwfit.training.scaling import scaling_of, sentence
from hwfit.training.table import Configuration
from trainings import make_configuration


def decide(*configurations, objective="seconds"):
    (decision,) = decide_training(configurations, objective)
    return decision


def test_the_soonest_to_the_target_is_chosen_with_its_margin():
    fast = make_configuration(1.0, 1.1, 0.9, learning_rate=0.1)
    slow = make_configuration(3.0, 3.1, 2.9, learning_rate=0.2)
    decision = decide(slow, fast)
    assert decision.chosen is fast
    assert (fast.verdict, slow.verdict) == ("chosen", "dominated")
    assert decision.margin == pytest.approx(2.0)
    assert decision.margin_low < 2.0 < decision.margin_high
    assert decision.probability_best > 0.99
    assert "200% slower" in decision.summary


def test_what_chance_could_turn_round_is_a_tie():
    first = make_configuration(1.0, 1.4, 0.8, learning_rate=0.1)
    second = make_configuration(1.05, 1.3, 0.9, learning_rate=0.2)
    decision = decide(first, second)
    assert decision.tied == [second]
    assert second.verdict == "tied"
    assert "cannot be told from" in decision.summary


def test_with_one_seed_each_nothing_is_claimed_of_chance():
    decision = decide(make_configuration(1.0, learning_rate=0.1), make_configuration(1.01, learning_rate=0.2))
    assert decision.chosen.learning_rate == 0.1
    assert decision.probability_best is None and decision.tied == []
    assert decision.margin_low is None
    assert "one seed" in decision.summary.lower()


def test_the_spread_of_those_with_several_seeds_speaks_for_one_with_a_single_seed():
    lucky = make_configuration(1.0, learning_rate=0.1)
    others = make_configuration(1.1, 1.6, 0.8, learning_rate=0.2)
    assert decide(lucky, others).tied == [others]


def test_reaching_the_target_with_every_seed_is_preferred_to_reaching_it_by_luck():
    lucky = make_configuration(0.5, 0.5, None, learning_rate=0.1)
    steady = make_configuration(2.0, 2.1, 2.2, learning_rate=0.2)
    decision = decide(lucky, steady)
    assert decision.chosen is steady
    assert lucky.verdict == "unreliable"
    assert lucky.reason == "reached the target in 2 of 3 seeds"


def test_divergence_is_shown_as_divergence():
    diverged = make_configuration(None, None, status="diverged", learning_rate=1.0)
    decision = decide(make_configuration(1.0, 1.1), diverged)
    assert diverged.verdict == "diverged"
    assert decision.tied == [] and decision.runner_up is None


def test_where_nothing_reaches_the_target_the_nearest_is_named():
    near = make_configuration(None, None, accuracy=0.84, learning_rate=0.1)
    far = make_configuration(None, None, accuracy=0.2, learning_rate=0.2)
    decision = decide(far, near)
    assert decision.verdict == "none" and decision.chosen is None
    assert near.verdict == "not_reached"
    assert "nothing reaches 0.9" in decision.summary and "0.84" in decision.summary


def test_what_cannot_be_trusted_never_wins():
    loud = make_configuration(0.1, 0.1, valid=False, learning_rate=0.1)
    decision = decide(loud, make_configuration(1.0, 1.1, learning_rate=0.2))
    assert decision.chosen.learning_rate == 0.2
    assert loud.verdict == "rejected" and "foreign_load" in loud.reason


def test_energy_decides_where_it_is_asked_for_and_is_not_made_up():
    decision = decide(make_configuration(1.0, 1.1), objective="energy")
    assert decision.verdict == "none"
    assert "its energy is not known" in decision.summary


def test_what_was_not_made_says_why():
    failed = make_configuration(None, status="unsupported")
    decide(failed)
    assert (failed.verdict, failed.reason) == ("not_measured", "unsupported: it failed")


def test_models_and_devices_have_answers_of_their_own():
    found = decide_training(
        [make_configuration(1.0), make_configuration(2.0, device="gpu0"), make_configuration(3.0, model="b")],
        "seconds",
    )
    assert [(each.model, each.device) for each in found] == [("net", "cpu"), ("net", "gpu0"), ("b", "cpu")]


# --- The linear-scaling rule ----------------------------------------------------------------------------


def rates(best: dict[int, float], tried=(0.1, 0.2, 0.4, 0.8), **diverged):
    return [
        make_configuration(1.0 if rate == best[size] else 2.0, batch_size=size, learning_rate=rate)
        for size in best
        for rate in tried
    ]


def test_the_rule_starts_at_the_smallest_batch_and_stands_beside_what_was_found():
    (scaling,) = scaling_of(rates({16: 0.1, 32: 0.2, 64: 0.2}), "seconds")
    assert [(r.batch_size, r.predicted, r.found) for r in scaling.rates] == [
        (16, 0.1, 0.1),
        (32, 0.2, 0.2),
        (64, 0.4, 0.2),
    ]
    assert scaling.exponent == pytest.approx(0.5, abs=0.01)
    assert "at 64 linear scaling says 0.4; found 0.2" in sentence(scaling)


def test_a_rate_that_the_rule_names_and_nobody_tried_is_said_to_be_so():
    (scaling,) = scaling_of(rates({16: 0.8, 256: 0.8}), "seconds")
    assert scaling.rates[1].at_predicted == "not_tried"
    assert "beyond what was tried" in sentence(scaling)


def test_a_rate_that_the_rule_names_and_that_diverges_is_shown_as_divergence():
    small = rates({16: 0.1}, tried=(0.1, 0.4))
    large = [
        make_configuration(1.0, batch_size=64, learning_rate=0.1),
        make_configuration(None, batch_size=64, learning_rate=0.4, status="diverged"),
    ]
    (scaling,) = scaling_of([*small, *large], "seconds")
    assert (scaling.rates[1].found, scaling.rates[1].at_predicted) == (0.1, "diverged")
    assert "0.4, which diverges; found 0.1" in sentence(scaling)


def test_one_batch_size_or_one_rate_has_no_rule():
    assert scaling_of(rates({16: 0.1}), "seconds") == []
    assert scaling_of(rates({16: 0.1, 32: 0.1}, tried=(0.1,)), "seconds") == []


# --- One device for both --------------------------------------------------------------------------------


def combination(device, rate, **changes):
    row = {"model": "net", "scenario": "single_stream", "device": device, "runtime": "torch"}
    row |= {"optimization": "baseline", "batch_size": 8, "verdict": "dominated"}
    row |= {
        "throughput_samples_per_s": rate,
        "energy_j_per_sample": None,
        "cost_per_million": None,
        "energy_scope": None,
    }
    return row | changes


def whole(inferences, *rows, objective="seconds"):
    trained = decide_training([make_configuration(10.0), make_configuration(2.0, device="gpu0")], "seconds")
    (answer,) = decide_whole(trained, pd.DataFrame(rows), objective, inferences)
    return answer


def test_a_device_that_trains_fast_wins_for_few_inferences_and_loses_for_many():
    rows = combination("cpu", 1000.0), combination("gpu0", 100.0)
    few, many = whole(100, *rows), whole(1_000_000, *rows)
    assert (few.best.device, many.best.device) == ("gpu0", "cpu")
    assert few.best.total == pytest.approx(2 + 1)
    # 10 + n/1000 = 2 + n/100
    assert [few.changes_at, many.changes_at] == pytest.approx([8 / 0.009, 8 / 0.009])
    assert "or more another device" in few.summary and "or fewer another device" in many.summary


def test_rows_that_break_a_limit_are_not_what_is_run():
    rows = combination("cpu", 1e9, verdict="rejected"), combination("gpu0", 100.0)
    answer = whole(1_000_000, *rows)
    assert answer.best.device == "gpu0"
    assert [device for device, _ in answer.excluded] == ["cpu"]


def test_a_device_whose_cost_is_not_known_is_excluded_not_free():
    answer = whole(10, combination("cpu", 1.0), objective="cost")
    assert answer.verdict == "none" and answer.best is None


def with_seeds(*configurations):
    """One configuration with the seeds of all."""
    return Configuration([line | {"seed": n} for n, c in enumerate(configurations) for line in c.lines])


def test_whether_the_target_is_reached_does_not_depend_on_other_load():
    quiet, loaded = make_configuration(None), make_configuration(2.0, 2.1, valid=False)
    by_two = with_seeds(quiet, loaded)
    assert decide(by_two).chosen is None
    assert (by_two.verdict, by_two.reached) == ("rejected", 2)
    assert "foreign_load" in by_two.reason


def test_a_seed_that_failed_beside_other_load_counts_as_one_that_failed():
    lucky = with_seeds(make_configuration(1.0), make_configuration(None, None, valid=False))
    sure = make_configuration(3.0, 3.1, 3.2, learning_rate=0.2)
    assert decide(lucky, sure).chosen is sure
    assert lucky.verdict == "not_reached"
