"""Better, worse or no different: by a test that knows of processes and of many comparisons."""

import math

import numpy as np
import pytest

from compared import make_row, make_run
from hwfit.compare import QUALITY_TOLERANCE, VERDICTS, compare, holm
from hwfit.records import Flag


def only_line(here, there, **more):
    (line,) = compare(make_run(here), make_run(there), **more).lines
    return line


def scaled(factor, paces=(10.0, 10.1, 9.9)):
    return [pace * factor for pace in paces]


def test_a_row_that_takes_longer_than_processes_differ_is_worse_and_says_by_how_much():
    line = only_line(make_row(paces_ms=scaled(1.2)), make_row())
    assert line.verdict == "worse"
    assert line.test.ratio == pytest.approx(1.2)
    assert line.test.low < 1.2 < line.test.high
    assert line.test.p_adjusted == line.test.p < 0.001
    assert line.reason.startswith("+20% time, 95% interval +")


def test_a_row_that_takes_less_time_is_better():
    line = only_line(make_row(paces_ms=scaled(0.8)), make_row())
    assert line.verdict == "better"
    assert line.reason.startswith("-20% time")


def test_the_spread_between_processes_hides_what_the_samples_within_would_prove():
    line = only_line(make_row(paces_ms=[11, 14, 9]), make_row(paces_ms=[10, 13, 8]))
    assert line.verdict == "no_difference"
    assert line.test.low < 1 < line.test.high


def test_the_doubt_within_a_process_counts_where_it_is_larger_than_that_between_them():
    here, there = scaled(1.2), scaled(1)
    assert only_line(make_row(paces_ms=here), make_row(paces_ms=there)).verdict == "worse"
    shaky = only_line(make_row(paces_ms=here, within=0.2), make_row(paces_ms=there, within=0.2))
    assert shaky.verdict == "no_difference"


def test_a_row_of_one_process_is_judged_by_the_spread_of_the_devices_other_rows():
    there = [make_row("alone", [10.0])]
    here = [make_row("alone", [13.0])]
    calm = [make_row(f"calm{i}", [10.0, 10.1, 9.9]) for i in range(6)]
    restless = [make_row(f"restless{i}", [10.0, 13.0, 8.0]) for i in range(6)]
    for others, verdict in ((calm, "worse"), (restless, "no_difference")):
        lines = compare(make_run(*here, *others), make_run(*there, *others)).lines
        assert {line.verdict for line in lines if line.cell.optimization == "alone"} == {verdict}


def test_rows_of_one_device_say_nothing_of_the_spread_on_another():
    restless = [make_row(f"r{i}", [10.0, 13.0, 8.0], device="gpu0") for i in range(6)]
    there = make_run(make_row(), *restless)
    here = make_run(make_row(paces_ms=scaled(1.2)), *restless)
    assert [line.verdict for line in compare(here, there).lines if line.cell.device == "cpu"] == ["worse"]


def test_times_of_the_reference_model_in_fresh_processes_tell_of_the_spread():
    def inventory(*times):
        return {"cpu": {"runtimes": {"torch": {"reference_ms": list(times)}}}}

    def verdict(*times):
        there = make_run(make_row(paces_ms=[10.0]), inventories=inventory(*times))
        here = make_run(make_row(paces_ms=[13.0]), inventories=inventory(*(2 * t for t in times)))
        return compare(here, there).lines[0].verdict

    assert verdict(1.0, 1.01, 0.99) == "worse"
    assert verdict(1.0, 1.5, 0.7) == "no_difference"


def test_where_no_spread_was_measured_it_is_assumed_and_said_so():
    comparison = compare(make_run(make_row(paces_ms=[10.5])), make_run(make_row(paces_ms=[10.0])))
    assert comparison.devices["cpu"].is_assumed
    assert comparison.lines[0].verdict == "no_difference"


def test_holms_procedure_on_an_example_worked_by_hand():
    adjusted = holm(np.array([0.04, 0.01, 0.03, 0.005]))
    assert adjusted == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).max() == 1


def test_what_is_found_alone_may_be_chance_among_many():
    def found(others):
        rows = [make_row(f"same{i}", batch_size=i + 2) for i in range(others)]
        there, here = make_row(paces_ms=[10.0, 10.1, 9.9]), make_row(paces_ms=[10.4, 10.5, 10.2])
        lines = compare(make_run(here, *rows), make_run(there, *rows)).lines
        return next(line for line in lines if line.cell.optimization == "baseline")

    assert found(0).verdict == "worse"
    among = found(40)
    assert among.test.p_adjusted == pytest.approx(41 * among.test.p)


def test_intervals_widen_with_the_number_of_comparisons():
    widths = []
    for count in (1, 30):
        rows = [make_row(batch_size=i + 1) for i in range(count)]
        found = compare(make_run(*rows), make_run(*rows)).lines[0].test
        # Degrees of freedom grow with the rows, which alone would narrow it.
        widths.append(math.log(found.high / found.low) / found.relative_error / 2)
    assert widths[1] > 3 > widths[0]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ("ok", "crashed", "worse"),
        ("ok", "oom", "worse"),
        ("ok", "incorrect", "worse"),
        ("ok", "timeout", "worse"),
        ("ok", "unsupported", "worse"),
        ("crashed", "ok", "better"),
        ("oom", "ok", "better"),
        ("ok", "unavailable", "cannot_tell"),
        ("ok", "skipped", "cannot_tell"),
        ("unavailable", "ok", "cannot_tell"),
        ("oom", "crashed", "cannot_tell"),
    ],
)
def test_a_status_that_changed_is_a_verdict_where_the_combination_itself_failed(before, after, verdict):
    line = only_line(make_row(status=after, reason="now"), make_row(status=before, reason="then"))
    assert line.verdict == verdict
    assert line.reason == f"was {before} (then); is {after} (now)"


def test_a_batch_size_that_was_given_up_since_a_smaller_one_ran_out_of_memory_is_worse():
    line = only_line(make_row(status="skipped", reason="implied by oom at 8"), make_row())
    assert line.verdict == "worse"


def test_a_record_that_is_not_there_says_nothing_of_the_combination():
    line = only_line(make_row(status="crashed", reason="no record", is_recorded=False), make_row())
    assert line.verdict == "cannot_tell"


def test_what_one_run_lacks_is_neither_better_nor_worse():
    new, old, both = make_row("new"), make_row("old"), make_row("both")
    lines = compare(make_run(new, both), make_run(old, both)).lines
    assert {line.cell.optimization: line.verdict for line in lines} == {
        "new": "only_here",
        "old": "only_there",
        "both": "no_difference",
    }


def test_a_measurement_that_cannot_be_trusted_is_not_compared_and_the_flag_is_named():
    flag = Flag("foreign_load", "others used 60% of the cores", 0.6)
    informs = Flag("correlated", "calls come in runs")
    line = only_line(make_row(paces_ms=scaled(2), flags=[flag, informs]), make_row())
    assert line.verdict == "cannot_tell"
    assert line.reason == "the measurement here cannot be trusted: foreign_load"
    assert only_line(make_row(), make_row(flags=[flag])).reason.startswith("the measurement there")


def test_rows_measured_in_different_ways_are_not_compared():
    line = only_line(make_row(protocol="new"), make_row(protocol="old"))
    assert line.verdict == "cannot_tell"
    assert "protocol" in line.reason


def test_other_weights_are_compared_and_said():
    line = only_line(make_row(paces_ms=scaled(1.2), subject="new"), make_row(subject="old"))
    assert line.verdict == "worse"
    assert "not the same subject" in line.notes[0]


def test_one_measurement_on_both_sides_is_no_comparison():
    line = only_line(make_row(started_at="2026-11-25"), make_row(started_at="2026-11-25"))
    assert line.verdict == "cannot_tell"
    assert "the same measurement" in line.reason


def test_a_server_is_compared_by_the_highest_rate_that_holds():
    slow, quick = (make_row(paces_ms=scaled(f), scenario="server") for f in (1.3, 1))
    assert only_line(slow, quick).verdict == "worse"
    line = only_line(make_row(paces_ms=[None] * 3, scenario="server"), quick)
    assert line.verdict == "cannot_tell"
    assert line.reason.startswith("no rate held here")


@pytest.mark.parametrize("name", ["accuracy", "fidelity"])
def test_quality_that_fell_makes_a_row_worse_however_fast_it_is(name):
    line = only_line(make_row(paces_ms=scaled(0.5), **{name: 0.90}), make_row(**{name: 0.95}))
    assert line.verdict == "worse"
    assert line.reason.startswith(f"{name} fell from 0.95 to 0.9, tolerated 0.005; -50% time")


def test_quality_within_the_tolerance_and_quality_that_rose_are_fine():
    there = make_row(accuracy=0.95)
    for accuracy in (0.95 - QUALITY_TOLERANCE, 0.99):
        assert only_line(make_row(accuracy=accuracy), there).verdict == "no_difference"
    assert only_line(make_row(accuracy=0.90), there, quality_tolerance=0.1).verdict == "no_difference"


def test_quality_is_judged_where_the_pace_cannot_be():
    flag = Flag("drift", "the last third took 30% longer", 0.3)
    line = only_line(make_row(accuracy=0.9, flags=[flag]), make_row())
    assert line.verdict == "worse"
    assert "drift" in line.reason


def test_quality_that_is_not_known_any_more_is_noted():
    line = only_line(make_row(accuracy=None), make_row())
    assert line.verdict == "no_difference"
    assert line.notes == ["accuracy is known there and not here"]


def test_lines_come_worst_first():
    factors = {"best": 0.5, "same": 1, "slow": 1.5, "slowest": 2}
    here = make_run(*(make_row(name, scaled(factor)) for name, factor in factors.items()))
    comparison = compare(here, make_run(*(make_row(name) for name in factors)))
    assert [line.cell.optimization for line in comparison.lines] == ["slowest", "slow", "best", "same"]
    assert comparison.counts == dict.fromkeys(VERDICTS, 0) | {"worse": 2, "better": 1, "no_difference": 1}


def test_runs_without_anything_in_common_and_empty_ones_are_compared_too():
    assert compare(make_run(), make_run()).lines == []
    assert compare(make_run(make_row()), make_run()).counts["only_here"] == 1


def test_paces_that_do_not_scatter_at_all_are_told_apart():
    line = only_line(make_row(paces_ms=[11.0] * 3, within=0.0), make_row(paces_ms=[10.0] * 3, within=0.0))
    assert line.verdict == "worse"
    assert math.isfinite(line.test.high)
