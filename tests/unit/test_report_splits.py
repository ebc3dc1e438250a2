"""What the report says of splitting a batch: against the best member, and against all of them."""

import pandas as pd
import pytest

from hwfit.__main__ import main
from hwfit.records import COLUMNS, write_json
from hwfit.report import page
from hwfit.report.language import LANGUAGES, Language
from hwfit.report.splits import split_effects
from hwfit.report.table import prepare
from tables import make_plan, make_recommendation, make_row

DEVICES = {
    "left": {"accelerator": "cpu", "cores": [0], "runtimes": {"torch": "torch-cpu"}},
    "right": {"accelerator": "cpu", "cores": [1], "runtimes": {"tensorflow": "tensorflow-cpu"}},
    "pair": {"members": ["left", {"device": "right", "runtime": "tensorflow"}]},
}
PLAN = {"devices": DEVICES}


def line(device, runtime, batch_size, rate, width=0.01, **more):
    row = make_row("lenet-5", device, runtime, "baseline", batch_size) | {"valid": True, "flags": ""}
    ends = {"throughput_ci_low_samples_per_s": rate * (1 - width)}
    ends |= {"throughput_ci_high_samples_per_s": rate * (1 + width)}
    return row | ends | {"throughput_samples_per_s": rate} | more


def effects(*rows, language="en"):
    table = prepare(pd.DataFrame(rows, columns=list(COLUMNS)), {})
    return split_effects(table, PLAN, Language(language))


def rows_at(batch_size, left, right, pair):
    return [
        line("left", "torch", batch_size, left),
        line("right", "tensorflow", batch_size, right),
        line("pair", "split", batch_size, pair),
    ]


def test_a_study_without_a_composite_says_nothing():
    assert effects(line("left", "torch", 1, 10)) == []


def test_splitting_pays_where_it_beats_the_best_member():
    (effect,) = effects(*rows_at(8, 100, 300, 360))
    assert effect["kind"] == "pays"
    assert "1.20" in effect["text"]
    assert "90" in effect["text"]


def test_splitting_that_is_slower_than_the_best_member_does_not_pay():
    (effect,) = effects(*rows_at(1, 100, 300, 240))
    assert effect["kind"] == "slower"
    assert "does not pay" in effect["text"]
    assert "0.80" in effect["text"]


def test_what_lies_within_the_doubt_is_no_gain():
    (effect,) = effects(*rows_at(1, 100, 300, 303))
    assert effect["kind"] == "same"


def test_it_may_pay_at_some_batch_sizes_only():
    (effect,) = effects(*rows_at(1, 100, 300, 150), *rows_at(64, 100, 300, 390))
    assert effect["kind"] == "mixed"
    assert "at batch size 64 (1.30" in effect["text"]
    assert "not at 1 (0.50" in effect["text"]


def test_without_all_members_there_is_no_efficiency_and_without_any_no_sentence():
    (effect,) = effects(*rows_at(8, 100, 300, 360)[1:])
    assert effect["kind"] == "pays"
    assert "added up" not in effect["text"]
    assert effects(*rows_at(8, 100, 300, 360)[2:]) == []


def test_a_member_of_another_runtime_or_batch_size_is_none():
    assert effects(line("left", "tensorflow", 8, 100), line("pair", "split", 8, 200)) == []
    assert effects(line("left", "torch", 16, 100), line("pair", "split", 8, 200)) == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("pair", [360, 240, 303])
def test_every_language_has_the_sentences(language, pair):
    (effect,) = effects(*rows_at(8, 100, 300, pair), language=language)
    assert "{" not in effect["text"]


def test_the_command_that_writes_the_report_hands_the_devices_on(tmp_path, monkeypatch):
    """From the files of a run, since the report takes the plan in another shape than it lies on disk."""
    monkeypatch.setattr(page, "vega_script", lambda: "/* vega */")
    table = pd.DataFrame(rows_at(8, 100, 300, 360), columns=list(COLUMNS))
    table.to_csv(tmp_path / "table.csv", index=False)
    study = make_plan()["study"] | {"devices": DEVICES}
    write_json(tmp_path / "plan.json", {"study": study, "combinations": []})
    write_json(tmp_path / "recommendation.json", make_recommendation(table))
    files = {name: str(tmp_path / f"{name}.json") for name in ("plan", "recommendation")}
    files |= {"table": str(tmp_path / "table.csv"), "output": str(tmp_path / "page.html")}
    assert main(["report", *(word for name, path in files.items() for word in (f"--{name}", path))]) == 0
    assert "the throughput of its best member alone" in (tmp_path / "page.html").read_text()
