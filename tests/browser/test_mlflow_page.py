"""MLflow's own UI, opened at the page that `make ui` names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hwfit.tracking import find_page
from hwfit.tracking.view import CURVES_SECTION
from tracked import EXPERIMENT, Server, Sweep, small_table

HEADINGS = ("model", "runtime", "optimization", "batch_size", "status", "verdict", "throughput_samples_per_s")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    directory = tmp_path_factory.mktemp("tracked")
    table = small_table(optimizations=("baseline", "bf16"), batch_sizes=(1, 8, 32))
    made = Sweep(directory, table)
    made.log()
    return made


@pytest.fixture(scope="module")
def server(sweep: Sweep) -> Iterator[Server]:
    with Server(sweep.directory) as server:
        yield server


@pytest.fixture
def open_page(chromium: Any, server: Server, sweep: Sweep) -> Iterator[Any]:
    """Opens a page of the UI, by what follows the server's address."""
    context = chromium.new_context(viewport={"width": 2600, "height": 1400})

    def open_page(address: str) -> Any:
        page = context.new_page()
        page.goto(f"{server.address}/{address}")
        return page

    yield open_page
    context.close()


def test_the_table_shows_the_columns_that_matter_the_fastest_first(open_page, sweep):
    page = open_page(find_page(sweep.uri, EXPERIMENT, "default", "mine"))
    for name in HEADINGS:
        page.locator(".ag-header-cell", has_text=name).first.wait_for(timeout=60_000)
    best = sweep.table.sort_values("throughput_samples_per_s").iloc[-1]
    first = page.locator(".ag-center-cols-container .ag-row[row-index='0']")
    first.get_by_text(best["runtime"], exact=True).wait_for()
    first.get_by_text(best["verdict"], exact=True).wait_for()


def test_the_curves_of_a_model_are_drawn_over_batch_size(open_page, sweep):
    tags = sweep.experiment().tags
    (key,) = [name.partition("State.")[2] for name, value in tags.items() if '"groupBy"' in value]
    page = open_page(
        f"#/experiments/{sweep.experiment().experiment_id}/runs?viewStateShareKey={key}&compareRunsMode=CHART"
    )
    page.get_by_text(CURVES_SECTION).first.wait_for(timeout=60_000)
    # A line through the points of three batch sizes.
    page.wait_for_function(
        "[...document.querySelectorAll('.js-plotly-plot .js-line')]"
        ".some(line => line.getAttribute('d').split(/[ML]/).length == 4)",
        timeout=60_000,
    )
    for cell in {run.data.tags["cell"] for run in sweep.children().values()}:
        assert page.get_by_text(f"{cell} (throughput_samples_per_s)").count() >= 1, cell
