"""A real Chromium, offline, that fails a test on any console message, page error or request."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hwfit.report import write_report
from tables import (
    as_csv_reads_it,
    make_contexts,
    make_environments,
    make_inventories,
    make_plan,
    make_recommendation,
    make_table,
)

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


def lacking(what: str) -> None:
    """Skip for what the machine lacks, or fail where it is required."""
    if "chromium" in os.environ.get("HWFIT_REQUIRE", "").split(","):
        pytest.fail(f"HWFIT_REQUIRE names chromium: {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        lacking("no chromium on the PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def open_report(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens a report and waits until it is ready; at the end nothing may have been said or asked for."""
    contexts, complaints = [], []

    def complain_of_request(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            complaints.append(f"request: {request.url}")

    def open_page(path: Path, *, scheme: str = "light", on_phone: bool = False) -> Any:
        size = PHONE if on_phone else DESK
        context = chromium.new_context(
            offline=True, color_scheme=scheme, viewport=size, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", complain_of_request)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a report of a table as it comes from combinations.csv."""
    directory = tmp_path_factory.mktemp("reports")

    def write(
        name: str = "default",
        table: Any = None,
        language: str = "en",
        plan: Any = None,
        change: Callable[[Any], None] = lambda recommendation: None,
        answered: Any = None,
        **recommendation: Any,
    ) -> Path:
        path = directory / f"{name}.html"
        if not path.exists():
            read = as_csv_reads_it(make_table() if table is None else table, directory / f"{name}.csv")
            recommended = make_recommendation(read if answered is None else answered, **recommendation)
            change(recommended)
            write_report(
                read,
                recommended,
                make_inventories(),
                plan or make_plan(),
                path,
                language,
                environments=make_environments(),
                contexts=make_contexts(),
                downloads=("combinations.csv", "recommendation.json", "measurements.zip"),
            )
        return path

    return write


@pytest.fixture
def serious_faults() -> Callable[[Any], list[Any]]:
    """What axe-core finds serious or critical on a page, with the elements it is about."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        lacking("axe-playwright-python is not installed")

    def find(page: Any) -> list[Any]:
        return [
            (fault["id"], [node["html"][:200] for node in fault["nodes"]])
            for fault in Axe().run(page).response["violations"]
            if fault["impact"] in ("serious", "critical")
        ]

    return find
