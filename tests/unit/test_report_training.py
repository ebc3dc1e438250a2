"""What the report says of training: answers, divergence as divergence, and the best in figures."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from hwfit.report import page, write_report
from hwfit.report.language import Language
from hwfit.report.training import curve_data, section
from tables import make_inventories, make_plan, make_recommendation, make_table
from trainings import empty_combinations, make_report_inputs


@pytest.fixture(autouse=True)
def no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries take seconds to bundle, and only the browser needs them."""
    monkeypatch.setattr(page, "vega_script", lambda: "/* vega */")


def told(language: str = "en", **study: Any) -> dict[str, Any]:
    training, answers = make_report_inputs(**study)
    found = section(training, answers, Language(language))
    assert found is not None
    return found


def cells(found: dict[str, Any], optimizer: str) -> dict[tuple[str, str], dict[str, Any]]:
    (heat,) = [heat for panel in found["panels"] for heat in panel["maps"] if heat["optimizer"] == optimizer]
    return {
        (rate, size): cell
        for rate, line in heat["lines"]
        for size, cell in zip(heat["sizes"], line, strict=True)
    }


def test_a_cell_is_the_time_to_the_target_the_stronger_the_sooner():
    found = cells(told(), "sgd")
    timed = {place: cell for place, cell in found.items() if cell["strength"]}
    assert len(timed) >= 2
    ranked = sorted(timed.values(), key=lambda cell: float(cell["text"]))
    strengths = [cell["strength"] for cell in ranked]
    assert strengths == sorted(strengths, reverse=True)


def test_divergence_is_shown_as_divergence():
    cell = cells(told(), "adam")["1", "16"]
    assert (cell["text"], cell["kind"], cell["strength"]) == ("diverged", "diverged", 0)
    assert "no number" in cell["note"]


def test_where_the_target_was_not_reached_the_best_accuracy_stands_in_its_place():
    found = cells(told(target_accuracy=0.99), "sgd")
    assert all(cell["text"].endswith("%") for cell in found.values() if cell["kind"] == "not_reached")
    assert not any(cell["strength"] for cell in found.values())


def test_a_target_that_some_seeds_reached_says_how_many():
    training, answers = make_report_inputs(seeds=[0, 1, 2])
    row = training.configurations.index[training.configurations["verdict"] == "dominated"][0]
    training.configurations.loc[row, ["verdict", "seeds_reached"]] = ["unreliable", 2]
    found = section(training, answers, Language("en"))
    texts = [
        cell["text"]
        for panel in found["panels"]
        for heat in panel["maps"]
        for _, line in heat["lines"]
        for cell in line
    ]
    assert sum(text.endswith("(2/3)") for text in texts) == 1


def test_the_card_names_the_triple_and_the_linear_scaling_rule():
    (card,) = told(seeds=[0, 1, 2])["cards"]
    assert re.search(r"learning rate <b>[\d.]+</b>, batch size <b>\d+</b>", card["headline"])
    assert any("linear scaling says" in sentence for sentence in card["scaling"])
    assert "reached by 3 of 3 seeds" in [note for _, _, note in card["figures"]]


def test_where_nothing_reaches_the_target_the_card_says_so():
    (card,) = told(target_accuracy=0.99)["cards"]
    assert card["verdict"] == "none"
    assert "99%" in card["headline"]
    assert card["figures"] == []


def test_runtimes_and_precisions_have_panels_of_their_own():
    found = told(runtimes=None, precisions=["fp32", "bf16"])
    assert [panel["name"] for panel in found["panels"]] == [
        f"net · cpu · {runtime} · {precision}"
        for runtime in ("torch", "tensorflow")
        for precision in ("fp32", "bf16")
    ]


def test_curves_rise_over_the_time_trained():
    training, _ = make_report_inputs()
    (drawn,) = curve_data(training)
    runs = {point["run"] for point in drawn["points"]}
    assert len(runs) > 3
    for run in runs:
        seconds = [point["seconds"] for point in drawn["points"] if point["run"] == run]
        assert seconds == sorted(seconds)
    assert drawn["target"] == 0.9


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_has_the_section_in_its_language(tmp_path, language):
    training, answers = make_report_inputs()
    table = make_table(models=("lenet-5",))
    path = tmp_path / "report.html"
    recommendation = make_recommendation(table) | answers
    write_report(table, recommendation, make_inventories(), make_plan(), path, language, training=training)
    html = path.read_text()
    assert f'<h2 id="training-title">{Language(language)("training.title")}</h2>' in html
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])
    assert len(data["training"]["panels"]) == 1


def test_a_study_that_does_not_train_has_no_such_section(tmp_path):
    table = make_table(models=("lenet-5",))
    path = tmp_path / "report.html"
    write_report(table, make_recommendation(table), make_inventories(), make_plan(), path)
    assert 'id="training"' not in path.read_text()


def test_a_study_that_only_trains_has_a_report(tmp_path):
    training, answers = make_report_inputs()
    table = empty_combinations()
    path = tmp_path / "report.html"
    write_report(table, make_recommendation(table) | answers, {}, make_plan(), path, training=training)
    html = path.read_text()
    assert 'id="training"' in html
    assert Language("en")("nothing_measured") not in html
