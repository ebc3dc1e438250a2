"""What a moment's looks prove, and what they leave open."""

from __future__ import annotations

import pytest

from hwfit.search.judge import DISTURBED, judge
from looks import make_look


def given_up(looks, wanted="throughput", limits=None, **more):
    """Of each optimization and batch size that is given up, the kind and the reason."""
    found = judge(looks, wanted, limits or {}, **more)
    return {(each.cell.optimization, each.batch_size): (each.kind, each.reason) for each in found}


def kinds(*arguments, **more):
    return {key[0]: kind for key, (kind, _) in given_up(*arguments, **more).items()}


def test_what_is_far_behind_is_given_up_with_both_figures_and_what_is_near_goes_on():
    looks = [
        make_look("bf16", p50_ms=4.0),
        make_look("baseline", p50_ms=5.0),
        make_look("prune50", p50_ms=20.0),
    ]
    found = given_up(looks)
    assert list(found) == [("prune50", 1)]
    kind, reason = found["prune50", 1]
    assert kind == "dominated"
    assert reason.startswith("guided search: screened at throughput 50 (95%: ")
    assert "the leader cpu/torch/bf16/batch 1 at 250 (95%: " in reason


def test_batch_sizes_of_one_cell_share_the_doubt_of_their_process():
    one, two = (make_look("bf16", p50_ms=ms, batch_size=8, own_error=0.02) for ms in (10.0, 12.0))
    other = make_look("baseline", p50_ms=12.0, batch_size=8, own_error=0.02)
    assert kinds([one, two]) == {"bf16": "dominated"}
    assert kinds([one, other]) == {}


@pytest.mark.parametrize("wanted", ["latency", {"throughput": 0.5, "latency": 0.5}])
def test_other_objectives_are_judged_by_their_own_figures(wanted):
    looks = [make_look("bf16", p50_ms=1.0), make_look("baseline", p50_ms=10.0)]
    assert kinds(looks, wanted) == {"baseline": "dominated"}


def test_an_objective_that_no_look_can_tell_gives_nothing_up():
    looks = [make_look("bf16", p50_ms=1.0), make_look("baseline", p50_ms=100.0)]
    assert kinds(looks, "energy") == {}
    assert kinds(looks, {"throughput": 0.9, "energy": 0.1}) == {}


def test_what_breaks_a_limit_goes_whatever_the_objective():
    looks = [make_look("bf16", fidelity=0.9), make_look("baseline")]
    found = given_up(looks, "energy", {"min_fidelity": 0.98})
    assert {key: kind for key, (kind, _) in found.items()} == {("bf16", 1): "infeasible"}
    assert "fidelity 0.9 < 0.98" in found["bf16", 1][1]


def test_after_the_last_looks_only_the_best_go_on_with_their_rank_as_evidence():
    looks = [make_look(name, p50_ms=10.0 + place) for place, name in enumerate(["bf16", "baseline", "int8"])]
    assert kinds(looks) == {}
    found = given_up(looks, most=2)
    assert [key[0] for key in found] == ["int8"]
    assert found["int8", 1][1].endswith("number 3 of 3, of which the first 2 that fit are measured")


def test_what_may_fit_does_not_take_the_place_of_what_fits():
    fast = [make_look(name, p50_ms=70.0, batch_size=64) for name in ("bf16", "int8")]
    fits = [make_look("baseline", p50_ms=5.0, batch_size=4), make_look("prune50", p50_ms=5.1, batch_size=4)]
    limits = {"latency_p90_ms": 100.0}
    assert kinds([*fast, *fits], limits=limits, most=1) == {"int8": "dominated", "prune50": "dominated"}


def test_where_nothing_fits_the_nearest_misses_are_measured():
    looks = [make_look(p50_ms=200.0 * size, batch_size=size) for size in (1, 2, 4, 8, 16)]
    assert {size for _, size in given_up(looks, limits={"latency_p90_ms": 100.0})} == {8, 16}


def test_who_may_break_a_limit_leads_nobody():
    slow = make_look("baseline", p50_ms=60.0, batch_size=1)
    fast = make_look("bf16", p50_ms=80.0, batch_size=64)
    assert kinds([slow, fast], limits={"latency_p90_ms": 100.0}) == {}
    assert kinds([slow, fast], limits={"latency_p90_ms": 1000.0}) == {"baseline": "dominated"}


def test_a_percentile_is_broken_where_the_median_is_for_certain():
    looks = [make_look("bf16", p50_ms=200.0), make_look("baseline", p50_ms=110.0)]
    assert kinds(looks, limits={"latency_p90_ms": 100.0}) == {"bf16": "infeasible"}


def test_memory_is_a_hint_that_lets_lead_and_never_rejects():
    looks = [
        make_look("bf16", p50_ms=1.0, predicted_memory_mb=100.0, peak_memory_mb=None),
        make_look("baseline", p50_ms=10.0, predicted_memory_mb=5000.0, peak_memory_mb=None),
    ]
    assert kinds(looks[1:], limits={"max_memory_mb": 1000.0}) == {}
    assert kinds(looks, limits={"max_memory_mb": 1000.0}) == {"baseline": "dominated"}
    assert kinds(looks, limits={"max_memory_mb": 120.0}) == {}


def test_a_limit_that_only_a_meter_can_tell_lets_nobody_lead():
    looks = [make_look("bf16", p50_ms=1.0), make_look("baseline", p50_ms=100.0)]
    assert kinds(looks, limits={"max_energy_j_per_sample": 1.0}) == {}


def test_quality_near_a_limit_at_another_batch_size_is_left_open():
    near = make_look("bf16", fidelity=0.979, batch_size=1, quality_of=32)
    far = make_look("int8", fidelity=0.95, batch_size=1, quality_of=32)
    own = make_look("prune50", fidelity=0.979, batch_size=32)
    assert kinds([near, far, own], limits={"min_fidelity": 0.98}) == {
        "int8": "infeasible",
        "prune50": "infeasible",
    }


def test_the_best_that_a_cell_can_be_leads_nobody_and_can_be_beaten():
    bound = make_look("bf16", p50_ms=1.0, curve=(32,))
    assert kinds([bound, make_look("baseline", p50_ms=100.0)]) == {}
    beaten = given_up([make_look("bf16", p50_ms=100.0, curve=(32,)), make_look("baseline", p50_ms=1.0)])
    assert "in proportion to batch 32, at best" in beaten["bf16", 1][1]


def test_a_disturbed_look_neither_leads_nor_is_beaten():
    looks = [make_look("bf16", p50_ms=1.0), make_look("baseline", p50_ms=100.0)]
    assert kinds(looks) == {"baseline": "dominated"}
    for place in (0, 1):
        disturbed = list(looks)
        disturbed[place] = make_look(
            *[("bf16",), ("baseline",)][place], p50_ms=[1.0, 100.0][place], own_error=DISTURBED
        )
        assert kinds(disturbed) == {}


def test_where_models_share_a_device_each_device_keeps_its_best():
    looks = [make_look("bf16", p50_ms=1.0, device="gpu0"), make_look("baseline", p50_ms=100.0)]
    assert kinds(looks) == {"baseline": "dominated"}
    assert kinds(looks, is_apart_by_device=True) == {}
