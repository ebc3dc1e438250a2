"""The report as a person meets it: in a browser, with a keyboard, on a phone, in the dark."""

from __future__ import annotations

import io
import time
from typing import Any

import pandas as pd
import pytest

from hwfit.records import COLUMNS
from hwfit.report.numbers import MISSING
from pages import column, marks, until, wait_for_charts
from tables import make_row, make_table, make_verdict

EVIL = "<img src=x onerror=alert(1)>"
CHARTS = ("pareto", "throughput", "latency", "speedup", "lost", "accuracy", "fidelity", "roofline")


def is_sorted(cells: list[str], is_descending: bool) -> bool:
    values = [float(cell.replace(",", "")) for cell in cells]
    return values == sorted(values, reverse=is_descending) and len(set(values)) > 1


def choose(page: Any, name: str, value: str) -> None:
    page.locator(f'.table-filters select[data-column="{name}"]').select_option(value)


@pytest.mark.parametrize(
    ("language", "scheme", "on_phone"),
    [("en", "light", False), ("en", "dark", False), ("en", "light", True), ("zh", "dark", True)],
    ids=["light", "dark", "phone", "zh-phone"],
)
def test_it_opens_quietly_and_draws_within_the_width(report_file, open_report, language, scheme, on_phone):
    page = open_report(report_file(language, language=language), scheme=scheme, on_phone=on_phone)
    page.select_option("#chart-question", "lenet-5")
    wait_for_charts(page, "lenet-5")
    for chart in CHARTS:
        assert marks(page, chart) > 0, chart
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".card .headline").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(report_file, open_report, serious_faults, scheme):
    page = open_report(report_file(), scheme=scheme)
    wait_for_charts(page, "efficientnet-lite0")
    page.locator("summary").first.click()
    page.locator(".open-row").first.click()
    page.get_by_role("button", name="torch", exact=True).click()
    page.get_by_role("button", name="Columns").click()
    page.locator(".dt-button-collection").wait_for()
    page.wait_for_timeout(500)  # the menu fades in, and half-faded text has no contrast
    assert serious_faults(page) == []


def test_filters_change_what_the_charts_and_sentences_show(report_file, open_report):
    page = open_report(report_file())
    wait_for_charts(page, "efficientnet-lite0")
    everything = marks(page, "pareto")
    chip = page.get_by_role("button", name="torch", exact=True)
    chip.focus()
    page.keyboard.press("Enter")
    until(page, lambda: marks(page, "pareto") < everything)
    assert chip.get_attribute("aria-pressed") == "true"
    assert all("with torch" in text for text in page.locator("#effects li").all_inner_texts())
    chip.click()
    until(page, lambda: marks(page, "pareto") == everything)

    assert page.locator("#figure-accuracy").is_hidden(), "this model has no labelled data"
    page.select_option("#chart-question", "lenet-5")
    wait_for_charts(page, "lenet-5")
    assert marks(page, "accuracy") > 0


def test_filter_search_and_sort_change_the_table(report_file, open_report):
    page = open_report(report_file())
    choose(page, "model", "minilm")
    choose(page, "verdict", "rejected")
    assert set(column(page, "Model")) == {"minilm"}
    assert set(column(page, "Verdict")) == {"rejected"}

    rate = page.locator("#rows th", has_text="Throughput")
    for is_descending in (False, True):
        rate.click()
        until(page, lambda: is_sorted(column(page, "Throughput, samples/s"), is_descending))  # noqa: B023

    page.get_by_role("searchbox").fill("mindspore")
    assert set(column(page, "Runtime")) == {"mindspore"}
    page.get_by_role("searchbox").fill("nothing is called so")
    assert page.locator("#rows tbody").inner_text().strip() == "No row matches."


def test_the_csv_holds_the_rows_that_are_shown_with_every_column(report_file, open_report):
    table = make_table()
    page = open_report(report_file())
    choose(page, "runtime", "torch")
    choose(page, "status", "ok")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "combinations.csv"
    got = pd.read_csv(io.BytesIO(download.value.path().read_bytes()))
    assert set(got.columns) == set(COLUMNS)
    key = ["model", "device", "runtime", "optimization", "scenario", "batch_size"]
    wanted = table[(table["runtime"] == "torch") & (table["status"] == "ok")]
    got, wanted = (rows.sort_values(key).reset_index(drop=True) for rows in (got, wanted))
    assert got[key].values.tolist() == wanted[key].values.tolist()
    for name in ("latency_p50_ms", "throughput_samples_per_s", "fidelity", "accuracy"):
        pd.testing.assert_series_equal(got[name], wanted[name].astype(float), rtol=1e-5, check_dtype=False)


def test_a_row_opens_to_all_it_knows_and_to_the_command_that_repeats_it(report_file, open_report):
    page = open_report(report_file())
    button = page.locator(".open-row").first
    button.focus()
    page.keyboard.press("Enter")
    details = page.locator(".row-details")
    assert "results/profiles/cpu/torch/efficientnet-lite0/bf16/single_stream/" in details.inner_text()
    assert "Runtime version" in details.inner_text()
    assert button.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Enter")
    assert details.count() == 0


def test_a_card_leads_to_its_models_charts_and_rows(report_file, open_report):
    page = open_report(report_file())
    card = page.locator(".card", has_text="minilm")
    card.get_by_role("link", name="Charts").click()
    assert page.locator("#chart-question").input_value() == "minilm"
    card.get_by_role("link", name="All rows").click()
    assert set(column(page, "Model")) == {"minilm"}


def test_names_from_edited_records_stay_text(report_file, open_report, tmp_path):
    table = make_table(models=("lenet-5", EVIL), absent=())
    for name in ("device_name", "reason", "flags", "energy_source", "runtime_version"):
        table[name] = EVIL.replace(" ", "/") if name == "flags" else EVIL
    for name in ("device", "runtime", "optimization"):
        table.loc[table["model"] == EVIL, name] = table[name] + EVIL
    table.loc[table["batch_size"] == 32, ["status", "verdict"]] = f"</script><script>alert(2)</script>{EVIL}"
    path = report_file("evil", table, sweep=f"</title>{EVIL}", hwfit_version=EVIL, generated_at=EVIL)
    page = open_report(path)
    page.select_option("#chart-question", EVIL)
    wait_for_charts(page, EVIL)
    page.locator("#chart-pareto .mark-symbol path").first.hover()
    page.locator("#vg-tooltip-element.visible").wait_for()
    choose(page, "model", EVIL)
    page.locator(".open-row").first.click()
    assert page.locator("img").count() == 0
    assert EVIL in page.title()
    assert EVIL in page.locator(".row-details").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert EVIL in set(pd.read_csv(io.BytesIO(download.value.path().read_bytes()))["model"])


def test_ten_thousand_rows_stay_small_and_open_soon(report_file, open_report, record_property):
    batch_sizes = tuple(range(1, 35))
    table = make_table(
        models=tuple(f"model-{i}" for i in range(10)),
        devices=("cpu", "tpu0"),
        optimizations=("baseline", "bf16", "int8", "prune50", "layout"),
        batch_sizes=batch_sizes,
    )
    table = table.head(10_000)
    assert len(table) == 10_000
    path = report_file("large", table)
    started = time.perf_counter()
    page = open_report(path)
    seconds = time.perf_counter() - started
    wait_for_charts(page, "model-0")
    drawn = time.perf_counter() - started
    size = path.stat().st_size
    record_property("ready_seconds", seconds)
    record_property("drawn_seconds", drawn)
    record_property("megabytes", size / 1e6)
    print(f"10,000 rows: {size / 1e6:.1f} MB, ready after {seconds:.1f} s, drawn after {drawn:.1f} s")
    assert size < 10e6
    assert seconds < 20
    assert "of 10,000" in page.locator("#table .dt-info").inner_text()


def test_with_nothing_measured_it_still_says_why(report_file, open_report):
    table = make_table(devices=(), absent=("gpu0",))
    page = open_report(report_file("nothing", table))
    text = page.locator("main").inner_text()
    assert "Nothing was measured" in text
    assert "no NVIDIA driver" in page.locator("#coverage").inner_text()
    assert len(column(page, "Status")) == 25


def test_an_empty_table_makes_a_page_too(report_file, open_report):
    page = open_report(report_file("empty", make_table(models=())))
    assert "There are no rows." in page.locator("#rows").inner_text()


def test_a_tie_a_provisional_choice_and_none_are_told(report_file, open_report):
    table = make_table()
    verdicts = {model: make_verdict(rows) for model, rows in table.groupby("model", sort=False)}
    rows = [verdicts["minilm"]["chosen"], verdicts["minilm"]["runner_up"]]
    provisional = verdicts["efficientnet-lite0"] | {"verdict": "provisional"}
    provisional["chosen"] = provisional["chosen"] | {"reason": "p90 is unproven"}
    models = [
        provisional,
        verdicts["minilm"] | {"tied": rows, "probability_best": None, "margin": None},
        make_verdict(table[(table["model"] == "lenet-5") & (table["verdict"] == "rejected")]),
    ]
    page = open_report(report_file("verdicts", table, models=models))
    provisional, tie, none = (card.inner_text() for card in page.locator(".card").all())
    assert "Provisional" in provisional
    assert "p90 is unproven." in provisional
    assert "cannot be told apart from 2 others" in tie
    assert "Nothing fits the limits" in none
    assert "fidelity 0.97" in none, "the reason of the nearest miss"


def test_a_single_row_without_most_figures_is_drawn(report_file, open_report):
    row = make_row("lenet-5", "cpu", "torch", "baseline", 1)
    for name in ("latency_p50_ci_low_ms", "latency_p50_ci_high_ms", "fidelity", "accuracy", "accuracy_drop"):
        row[name] = None
    page = open_report(
        report_file("single", pd.DataFrame([row | {"verdict": "chosen"}], columns=list(COLUMNS)))
    )
    wait_for_charts(page, "lenet-5")
    assert marks(page, "pareto") >= 1
    assert page.locator("#block-effects").is_hidden()
    assert MISSING in column(page, "Fidelity")
