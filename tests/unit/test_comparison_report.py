"""What a comparison says: on the terminal, in JSON, in CSV."""

import csv
import io
import json

import pytest

from compared import make_row, make_run
from hwfit.compare import compare
from hwfit.comparison_report import COLUMNS, describe, summary, to_csv
from hwfit.records import write_json

FACTORS = {"same": 1.0, "slow": 1.5, "quick": 0.7}


def context(torch="2.12.0", name="AMD EPYC", **packages):
    return {"device": {"name": name}, "environment": {"packages": {"torch": torch} | packages}}


def described(here, there, **more):
    return describe(compare(here, there), here, there, **more)


def described_rows(factors=FACTORS, **more):
    here = make_run(*(make_row(name, [10 * f, 10.1 * f, 9.9 * f]) for name, f in factors.items()), **more)
    return described(here, make_run(*(make_row(name) for name in factors), name="../before"))


def test_the_summary_has_the_worst_first_and_counts_the_rest():
    said = summary(described_rows())
    assert said.splitlines()[0] == "run compared with ../before"
    assert said.splitlines()[1] == "1 worse, 1 better, 1 no difference"
    assert said.index("net on cpu with torch, slow, batch 1: +50% time") < said.index("quick, batch 1: -30%")
    assert "same, batch" not in said


def test_the_summary_says_what_could_have_been_found_and_what_it_takes():
    found = described_rows()
    device = found["devices"]["cpu"]
    assert 0 < device["detectable_difference_half"] <= device["detectable_difference_all"]
    assert 2 <= device["rounds_needed_half"] <= device["rounds_needed_all"]
    assert f"rounds: {device['rounds_needed_all']}, confirm_rounds" in summary(found)


def test_what_neither_side_measured_is_counted_and_not_listed():
    absent = make_row("absent", status="unavailable", reason="no GPU")
    said = summary(described(make_run(absent), make_run(absent)))
    assert "1 cannot be told" in said
    assert "no GPU" not in said


def test_a_thousand_rounds_that_are_not_enough_are_said():
    here, there = make_run(make_row(paces_ms=[10, 30, 5])), make_run(make_row(paces_ms=[10, 31, 4]))
    found = described(here, there)
    assert found["devices"]["cpu"]["rounds_needed_all"] is None
    assert "more than 1,000 rounds" in summary(found)


def test_a_device_on_which_nothing_could_be_tested_says_so():
    said = summary(described(make_run(make_row(status="oom")), make_run(make_row())))
    assert "cpu: nothing could be tested" in said


def test_the_table_has_every_column_and_what_is_not_known_is_empty():
    here = make_run(make_row("gone", status="crashed", reason="died"), make_row("both"))
    there = make_run(make_row("gone"), make_row("both"))
    rows = list(csv.DictReader(io.StringIO(to_csv(described(here, there)))))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["verdict"] for row in rows] == ["worse", "no_difference"]
    assert rows[0]["pace_ratio"] == rows[0]["pace_ms_here"] == ""
    assert float(rows[0]["pace_ms_against"]) == pytest.approx(10.0, rel=0.01)
    assert float(rows[1]["peak_memory_mb_here"]) == 100
    assert rows[1]["rounds_against"] == "3"


def test_the_description_is_json_even_where_nothing_scatters(tmp_path):
    here = make_run(make_row(paces_ms=[11.0] * 3, within=0.0), make_row("huge", [1e9] * 3))
    there = make_run(make_row(paces_ms=[10.0] * 3, within=0.0), make_row("huge", [1e-9] * 3))
    write_json(tmp_path / "found.json", described(here, there))
    assert json.loads((tmp_path / "found.json").read_text())["counts"]["worse"] == 2


def test_software_that_changed_is_said_once_for_all_rows_that_share_it():
    there = [make_row(name, context=context()) for name in "abc"]
    here = [make_row(name, context=context("2.13.0")) for name in "abc"]
    notes = described(make_run(*here), make_run(*there))["notes"]
    assert notes == ["cpu, torch: environment.packages.torch 2.12.0 → 2.13.0"]


def test_of_many_packages_the_first_few_are_named():
    packages = {f"package{i}": "1" for i in range(20)}
    there, here = make_row(context=context()), make_row(context=context(**packages))
    (note,) = described(make_run(here), make_run(there))["notes"]
    assert "package0 none → 1" in note
    assert note.endswith("and 12 more")


def test_another_machine_other_settings_and_another_hwfit_are_said():
    there = make_run(make_row(context=context()), settings={"max_seconds": 3}, hwfit_version="0.1.0")
    here = make_run(
        make_row(context=context(name="Xeon")), settings={"max_seconds": 5}, hwfit_version="0.2.0"
    )
    assert described(here, there)["notes"] == [
        "hwfit 0.1.0 there, 0.2.0 here",
        "measurement: max_seconds 3 → 5",
        "cpu, torch: device.name AMD EPYC → Xeon",
    ]


def test_a_device_on_which_everything_moved_is_pointed_at():
    rows = {f"row{i}": 1.03 for i in range(10)}
    (note,) = described_rows(rows)["notes"]
    assert note.startswith("cpu: 10 of 10 combinations are slower, +3% time in the middle")
    assert described_rows({f"row{i}": 1 + (-1) ** i / 10 for i in range(10)})["notes"] == []


def test_other_subjects_are_counted_and_stand_beside_their_lines():
    here, there = make_run(make_row(subject="new", paces_ms=[20, 20, 20.1])), make_run(make_row())
    said = summary(described(here, there))
    assert "1 combinations have other weights, inputs or code than there" in said
    assert "[not the same subject: weights, inputs or the model's code differ]" in said


def test_a_long_list_is_cut_and_counted():
    said = summary(described_rows({f"row{i:02}": 2.0 for i in range(30)}))
    assert said.count("+100% time, 95%") == 20
    assert "and 10 more" in said
