"""The table of what each optimization costs and saves, and a paper beside it, in a browser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwfit.break_even import with_break_even
from hwfit.report import write_report
from hwfit.report.numbers import MISSING, TIMES
from pages import until, wait_for_charts
from tables import make_inventories, make_plan, make_recommendation, make_table

PAPER = {"title": "A paper", "error_before": 0.0164, "error_after": 0.0158, "original_kb": 1070, "ratio": 40}
STEPS = [{"pass": "prune", "seconds": 2.0, "original_bytes": 1_724_320, "file_bytes": 43_108, "paper": PAPER}]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report whose int8 takes 27 s to compile and whose prune50 follows a paper."""
    table = make_table(models=("lenet-5", "minilm"), absent=(), runtimes=("torch", "mindspore")).astype(
        object
    )
    table["file_size_mb"] = np.where(table["optimization"] == "int8", 4.7, 18.6)
    table.loc[table["optimization"] == "int8", "first_call_ms"] = 27_000.0
    table.loc[table["optimization"] == "prune50", "artifact_s"] = 2.0
    lines = with_break_even(table.where(table.notna(), None).to_dict("records"))
    table["break_even_calls"] = [line["break_even_calls"] for line in lines]
    artifacts = {"cpu/torch/lenet-5/prune50/single_stream": STEPS}

    def write(language: str) -> Any:
        path = tmp_path_factory.mktemp("effects") / f"{language}.html"
        arguments = (table, make_recommendation(table), make_inventories(), make_plan(), path, language)
        write_report(*arguments, artifacts=artifacts)
        return path

    return write


def cells(page: Any, heading: str) -> list[str]:
    """The displayed cells of a column of the table's page."""
    headings = [text.strip() for text in page.locator("#effect-rows thead th").all_inner_texts()]
    found = page.locator(f"#effect-rows tbody tr > :nth-child({headings.index(heading) + 1})")
    return [text.strip() for text in found.all_inner_texts()]


def test_optimizations_are_sorted_filtered_and_stand_beside_a_paper(report, open_report):
    page = open_report(report("en"))
    wait_for_charts(page, "lenet-5")
    names = cells(page, "Optimization")
    assert names == sorted(names)
    assert "baseline" not in names
    heading = page.locator("#effect-rows thead th", has_text="Breaks even after")
    for order in ("ascending", "descending"):
        heading.locator("button, [tabindex='0']").first.click()
        # DataTables sorts a moment after the click.
        until(page, lambda order=order: heading.get_attribute("aria-sort") == order)
    calls = cells(page, "Breaks even after, calls")
    known = [int(text.replace(",", "")) for text in calls if text[0].isdigit()]
    assert known[0] > 1000
    assert known == sorted(known, reverse=True)
    page.get_by_role("button", name="int8", exact=True).click()
    assert set(cells(page, "Optimization")) == {"int8"}
    assert set(cells(page, "File size")) == {f"0.25{TIMES}"}
    assert page.locator("#block-papers").is_hidden()
    page.get_by_role("button", name="int8", exact=True).click()
    paper, measured = page.locator("#papers tbody tr").all()
    assert paper.locator("td").all_inner_texts()[3:] == [
        "1.64%",
        "1.58%",
        "1,070",
        MISSING,
        f"40.0{TIMES}",
        MISSING,
    ]
    assert measured.locator("td").all_inner_texts()[5:8] == ["1,720", "43.1", f"40.0{TIMES}"]
    assert page.locator("#paper-titles").inner_text() == "A paper"
    page.select_option("#chart-question", "minilm")
    wait_for_charts(page, "minilm")
    assert page.locator("#block-papers").is_hidden()


def test_on_a_phone_in_the_dark_it_scrolls_sideways_alone_and_axe_finds_nothing_serious(
    report, open_report, serious_faults
):
    page = open_report(report("zh"), scheme="dark", on_phone=True)
    wait_for_charts(page, "lenet-5")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious_faults(page) == []
