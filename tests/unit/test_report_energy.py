"""Energy in the report: its meters, its scopes, and why it is empty."""

import pytest

from hwfit.report import energy
from hwfit.report.language import Language
from hwfit.report.table import prepare
from tables import make_table, with_energy_and_cost

DENIED = "rapl: may be read by root alone: `chmod a+r`"


@pytest.fixture
def words():
    return Language("en")


def rows_of(**more):
    return prepare(make_table(models=("lenet-5",), **more), {})


@pytest.mark.parametrize(
    ("absences", "is_wanted", "said"),
    [
        ({"cpu": (DENIED,)}, True, "may be read by root alone: `chmod a+r`"),
        ({}, True, "docs/energy.md says how to have one"),
        ({"cpu": (DENIED,)}, False, "measurement.energy_seconds is 0"),
    ],
)
def test_where_energy_is_empty_one_line_says_why(words, absences, is_wanted, said):
    (note,) = energy.notes(rows_of(), absences, is_wanted, words)
    assert "Energy and power are empty on cpu" in note
    assert said in note


def test_devices_without_energy_for_one_reason_share_a_line(words):
    rows = rows_of(devices=("cpu", "gpu1"), absent=())
    (note,) = energy.notes(rows, dict.fromkeys(("cpu", "gpu1"), (DENIED,)), True, words)
    assert "on cpu, gpu1: " in note or "on gpu1, cpu: " in note


def test_a_meter_that_failed_is_told_by_the_flags(words):
    rows = rows_of()
    rows.loc[rows["status"] == "ok", "flags"] = "energy_frozen"
    (note,) = energy.notes(rows, {}, True, words)
    assert "the flags under Validity say why" in note


def test_where_energy_was_measured_nothing_is_missing(words):
    rows = prepare(with_energy_and_cost(make_table(models=("lenet-5",))), {})
    assert energy.notes(rows, {}, True, words) == []
    (meter,) = energy.meters(rows, words)
    measured = int(rows["power_w"].notna().sum())
    assert meter == {
        "device": "cpu",
        "source": "counter:rapl",
        "scope": "processor and memory",
        "rows": measured,
        "idle": "21.0",
        "power": "65.0",
    }


def test_a_reason_is_no_markup(words):
    (note,) = energy.notes(rows_of(), {"cpu": ("<script>",)}, True, words)
    assert "<script>" not in note


def test_each_scope_has_a_figure_with_a_name_of_its_own(words):
    rows = prepare(with_energy_and_cost(make_table(models=("lenet-5",))), {})
    rows.loc[rows.index[:3], "energy_scope"] = "package+board"
    assert dict(energy.figures(rows, words)) == {
        "energy-package-and-board": "Energy, J/sample: processor and memory + the board",
        "energy-package": "Energy, J/sample: processor and memory",
    }
