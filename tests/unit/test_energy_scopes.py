"""Energy of one scope is never ranked against that of another."""

import pytest

from hwfit.decide import Objective, contenders, decide
from hwfit.decide.choice import decide_among
from hwfit.decide.energy_scopes import comparable
from hwfit.decide.shared import decide_shared
from rows import make_candidate


def metered(name, joules, scope, **more):
    """A row with its energy."""
    figures = {"energy_j_per_sample": joules, "energy_scope": scope, "energy_source": "counter:nvml"}
    return make_candidate(name, **figures | {"device": f"{scope}-device"} | more)


def test_the_answer_is_among_the_rows_of_one_scope_and_the_others_are_unproven():
    board = [metered("a", 3.0, "board"), metered("b", 2.0, "board")]
    node = metered("c", 1.0, "node")
    decision = decide("net", [*board, node], "energy", {})
    assert decision.chosen is board[1]
    assert board[0].verdict == "dominated"
    assert node.verdict == "unproven"
    assert "its energy is of the node, not of the board" in node.reason
    assert "power_command" in node.reason
    assert decision.runner_up is board[0]
    assert "2 J a sample (board, counter:nvml)" in decision.summary
    assert "not compared: 1 metered by node" in decision.summary


def test_of_scopes_with_as_many_rows_the_widest_counts():
    board, node = metered("a", 1.0, "board"), metered("b", 9.0, "node")
    assert decide("net", [board, node], "energy", {}).chosen is node


def test_rows_that_meet_every_limit_say_which_scope_is_ranked():
    """Most rows are of the board, but none of these fits."""
    board = [metered(name, 1.0, "board", p50_ms=200) for name in "abc"]
    node = metered("d", 9.0, "node")
    decision = decide("net", [*board, node], "energy", {"latency_p90_ms": 100})
    assert decision.verdict == "chosen"
    assert decision.chosen is node


def test_scopes_do_not_matter_where_energy_is_not_sought():
    board, node = metered("a", 1.0, "board", p50_ms=5), metered("b", 9.0, "node")
    decision = decide("net", [board, node], "throughput", {})
    assert decision.chosen is board
    assert node.verdict == "dominated"


@pytest.mark.parametrize("wanted", ["energy", {"throughput": 0.9, "energy": 0.1}])
def test_a_mix_with_energy_in_it_is_no_way_around(wanted):
    board, node = metered("a", 0.1, "board", p50_ms=1), metered("b", 9.0, "node")
    third = metered("c", 1.0, "node")
    decision = decide("net", [board, node, third], wanted, {})
    assert decision.chosen is third
    assert board.verdict == "unproven"


def test_fresh_rounds_are_for_rows_that_can_be_ranked():
    candidates = [metered("a", 3.0, "board"), metered("b", 2.9, "board"), metered("c", 2.95, "node")]
    named = contenders(candidates, "energy", {}, most=5, least_share=0.05)
    assert {candidate.row.cell.optimization for candidate in named} == {"a", "b"}


def test_what_would_change_the_answer_is_sought_within_its_scope():
    """Of another scope, the row that a looser limit lets in would not be compared with the chosen one."""
    chosen = [metered("a", 3.0, "board"), metered("b", 3.5, "board")]
    blocked = metered("c", 1.0, "node", p50_ms=150)
    limits = {"latency_p50_ms": 100}
    assert [
        c for c in decide("net", [*chosen, blocked], "energy", limits).sensitivity if c.then is blocked
    ] == []
    same = metered("d", 1.0, "board", p50_ms=150)
    assert [c.then for c in decide("net", [*chosen, same], "energy", limits).sensitivity if c.then is same]


@pytest.mark.parametrize("limit", ["max_energy_j_per_sample", "max_power_w"])
def test_a_share_of_a_baseline_of_another_scope_is_unproven(limit):
    row = metered("a", 1.0, "board", power_w=50.0)
    row.baseline = metered("base", 10.0, "node", power_w=500.0)
    decide("net", [row], "throughput", {limit: "50% of baseline"})
    assert row.verdict == "unproven"
    assert "is of the board, the baseline's of the node: never compared" in row.reason


def test_a_limit_names_the_scope_of_the_figure_that_it_judges():
    row = metered("a", 2.0, "package")
    decide("net", [row], "throughput", {"max_energy_j_per_sample": 1.0})
    assert row.reason.startswith("energy_j_per_sample 2 J (package, counter:nvml) > 1 J")


def test_where_nothing_says_a_scope_all_rows_are_of_one():
    rows = [make_candidate(name, energy_j_per_sample=joules) for name, joules in (("a", 1.0), ("b", 2.0))]
    assert comparable(rows, Objective.of("energy")) == rows


def test_a_provisional_answer_is_of_one_scope_too():
    rows = [metered(name, 1.0, "board", peak_memory_mb=None) for name in "ab"]
    other = metered("c", 0.1, "node", peak_memory_mb=None)
    decision = decide_among("net", [*rows, other], Objective.of("energy"), {"max_memory_mb": 10})
    assert decision.verdict == "provisional"
    assert decision.chosen in rows


def test_devices_that_serve_several_models_are_compared_in_one_scope():
    groups = {
        (model, "single_stream"): [
            metered("baseline", joules, scope, model=model, device=device)
            for device, joules, scope in (
                ("gpu0", 3.0, "board"),
                ("gpu1", 2.0, "board"),
                ("box", 1.0, "node"),
            )
        ]
        for model in ("a", "b")
    }
    wishes = {model: ("energy", {}) for model in ("a", "b")}
    memory = dict.fromkeys(("gpu0", "gpu1", "box"))
    decision = decide_shared("set", ["a", "b"], groups, wishes, memory)
    assert decision.device == "gpu1"
    assert dict(decision.others)["box"].startswith("its energy is of the node")
    by_speed = decide_shared("set", ["a", "b"], groups, {m: ("throughput", {}) for m in "ab"}, memory)
    assert {by_speed.device, *by_speed.tied} == {"gpu0", "gpu1", "box"}
