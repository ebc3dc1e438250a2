"""What the looks at some batch sizes of a cell say of all of them, and of which nothing is said."""

from __future__ import annotations

import pytest

from hwfit.records import Cell, Flag
from hwfit.search.curves import between, neighbours, screened_sizes
from hwfit.search.judge import judge
from hwfit.search.looks import looks_of
from looks import make_look, make_profile
from studies import make_plan

CELL = Cell("net", "cpu", "torch", "baseline", "single_stream")
SIZES = (1, 8, 32)
MATRIX = {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": list(SIZES)}
PLAN = make_plan(matrix=MATRIX).to_dict()


def told(*profiles, sizes=SIZES):
    """By batch size: the look, and what failed."""
    records = {}
    for profile in profiles:
        records.setdefault(profile.batch_size, []).append(profile)
    looks, failed = looks_of(PLAN, [(CELL, size) for size in sizes], {CELL: records}, {})
    by_size = {look.candidate.row.batch_size: look for look in looks}
    return by_size, {each.batch_size: (each.status, each.reason) for each in failed}


def test_every_second_batch_size_is_looked_at_and_the_largest():
    assert screened_sizes([8, 1, 32]) == [1, 32]
    assert screened_sizes([1, 2, 4, 8, 16, 32]) == [1, 4, 16, 32]
    assert screened_sizes([4]) == [4]


def test_a_batch_size_between_two_lies_on_the_line_through_them():
    assert neighbours([1, 32], 8) == (1, 32)
    assert neighbours([1, 32], 64) is None
    assert between({1: 1.0, 32: 32.0}, 1, 32, 8) == pytest.approx(8.0)


def test_what_was_not_looked_at_is_read_off_the_curve_with_more_doubt():
    looks, failed = told(make_profile(CELL, 1, 10.0), make_profile(CELL, 32, 320.0))
    assert not failed
    assert looks[8].candidate.line["latency_p50_ms"] == pytest.approx(80.0)
    assert looks[8].candidate.line["throughput_samples_per_s"] == pytest.approx(100.0)
    assert looks[8].doubt.curve == (1, 32)
    assert looks[8].doubt.own_error > 2 * looks[1].doubt.own_error
    assert looks[8].doubt.process_error == looks[1].doubt.process_error


def test_two_processes_leave_less_doubt_than_one():
    one, _ = told(make_profile(CELL, 1, 9.0), sizes=[1])
    two, _ = told(make_profile(CELL, 1, 9.0), make_profile(CELL, 1, 16.0, round=1), sizes=[1])
    assert two[1].doubt.relative_error == pytest.approx(one[1].doubt.relative_error / 2**0.5)
    assert two[1].candidate.line["latency_p50_ms"] == pytest.approx(12.0)


def test_of_a_cell_that_compiles_long_smaller_batches_are_bounded_in_proportion():
    skipped = make_profile(CELL, 1, status="skipped", reason="its first call took 9 s")
    looks, failed = told(make_profile(CELL, 32, 320.0), skipped)
    assert not failed
    assert looks[1].doubt.is_bound
    assert looks[1].candidate.line["latency_p50_ms"] == pytest.approx(10.0)


def test_what_failed_keeps_its_status_and_beyond_it_nothing_is_said():
    oom = make_profile(CELL, 32, status="oom", reason="out of memory")
    looks, failed = told(make_profile(CELL, 1), oom)
    assert failed == {32: ("oom", "out of memory")}
    assert list(looks) == [1]


def test_a_cell_that_failed_wherever_it_was_looked_at_failed_everywhere():
    crashed = [make_profile(CELL, size, status="crashed", reason="died") for size in (1, 32)]
    looks, failed = told(*crashed)
    assert not looks
    assert failed == dict.fromkeys(SIZES, ("crashed", "died"))


def test_nothing_is_said_of_outputs_that_were_not_evaluated():
    unseen = make_profile(CELL, 1, details={"is_evaluated": False})
    assert told(unseen, sizes=[1]) == ({}, {})


def test_of_a_disturbed_look_the_quality_counts_and_the_pace_does_not():
    flags = [Flag("foreign_load", "others")]
    looks, _ = told(make_profile(CELL, 1, flags=flags, metrics={"fidelity": 0.5}), sizes=[1])
    both = [*looks.values(), make_look("bf16")]
    (other,) = judge(both, "throughput", {"latency_p50_ms": 0.1})
    assert other.cell.optimization == "bf16"
    (gone,) = judge(both, "throughput", {"min_fidelity": 0.9})
    assert (gone.cell, gone.kind) == (CELL, "infeasible")


def test_a_look_that_was_disturbed_gives_way_to_one_that_was_not():
    disturbed = make_profile(CELL, 1, 99.0, flags=[Flag("foreign_load", "others")])
    looks, _ = told(disturbed, make_profile(CELL, 1, 10.0, round=1), sizes=[1])
    assert looks[1].candidate.line["latency_p50_ms"] == pytest.approx(10.0)
