"""A report in a browser: what it shows, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def marks(page: Any, chart: str) -> int:
    """How many points a chart shows."""
    return page.locator(f"#chart-{chart} svg .mark-symbol path").count()


def until(page: Any, condition: Callable[[], bool]) -> None:
    """Waits from outside: the page's policy lets nobody evaluate a condition within it."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        page.wait_for_timeout(30)


def wait_for_charts(page: Any, model: str) -> None:
    """Until the charts show a model; they are drawn after all else is ready."""
    until(page, lambda: page.evaluate("document.documentElement.dataset.drawn") == model)


def column(page: Any, name: str) -> list[str]:
    """The displayed cells of a column of the table's current page, by its heading."""
    headings = [text.strip() for text in page.locator("#rows thead th").all_inner_texts()]
    cells = page.locator(f"#rows tbody tr > :nth-child({headings.index(name) + 1})")
    return [text.strip() for text in cells.all_inner_texts()]
