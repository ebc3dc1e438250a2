"""Training in a browser: heat maps and tables, and the curves of the panel that is shown."""

from __future__ import annotations

from typing import Any

import pytest

from hwfit.report import write_report
from pages import until
from tables import make_inventories, make_plan, make_recommendation, make_table
from trainings import make_report_inputs


@pytest.fixture(scope="module")
def trained_report(tmp_path_factory):
    """The path of a report of a study that trains in two runtimes."""
    directory = tmp_path_factory.mktemp("trained")

    def write(language: str = "en", **study: Any):
        path = directory / f"{language}.html"
        training, answers = make_report_inputs(runtimes=None, seeds=[0, 1, 2], **study)
        table = make_table(models=("lenet-5",))
        recommendation = make_recommendation(table) | answers
        write_report(
            table, recommendation, make_inventories(), make_plan(), path, language, training=training
        )
        return path

    return write


def drawn(page: Any, panel: int) -> None:
    until(page, lambda: page.get_attribute("#figure-training", "data-drawn") == str(panel))


@pytest.mark.parametrize(
    ("language", "scheme", "on_phone"), [("en", "light", False), ("zh", "dark", True)], ids=["light", "zh"]
)
def test_axe_finds_no_serious_fault_in_training(
    trained_report, open_report, serious_faults, language, scheme, on_phone
):
    page = open_report(trained_report(language), scheme=scheme, on_phone=on_phone)
    drawn(page, 0)
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_panel_shows_its_heat_maps_and_its_curves(trained_report, open_report):
    page = open_report(trained_report())
    drawn(page, 0)
    assert page.locator(".training-panel:visible").count() == 1
    assert page.locator(".training-panel:visible table.heat").count() == 2
    assert page.locator(".training-panel:visible td.diverged").count() > 0
    assert page.locator("#chart-training svg .mark-line path").count() > 3
    page.select_option("#training-panel", "1")
    drawn(page, 1)
    assert "tensorflow" in page.locator(".training-panel:visible h3").inner_text()
