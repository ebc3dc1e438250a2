"""A report comes from whatever a run left behind, and says what of it could not be read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hwfit.__main__ import main
from hwfit.collect import read_rows
from hwfit.layout import PROFILES
from hwfit.matrix import Plan
from hwfit.recommendation import recommend
from hwfit.records import COLUMNS, Cell, Profile, profile_path, write_json
from hwfit.report import page, write_report
from hwfit.report.inputs import read_inputs
from hwfit.report.language import Language
from hwfit.report.provenance import count_facts, differences, environments, software
from studies import make_plan
from tables import make_inventories, make_recommendation, make_row, make_table, make_verdict

CELL = Cell("net", "cpu", "torch", "baseline", "single_stream")
STUDY = {"matrix": {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1, 8]}}
CONTEXT = {
    "device": {"identity": "cpu:a", "driver": "6.1"},
    "environment": {"name": "torch-cpu", "python_version": "3.11.7", "packages": {"numpy": "2.4.6"}},
    "host": "here",
    "threads": {"intra": 2, "inter": 1},
}


@pytest.fixture(autouse=True)
def no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries take seconds to bundle, and only the browser needs them."""
    monkeypatch.setattr(page, "vega_script", lambda: "/* vega */")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(tmp_path)


class Run:
    """The files that a run of two batch sizes left behind, in the working directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plan = make_plan(**STUDY).to_dict()
        write_json("results/plan.json", self.plan)
        for batch_size in (1, 8):
            self.write(batch_size)

    def write(self, batch_size: int, context: Any = CONTEXT, round: int = 0) -> Path:
        p50 = 2.0 * batch_size
        metrics = {
            "latency_p50_ms": p50,
            "throughput_samples_per_s": 500.0,
            "samples": 100,
            "measured_s": 1.0,
        }
        profile = Profile(
            *CELL.__dict__.values(),
            batch_size,
            round,
            "ok",
            metrics=metrics,
            context=context,
            details={"median_standard_error": 0.01},
        )
        path = profile_path(PROFILES, CELL, round, batch_size)
        write_json(path, profile.to_dict())
        return path

    def decide(self) -> pd.DataFrame:
        table, recommendation = recommend(read_rows(self.plan), self.plan, {})
        Path("reports").mkdir(exist_ok=True)
        table.to_csv("reports/combinations.csv", index=False)
        write_json("reports/recommendation.json", recommendation)
        return table

    def report(self, *more: str) -> str:
        files = ["--plan", "results/plan.json", "--table", "reports/combinations.csv"]
        files += ["--recommendation", "reports/recommendation.json", "--output", "reports/page.html"]
        assert main(["report", *files, *more]) == 0
        return Path("reports/page.html").read_text()


# --- Records that are missing, cut short, older, not finite, or edited ----------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "not there"),
        ("", "bs8.json"),
        ('{"model": "net", "dev', "bs8.json"),
        ({"schema_version": 0}, "schema_version is 0"),
        ({"metrics": {"latency_p50_ms": math.nan}}, "NaN is not JSON"),
        ({"metrics": {"latency_p50_ms": math.inf}}, "Infinity is not JSON"),
        ({"metrics": {"latency_p50_ms": "quick"}}, "not a finite number"),
        ({"status": "splendid"}, "status is"),
    ],
    ids=["missing", "empty", "cut short", "older", "NaN", "infinity", "edited figure", "edited status"],
)
def test_a_record_that_is_no_good_is_a_row_with_its_reason_and_the_report_comes(run, content, reason):
    path = run.write(8)
    if content is None:
        path.unlink()
    elif isinstance(content, str):
        path.write_text(content)
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | content))
    table = run.decide().set_index("batch_size")
    assert table.loc[8, "status"] == "crashed"
    assert table.loc[1, "status"] == "ok"
    text = run.report()
    assert reason in text
    assert "1 measured" in text


def test_a_report_says_what_of_its_own_files_it_could_not_read(run):
    run.decide()
    whole = Path("reports/recommendation.json").read_text()
    Path("reports/recommendation.json").write_text(whole[: len(whole) // 2])
    Path("reports/combinations.csv").write_bytes(b"")
    text = run.report()
    assert "Not all of what this page is made from could be read" in text
    assert "reports/recommendation.json: " in text
    assert "reports/combinations.csv: " in text
    assert "The recommendation names no model." in text


def test_a_recommendation_of_another_version_is_shown_as_far_as_it_goes(run):
    run.decide()
    told = json.loads(Path("reports/recommendation.json").read_text()) | {"schema_version": 0}
    Path("reports/recommendation.json").write_text(json.dumps(told))
    text = run.report()
    assert "schema_version is 0, this hwfit reads" in text
    assert "<b>torch</b>" in text


@pytest.mark.parametrize("content", ["{", "[]", '{"study": {}}', '{"study": 3, "combinations": 4}'])
def test_without_a_plan_that_can_be_read_the_rows_are_shown(run, content):
    run.decide()
    Path("results/plan.json").write_text(content)
    text = run.report("--language", "zh")
    assert "results/plan.json: " in text
    assert "硬件选型" in text


def test_lines_of_the_table_that_cannot_be_read_are_left_out_and_said(run):
    run.decide()
    with Path("reports/combinations.csv").open("a") as stream:
        stream.write("net," * 200 + "\n")
    names = ("results/plan.json", "reports/combinations.csv", "reports/recommendation.json")
    found = read_inputs(*map(Path, names))
    assert len(found["table"]) == 2
    assert "left out" in found["problems"][0]


@pytest.mark.parametrize(
    "value", ["inf", "-inf", "nan", "NaN", "-3", "0", "", "1e999", "<b>much</b>", "1,5", "True", "√"]
)
def test_a_table_edited_by_hand_makes_a_page_whatever_stands_in_it(tmp_path, value):
    path = tmp_path / "combinations.csv"
    table = make_table(models=("lenet-5",), absent=())
    edited = table.astype(object)
    # One row of garbage, in every column but the names.
    for column in list(COLUMNS)[list(COLUMNS).index("batch_size") :]:
        edited.loc[0, column] = value
    edited.to_csv(path, index=False)
    read = pd.read_csv(path, keep_default_na=False, na_values=[""])
    recommendation = make_recommendation(table)
    write_report(read, recommendation, make_inventories(), {}, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "Infinity" not in text.split('id="data">')[1].split("</script>")[0]
    assert "<b>much" not in text


# --- No valid row, all rows tied ------------------------------------------------------------------------


def test_where_no_measurement_can_be_trusted_it_says_so_and_not_that_nothing_was_measured(tmp_path):
    table = make_table(models=("lenet-5",)).assign(valid=False, flags="foreign_load", verdict="rejected")
    recommendation = make_recommendation(table, models=[make_verdict(table)])
    write_report(table, recommendation, {}, {}, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    measured = (table["status"] == "ok").sum()
    assert f"None of the {measured} measurements of this run can be trusted" in text
    assert "Nothing was measured in this run" not in text


def test_where_all_rows_are_tied_the_card_says_how_many_and_lists_some(tmp_path):
    rows = [make_row("lenet-5", "cpu", "torch", "baseline", size) for size in (1, 2, 4, 8, 16, 32, 64, 128)]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).assign(verdict="tied", valid=True, reason="")
    table.loc[0, "verdict"] = "chosen"
    entry = make_verdict(table) | {"probability_best": 0.125, "runner_up": None}
    entry["tied"] = [row for row in table.astype(object).to_dict("records") if row["verdict"] == "tied"]
    write_report(table, make_recommendation(table, models=[entry]), {}, {}, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "It cannot be told apart from 7 others" in text
    assert "2 more, in the table" in text


# --- The language ---------------------------------------------------------------------------------------


def test_another_language_is_no_other_plan():
    plans = [make_plan(**STUDY, report={"language": language}) for language in ("en", "zh")]
    assert isinstance(plans[0], Plan)
    assert plans[0].study.config.report.language != plans[1].study.config.report.language
    assert plans[0].public_study() == plans[1].public_study()
    (cell,) = plans[0].cells
    assert plans[0].job(cell, 0) == plans[1].job(cell, 0)


# --- Where the numbers come from ------------------------------------------------------------------------


def test_the_report_links_what_lies_beside_it(run):
    run.decide()
    Path("reports/measurements.zip").touch()
    text = run.report("--measurements", "reports/measurements.zip")
    for name in ("combinations.csv", "recommendation.json", "measurements.zip"):
        assert f'<a href="{name}" download>' in text
    assert 'href="measurements.zip"' not in run.report()


def test_conditions_that_differ_within_a_device_and_runtime_are_told(run):
    packages = {"numpy": "2.5.0"}
    other = CONTEXT | {"environment": CONTEXT["environment"] | {"packages": packages}, "kernel": "6.2"}
    run.write(8, context=other)
    run.decide()
    text = run.report()
    assert "Even rows of one device and runtime were measured under different conditions" in text
    assert "cpu · torch, numpy: 2.4.6 (one record), 2.5.0 (one record)" in text


def test_conditions_that_differ_between_runtimes_are_a_table_and_the_others_a_sentence():
    other = CONTEXT | {"threads": {"intra": 1}}
    told = differences(count_facts([("cpu · torch", CONTEXT), ("cpu · onnxruntime", other)]), Language("en"))
    assert told["columns"] == ["Threads"]
    assert told["lines"] == [("cpu · torch", ["intra 2, inter 1"]), ("cpu · onnxruntime", ["intra 1"])]
    assert ("Host", "here") in told["same"]
    assert told["changed"] == []


def test_a_context_that_was_edited_is_no_obstacle():
    assert differences({}, Language("en")) is None
    odd = [("cpu · torch", {"device": 3, "environment": [], "threads": None}), ("cpu · x", {})]
    assert differences(count_facts(odd), Language("en"))["lines"] == []
    assert environments({"a": 3, "b": {"packages": 4}}) == [
        {"name": "b", "python": None, "reason": "", "packages": []}
    ]


def test_the_software_that_decided_is_named():
    assert {"Python", "snakemake", "pandas"} <= {name for name, _ in software()}
