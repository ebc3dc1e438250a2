"""What is wanted: single goals, and mixes of them."""

from __future__ import annotations

import pytest

from hwfit.decide import Objective, decide
from rows import make_candidate


def pair():
    """One is quick, the other has the throughput: 1 sample in 4 ms against 8 in 16 ms."""
    return make_candidate("quick", p50_ms=4.0), make_candidate("wide", p50_ms=16.0, batch_size=8)


def test_a_mix_weighs_the_figures_as_powers():
    quick, wide = pair()
    # Twice the throughput at four times the latency: even at two thirds.
    assert decide("net", list(pair()), {"throughput": 0.7, "latency": 0.3}, {}).chosen.name == wide.name
    assert decide("net", list(pair()), {"throughput": 0.6, "latency": 0.4}, {}).chosen.name == quick.name
    even = Objective.of({"throughput": 2, "latency": 1})
    assert even.score(wide) == pytest.approx(even.score(quick))


def test_weights_count_by_their_ratio_alone():
    assert Objective.of({"throughput": 7, "latency": 3}) == Objective.of({"throughput": 0.7, "latency": 0.3})


def test_a_mix_of_one_goal_is_that_goal():
    assert Objective.of({"latency": 5.0}).name == "latency"


def test_a_latency_that_nobody_waits_for_counts_as_throughput():
    assert Objective.of({"throughput": 0.7, "latency": 0.3}, "offline").name == "throughput"
    assert Objective.of({"cost": 0.5, "latency": 0.5}, "server").weights == (
        ("cost", 0.5),
        ("throughput", 0.5),
    )


def test_a_row_without_one_of_the_figures_never_wins():
    priced, free = make_candidate("priced", cost_per_million=4.0), make_candidate("free", p50_ms=1.0)
    decision = decide("net", [priced, free], {"throughput": 0.5, "cost": 0.5}, {})
    assert decision.chosen is priced
    assert free.reason == "cost was not measured"


def test_the_words_of_a_mix_say_its_weights():
    quick, wide = pair()
    decision = decide("net", [quick, wide], {"throughput": 0.9, "latency": 0.1}, {})
    assert "mix of throughput 90%, median latency 10%" in decision.summary
    assert "worse than" in quick.reason


def test_the_margin_of_what_should_be_little_is_the_share_that_is_saved():
    assert decide("net", list(pair()), "latency", {}).margin == pytest.approx(0.75)
    assert decide("net", list(pair()), "throughput", {}).margin == pytest.approx(1.0)
