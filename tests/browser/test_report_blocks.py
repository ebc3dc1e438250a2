"""The blocks of the report in a browser: roofs, energy, splits, sets, changes, print, and nonsense."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from hwfit.records import COLUMNS
from pages import marks, until, wait_for_charts
from tables import make_prices, make_row, make_sensitivity, make_set, make_table, with_energy_and_cost

DEVICES = {
    "left": {"accelerator": "cpu", "cores": [0], "runtimes": {"torch": "torch-cpu"}},
    "right": {"accelerator": "cpu", "cores": [1], "runtimes": {"torch": "torch-cpu"}},
    "pair": {"members": ["left", "right"]},
}


def say_all(recommendation: Any) -> None:
    """Make a recommendation say all that it may."""
    for entry in recommendation["models"]:
        entry["sensitivity"] = make_sensitivity(entry["runner_up"]) if entry["chosen"] else []
        entry["prices"] = make_prices()
    last = recommendation["models"][-1]
    last["constraints"] = {"latency_p90_ms": "50% of baseline", "min_fidelity": 0.95, "latency_p50_ms": 2.0}
    last |= {"objective": "mix", "weights": {"throughput": 0.7, "latency": 0.3}}
    recommendation["sets"] = [make_set(recommendation), make_set(recommendation, verdict="none", device=None)]


@pytest.fixture
def full_report(report_file):
    """The path of a report that has every block."""

    def write(language: str = "en"):
        table = with_energy_and_cost(make_table())
        plan = {"config": {}, "devices": {"cpu": {"price_per_hour": 2.0}}}
        return report_file(f"full-{language}", table, language, plan, say_all)

    return write


@pytest.mark.parametrize(
    ("language", "scheme", "on_phone"), [("en", "light", False), ("zh", "dark", True)], ids=["light", "zh"]
)
def test_axe_finds_no_serious_fault_in_a_report_that_has_every_block(
    full_report, open_report, serious_faults, language, scheme, on_phone
):
    page = open_report(full_report(language), scheme=scheme, on_phone=on_phone)
    page.select_option("#chart-question", "lenet-5")
    wait_for_charts(page, "lenet-5")
    for chart in ("roofline", "energy-package", "cost"):
        assert marks(page, chart) > 0, chart
    for summary in page.locator("summary").all():
        if summary.is_visible():
            summary.click()
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_roofline_has_the_roof_of_its_device_and_says_what_bounds_the_rows(report_file, open_report):
    page = open_report(report_file())
    wait_for_charts(page, "efficientnet-lite0")
    chart = page.locator("#chart-roofline svg")
    assert chart.locator(".mark-line path").count() == 1
    assert "cpu fp32: 143 GFLOP/s" in chart.text_content()
    assert "11.2 GB/s" in chart.text_content()
    assert "GFLOP/s" in page.locator("#bounds li").first.inner_text()
    page.select_option("#chart-question", "lenet-5")
    wait_for_charts(page, "lenet-5")
    assert marks(page, "roofline") > 0


def test_energy_and_cost_are_drawn_where_they_are_known_and_name_their_source(
    report_file, full_report, open_report
):
    page = open_report(full_report())
    wait_for_charts(page, "efficientnet-lite0")
    block = page.locator("#block-price")
    assert "Energy is that of counter:rapl (package)." in block.inner_text()
    assert "cpu costs $2.00 an hour: rented." in block.inner_text()
    card = page.locator("article.card").first
    card.get_by_text("What each device costs").click()
    assert "gpu0\ttorch · baseline" in card.locator("table").inner_text()
    page = open_report(report_file())
    wait_for_charts(page, "efficientnet-lite0")
    assert page.locator("#block-price").is_hidden()
    assert "Energy and power are empty on cpu" in page.locator("#verdict").inner_text()


def test_each_scope_of_energy_has_a_chart_of_its_own(report_file, open_report):
    table = with_energy_and_cost(make_table(models=("lenet-5",), devices=("cpu", "gpu1"), absent=()))
    on_gpu = table["device"] == "gpu1"
    table.loc[on_gpu & table["energy_scope"].notna(), ["energy_scope", "energy_source"]] = [
        "board",
        "counter:nvml",
    ]
    page = open_report(report_file("scopes", table))
    wait_for_charts(page, "lenet-5")
    drawn = {scope: marks(page, f"energy-{scope}") for scope in ("package", "board")}
    rows = table[table["valid"] & table["energy_j_per_sample"].notna()]
    # What is chosen is drawn once more, with a ring.
    picked = rows[rows["verdict"] == "chosen"]
    assert drawn == pd.concat([rows, picked])["energy_scope"].value_counts().to_dict()
    block = page.locator("#block-price").inner_text()
    assert "Energy, J/sample: the board" in block
    assert "do not compare energy across them" in block
    cells = [row.locator("td").all_inner_texts() for row in page.locator("#energy-meters tbody tr").all()]
    assert {tuple(cell[:2]) for cell in cells} == {
        ("counter:rapl", "processor and memory"),
        ("counter:nvml", "the board"),
    }


def test_split_batches_have_a_block_of_their_own_with_their_scaling_efficiency(report_file, open_report):
    def row(device: str, runtime: str, batch_size: int, rate: float) -> dict[str, Any]:
        ends = {
            "throughput_ci_low_samples_per_s": rate * 0.99,
            "throughput_ci_high_samples_per_s": rate * 1.01,
        }
        made = make_row("lenet-5", device, runtime, "baseline", batch_size) | {"valid": True, "flags": ""}
        return made | ends | {"throughput_samples_per_s": rate, "verdict": "dominated"}

    rates = {1: (100, 100, 80), 64: (120, 100, 198)}
    rows = [
        row(*names, size, rate)
        for size, each in rates.items()
        for names, rate in zip([("left", "torch"), ("right", "torch"), ("pair", "split")], each, strict=True)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    page = open_report(report_file("splits", table, plan={"devices": DEVICES}))
    wait_for_charts(page, "lenet-5")
    block = page.locator("#block-splits")
    assert "Parallel and heterogeneous" in block.inner_text()
    cells = [row.locator("td").all_inner_texts() for row in block.locator("tbody tr").all()]
    assert [cell[2] for cell in cells] == ["1", "64"]
    assert cells[1][4] == "left · torch"
    assert cells[1][-1] == "90%"
    page.get_by_role("button", name="split", exact=True).click()
    assert block.is_visible()
    page = open_report(report_file())
    wait_for_charts(page, "efficientnet-lite0")
    assert page.locator("#block-splits").is_hidden()


def test_changes_of_an_answer_fold_by_keyboard_and_sets_follow_the_models(full_report, open_report):
    page = open_report(full_report())
    changes = page.locator(".card .changes").first
    assert changes.locator("> ul > li").count() == 3
    assert "Its accuracy may fall" not in changes.inner_text()
    more = changes.locator("details summary")
    more.focus()
    page.keyboard.press("Enter")
    assert "Its accuracy may fall" in changes.inner_text()
    fold = changes.locator("> summary")
    fold.focus()
    page.keyboard.press("Enter")
    assert not changes.locator("> ul").is_visible()
    chosen, none = page.locator(".card.set").all()
    assert "cpu for all of them" in chosen.inner_text()
    assert "No device fits" in none.inner_text()


def test_limits_are_those_of_the_question_shown(full_report, open_report):
    page = open_report(full_report())
    wait_for_charts(page, "efficientnet-lite0")
    rules = page.locator("#chart-pareto svg .mark-rule line[stroke-dasharray]")
    assert rules.count() == 0, "its only limit on a latency is one on the 90th percentile"
    page.select_option("#chart-question", "lenet-5")
    wait_for_charts(page, "lenet-5")
    until(page, lambda: rules.count() == 1)


def test_what_is_provisional_is_not_called_chosen_in_the_charts(report_file, open_report):
    def doubt(recommendation: Any) -> None:
        for entry in recommendation["models"]:
            entry["verdict"] = "provisional"

    table = make_table(models=("lenet-5",))
    answered = table.copy()
    table.loc[table["verdict"] == "chosen", "verdict"] = "unproven"
    page = open_report(report_file("provisional", table, change=doubt, answered=answered))
    wait_for_charts(page, "lenet-5")
    text = page.locator("#chart-pareto svg").text_content()
    assert "provisional" in text
    assert "chosen" not in text


def test_everything_can_be_reached_by_keyboard(report_file, open_report):
    page = open_report(report_file())
    wait_for_charts(page, "efficientnet-lite0")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    seen = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "(() => { const at = document.activeElement; return at.dataset.column ?? at.id ?? ''; })()"
            )
            or page.evaluate("document.activeElement.className")
        )
    assert {"chart-question", "device", "runtime", "optimization", "status", "open-row"} <= seen


def test_a_heading_of_the_table_sorts_by_keyboard(report_file, open_report):
    page = open_report(report_file())
    heading = page.locator("#rows th", has_text="Throughput").locator("[tabindex='0'], button").first
    heading.focus()
    page.keyboard.press("Enter")
    until(page, lambda: page.locator("#rows th[aria-sort]").count() == 1)
    assert "Throughput" in page.locator("#rows th[aria-sort]").inner_text()


def test_files_beside_the_page_are_linked_and_a_row_names_its_own_in_the_archive(report_file, open_report):
    page = open_report(report_file())
    link = page.get_by_role("link", name="measurements.zip")
    assert link.get_attribute("href") == "measurements.zip"
    assert "order.csv" in page.locator(".downloads").inner_text()
    page.locator(".open-row").first.click()
    details = page.locator(".row-details").inner_text()
    assert (
        "unzip measurements.zip 'profiles/cpu/torch/efficientnet-lite0/bf16/single_stream/round*/bs"
        in details
    )
    assert "'attempts/cpu/torch/efficientnet-lite0/bf16/single_stream/round*.jsonl'" in details


def test_it_prints_without_controls_and_with_all_that_is_folded(full_report, open_report, tmp_path):
    page = open_report(full_report(), scheme="dark")
    wait_for_charts(page, "efficientnet-lite0")
    page.emulate_media(media="print")
    for name in ("nav", ".table-filters", ".dt-search", ".dt-buttons"):
        assert page.locator(name).first.is_hidden(), name
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    path = tmp_path / "report.pdf"
    path.write_bytes(page.pdf(prefer_css_page_size=True))
    assert path.read_bytes().startswith(b"%PDF")
    assert path.stat().st_size > 50_000


@pytest.mark.parametrize("value", ["inf", "-5", "0", "1e999", "garbage", "1e308", "4.9e-324"])
def test_figures_edited_by_hand_open_quietly(report_file, open_report, value):
    table = with_energy_and_cost(make_table(models=("lenet-5",), absent=()))
    edited = table.astype(object)
    for column in list(COLUMNS)[list(COLUMNS).index("latency_p50_ms") :]:
        edited.loc[3, column] = value
    page = open_report(report_file(f"edited-{value}", edited, answered=table))
    wait_for_charts(page, "lenet-5")
    assert marks(page, "pareto") > 0
    assert marks(page, "roofline") > 0


def test_where_nothing_can_be_trusted_it_says_so(report_file, open_report):
    table = make_table(models=("lenet-5",)).assign(valid=False, verdict="rejected", reason="drift")
    page = open_report(report_file("distrusted", table))
    text = page.locator("main").inner_text()
    assert "can be trusted, so there is no answer" in text
    assert "There is nothing to draw" in text
