"""Several models that must run on one device."""

from __future__ import annotations

import pytest

from hwfit.decide.shared import decide_shared
from rows import make_candidate

MODELS = ("small", "large")
WISHES = {"small": ("throughput", {}), "large": ("throughput", {"latency_p90_ms": 100.0})}


def groups(times, **more):
    """Candidates by question, from {device: {model: ms}}."""
    found = {}
    for device, by_model in times.items():
        for model, p50_ms in by_model.items():
            row = make_candidate(device=device, model=model, p50_ms=p50_ms, **more)
            found.setdefault((model, "single_stream"), []).append(row)
    return found


def test_ten_percent_count_the_same_in_a_small_and_a_large_model():
    times = {"a": {"small": 1.0, "large": 60.0}, "b": {"small": 1.2, "large": 55.0}}
    decision = decide_shared("box", MODELS, groups(times), WISHES, {})
    assert decision.device == "a"
    assert [(c.row.cell.device, c.row.cell.model) for c in decision.choices] == [
        ("a", "small"),
        ("a", "large"),
    ]
    assert decision.others[0][0] == "b"
    assert "behind in the geometric mean" in decision.others[0][1]


def test_a_device_on_which_a_model_finds_nothing_is_out():
    times = {"a": {"small": 0.1, "large": 300.0}, "b": {"small": 5.0, "large": 50.0}}
    decision = decide_shared("box", MODELS, groups(times), WISHES, {})
    assert decision.device == "b"
    assert decision.others == [("a", "no combination of large meets every limit there")]


def test_models_that_do_not_fit_into_the_memory_together_are_out():
    times = {"a": {"small": 1.0, "large": 50.0}, "b": {"small": 2.0, "large": 90.0}}
    memory = {"a": 150.0, "b": 250.0}
    decision = decide_shared("box", MODELS, groups(times), WISHES, memory)
    assert decision.device == "b"
    assert decision.others == [("a", "together they take 200 MB, it has 150 MB")]


def test_where_no_device_serves_all_of_them_each_says_why():
    decision = decide_shared("box", MODELS, groups({"a": {"small": 1.0, "large": 300.0}}), WISHES, {})
    assert (decision.verdict, decision.device) == ("none", None)
    assert "a: no combination of large" in decision.summary


def test_devices_that_cannot_be_told_apart_are_a_tie_and_the_cheaper_wins_it():
    found = groups(
        {"a": {"small": 1.0, "large": 50.0}, "b": {"small": 1.01, "large": 50.0}}, relative_error=0.05
    )
    for group in found.values():
        group[0].price, group[1].price = 3.0, 1.0
    decision = decide_shared("box", MODELS, found, WISHES, {})
    assert (decision.device, decision.tied) == ("b", ["a"])
    assert decision.probability_best == pytest.approx(0.45, abs=0.1)


def test_a_price_that_is_not_known_makes_no_device_cheaper():
    found = groups(
        {"a": {"small": 1.0, "large": 50.0}, "b": {"small": 1.01, "large": 50.0}}, relative_error=0.05
    )
    for group in found.values():
        group[0].price, group[1].price = None, 100.0
    decision = decide_shared("box", MODELS, found, WISHES, {})
    assert (decision.device, decision.tied) == ("a", ["b"])
    assert "this is the best of them" in decision.summary


def test_the_verdicts_of_each_models_own_answer_stay():
    found = groups({"a": {"small": 1.0, "large": 50.0}})
    for group in found.values():
        for candidate in group:
            candidate.verdict = "dominated"
    decide_shared("box", MODELS, found, WISHES, {})
    assert {c.verdict for group in found.values() for c in group} == {"dominated"}
