"""The hardware-selection report: one HTML file that answers, says how surely, and shows why not the others.

`inputs.py` reads what a run left behind, `table.py` prepares the rows, `verdicts.py`, `sets.py`,
`effects.py` with `reasons.py` and `papers.py`, `energy.py`, `training.py`, `findings.py`, `prices.py`,
`splits.py`, `bounds.py` and `provenance.py` put them into words, `charts.py` and `training_chart.py` describe
the charts, `page.py` puts all of it into one file that needs no network. What a reader sees is text in
`text/<language>.yaml`, in the page's .html, .css and .js files; nothing of it is in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hwfit.records import write_bytes
from hwfit.report.answers import readable
from hwfit.report.energy import Absences
from hwfit.report.language import LANGUAGES, Language
from hwfit.report.page import Surroundings, render
from hwfit.report.papers import Artifacts
from hwfit.report.prices import currency_of
from hwfit.report.provenance import Contexts
from hwfit.report.table import prepare
from hwfit.report.training import Training

__all__ = ["LANGUAGES", "write_report"]


def write_report(
    table: pd.DataFrame,
    recommendation: Mapping[str, Any],
    inventories: Mapping[str, Mapping[str, Any]],
    plan: Mapping[str, Any],
    path: Path | str,
    language: str = "en",
    *,
    environments: Mapping[str, Any] | None = None,
    contexts: Contexts | None = None,
    artifacts: Artifacts | None = None,
    absences: Absences | None = None,
    downloads: Sequence[str] = (),
    problems: Sequence[str] = (),
    training: Training | None = None,
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
    environments : what is known of each environment that a runtime ran in, by its name
    contexts : the conditions that the rows were measured under, see `provenance.count_facts`
    artifacts : what the steps of an artifact say of themselves, by the path of the cell that used it
    absences : of each device the power meters that cannot be read, with the reason of each
    downloads : names of files that lie beside the report
    problems : what could not be read of the files that the rest comes from
    training : the configurations of training with their curves, where the study trains

    Raises
    ------
    ValueError : the language is not one of `LANGUAGES`
    """
    answers = readable(recommendation)
    rows = prepare(table, answers)
    words = Language(language, currency_of(rows))
    around = Surroundings(
        inventories,
        plan,
        environments or {},
        contexts or {},
        artifacts or {},
        absences or {},
        downloads,
        problems,
        training,
    )
    write_bytes(path, render(rows, answers, around, words).encode())
