"""The hardware-selection report: one HTML file that answers, says how surely, and shows why not the others.

`table.py` prepares the rows, `verdicts.py` and `findings.py` put them into words, `charts.py` describes
the charts, `page.py` puts all of it into one file that needs no network. What a reader sees is text in
`text/<language>.yaml`, `report.html`, `report.css` and `report.js`; nothing of it is in Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hwfit.records import write_bytes
from hwfit.report.language import LANGUAGES, Language
from hwfit.report.page import render
from hwfit.report.table import prepare

__all__ = ["LANGUAGES", "write_report"]


def write_report(
    table: pd.DataFrame,
    recommendation: Mapping[str, Any],
    inventories: Mapping[str, Mapping[str, Any]],
    plan: Mapping[str, Any],
    path: Path | str,
    language: str = "en",
) -> None:
    """Write the report, atomically. The same input gives the same bytes.

    Parameters
    ----------
    table : a row a combination, with the columns of `records.COLUMNS`; empty cells are NaN
    recommendation : what `recommendation.json` holds
    inventories : the inventory of each device, by its name; any key may be missing
    plan : {"config": the resolved config, …}
    path : the HTML file
    language : one of `LANGUAGES`

    Raises
    ------
    ValueError : the language is not one of `LANGUAGES`
    """
    words = Language(language)
    rows = prepare(table, recommendation)
    write_bytes(path, render(rows, recommendation, inventories, plan, words).encode())
