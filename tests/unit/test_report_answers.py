"""How the report tells an answer: what was sought, what would change it, one device for several models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hwfit.report import LANGUAGES, page, write_report
from hwfit.report.answers import limits_for, readable
from hwfit.report.goals import goal, limit
from hwfit.report.language import Language
from hwfit.report.table import DERIVED, prepare
from tables import (
    make_inventories,
    make_plan,
    make_recommendation,
    make_sensitivity,
    make_set,
    make_table,
)


@pytest.fixture(autouse=True)
def no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries take seconds to bundle, and only the browser needs them."""
    monkeypatch.setattr(page, "vega_script", lambda: "/* vega */")


@pytest.fixture
def words() -> Language:
    return Language("en")


def text_of(path: Path, recommendation: Any, language: str = "en") -> str:
    """The text of a written page, without its scripts and styles, on one line."""
    write_report(make_table(), recommendation, make_inventories(), make_plan(), path, language)
    body = re.sub(r"<(script|style)\b.*?</\1>", "", path.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", "", body).split())


def recommendation_with(**changes: Any) -> dict[str, Any]:
    """A recommendation whose first entry says more than the others."""
    made = make_recommendation(make_table())
    made["models"][0] |= changes
    return made


# --- What was sought ------------------------------------------------------------------------------------


def test_a_goal_names_the_objective_and_each_limit_with_its_unit(words):
    told = goal({"objective": "latency", "constraints": {"latency_p90_ms": 100, "max_memory_mb": 512}}, words)
    assert told == "Sought: the lowest latency; limits: p90 latency ≤ 100 ms, memory ≤ 512 MB."


def test_a_mix_is_told_with_its_weights(words):
    told = goal({"objective": "mix", "weights": {"throughput": 7, "latency": 3}}, words)
    assert "a weighted mix: throughput 70%, latency 30%" in told
    assert "throughput 70%" in goal({"objective": {"throughput": 0.7, "latency": 0.3}}, words)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_limit_relative_to_another_row_is_told_as_such(language):
    told = limit("latency_p90_ms", "50% of baseline", Language(language))
    assert "50%" in told
    assert "baseline" in told
    assert "ms" not in told
    assert limit("min_fidelity", "as it is", Language(language)).endswith("≥ as it is")


def test_a_model_with_limits_of_its_own_says_so_in_its_card(tmp_path):
    own = {"latency_p90_ms": 20.0, "min_fidelity": "99% of baseline"}
    text = text_of(tmp_path / "page.html", recommendation_with(constraints=own, objective="latency"))
    assert "Sought: the lowest latency; limits: p90 latency ≤ 20 ms, fidelity ≥ 99% of baseline." in text
    same = make_recommendation(make_table())
    for entry in same["models"]:
        entry |= {"objective": same["objective"], "weights": None, "constraints": same["constraints"]}
    assert text_of(tmp_path / "same.html", same).count("Sought:") == 1


def test_the_key_figures_of_a_mix_are_those_it_weighs(tmp_path):
    recommendation = recommendation_with(objective="mix", weights={"throughput": 0.7, "latency": 0.3})
    write_report(make_table(), recommendation, {}, {}, tmp_path / "page.html")
    first = (tmp_path / "page.html").read_text().split("<article")[1]
    assert first.count('class="objective"') == 2


def test_charts_draw_the_limits_of_the_question_they_show():
    table = make_table()
    own = {"max_accuracy_drop": 0.05, "min_fidelity": "99% of baseline"}
    recommendation = readable(make_recommendation(table))
    entry = next(each for each in recommendation["models"] if each["model"] == "lenet-5")
    entry["constraints"] = own
    rows = prepare(table, recommendation)
    limits = rows[rows["model"] == "lenet-5"]["quality_limit"].dropna().unique()
    assert limits == pytest.approx([5.0])
    assert limits_for(recommendation, "lenet-5", "single_stream") == {"max_accuracy_drop": 0.05}
    others = rows[rows["model"] == "minilm"]["quality_limit"].dropna().unique()
    assert others == pytest.approx([2.0]), "fidelity, since nothing of it is labelled"
    assert "quality_limit" in DERIVED


# --- What would change the answer -----------------------------------------------------------------------


def test_what_would_change_the_answer_is_told_three_first(tmp_path):
    table = make_table()
    row = make_recommendation(table)["models"][0]["runner_up"]
    path = tmp_path / "page.html"
    text = text_of(path, recommendation_with(sensitivity=make_sensitivity(row)))
    assert "It holds down to p90 latency ≤ 12.5 ms (now 100 ms); beyond that: cpu · " in text
    assert "It holds up to fidelity ≥ 99.99% (now 98%); beyond that: nothing fits." in text
    assert "gpu0 would win below $0.75/h (now $2.00/h): cpu · " in text
    assert "2 more" in text
    assert "Its accuracy may fall by 0.7 points more until it breaks accuracy drop ≤ 1 pt." in text
    assert "With p90 latency ≤ 120.4 ms (now 100 ms): cpu · " in text, "no digit less: it holds from there"


@pytest.mark.parametrize(("name", "at"), [("max_accuracy_drop", 0.0), ("min_fidelity", 1.0)])
def test_an_answer_that_holds_as_far_as_a_limit_goes_is_no_change(tmp_path, name, at):
    change = make_sensitivity({})[1] | {"name": name, "at": at}
    assert "What would change" not in text_of(
        tmp_path / "page.html", recommendation_with(sensitivity=[change])
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_change_that_is_not_known_here_stands_as_the_decision_wrote_it(tmp_path, language):
    for more in ({"current": None}, {"kind": "weather"}, {"direction": "sideways"}):
        change = make_sensitivity({})[1] | more
        text = text_of(tmp_path / "page.html", recommendation_with(sensitivity=[change]), language)
        assert change["text"] in text


# --- One device for several models ----------------------------------------------------------------------


def test_a_set_names_its_device_its_choices_and_why_no_other(tmp_path):
    recommendation = make_recommendation(make_table())
    recommendation["sets"] = [make_set(recommendation)]
    text = text_of(tmp_path / "page.html", recommendation)
    assert "One device for several models" in text
    assert "cpu for all of them" in text
    assert "97% sure" in text
    recommendation["sets"] = [make_set(recommendation, tied=["gpu1", "gpu2"])]
    text = text_of(tmp_path / "page.html", recommendation)
    assert "It cannot be told apart from gpu1, gpu2." in text
    assert "gpu0: no combination of minilm was measured on it" in text


def test_a_set_that_no_device_fits_says_so(tmp_path):
    recommendation = make_recommendation(make_table())
    none = {"verdict": "none", "device": None, "probability_best": None, "choices": []}
    recommendation["sets"] = [make_set(recommendation, **none)]
    assert "No device fits all of them" in text_of(tmp_path / "page.html", recommendation)


def test_without_sets_there_is_no_heading_for_them(tmp_path):
    assert "One device for several" not in text_of(tmp_path / "page.html", make_recommendation(make_table()))


# --- Whatever the file holds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recommendation",
    [
        [],
        "text",
        {"models": "text"},
        {"models": [1, "text", None, {"chosen": "text", "tied": 3, "limits": ["met"], "launch": []}]},
        {
            "models": [
                {"verdict": "chosen", "chosen": {"batch_size": "many"}, "sensitivity": [{"kind": "limit"}]}
            ]
        },
        {"models": [{"constraints": 5, "weights": [1], "objective": None}], "sets": [{"models": 3}, None]},
        {"constraints": {"latency_p90_ms": {}}, "objective": {"throughput": "much"}, "sets": {}},
    ],
)
def test_a_recommendation_that_was_edited_makes_a_page_too(tmp_path, recommendation):
    assert "Hardware selection" in text_of(tmp_path / "page.html", recommendation)
