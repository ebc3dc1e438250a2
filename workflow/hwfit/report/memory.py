"""What memory went to, and how near the prediction was: a line a cell, at its largest measured batch size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.numbers import number

CELL = ["model", "device", "runtime", "optimization", "scenario"]
# What a peak is made of, from what was there first.
PARTS = {"framework": "framework_memory_mb", "weights": "model_size_mb", "working": "working_memory_mb"}
# More lines than this nobody reads; all of them are in the table.
MOST_LINES = 40


@dataclass(frozen=True)
class MemoryLine:
    """One line: what it is of, its figures as text, and the parts' widths in percent of the widest line."""

    names: list[str]
    batch_size: str
    figures: list[str]
    widths: Mapping[str, float]


def memory_section(rows: pd.DataFrame, words: Language) -> dict[str, Any] | None:
    """Sentences and lines on memory; None where no row has a peak."""
    known = rows["peak_memory_mb"].gt(0) & rows["batch_size"].notna()
    measured = rows[(rows["status"] == "ok") & known]
    sentences = [sentence for sentence in (prediction(measured, words), short(rows, words)) if sentence]
    if measured.empty:
        return {"sentences": sentences, "lines": [], "more": 0} if sentences else None
    largest = measured.loc[measured.groupby(CELL, sort=False)["batch_size"].idxmax()]
    largest = largest.sort_values(CELL, kind="stable")
    widest = float(largest["peak_memory_mb"].max())
    lines = [line(row, widest) for row in largest.head(MOST_LINES).to_dict("records")]
    return {"sentences": sentences, "lines": lines, "more": max(0, len(largest) - MOST_LINES)}


def line(row: Mapping[Any, Any], widest: float) -> MemoryLine:
    """A row as its line."""
    peak, predicted = number(row["peak_memory_mb"]), number(row["predicted_memory_mb"])
    parts = {name: number(row[column]) for name, column in PARTS.items()}
    off = None if predicted is None or not peak else predicted / peak - 1
    shown = [numbers.figure(value) for value in (*parts.values(), peak, predicted)]
    # Parts that do not add up (weights that are mapped and not read) would draw more than there is.
    drawn = parts if parts["working"] is not None else {"working": peak}
    return MemoryLine(
        [str(row[name]) for name in ("model", "device", "runtime", "optimization")],
        numbers.count(row["batch_size"]),
        [*shown, numbers.MISSING if off is None else f"{off:+.0%}".replace("-", numbers.MINUS)],
        {name: 100 * (value or 0.0) / widest for name, value in drawn.items()},
    )


def prediction(measured: pd.DataFrame, words: Language) -> Markup | None:
    """How far predictions were off, where there are some."""
    known = measured[measured["predicted_memory_mb"].notna()]
    if known.empty:
        return None
    errors = np.abs(known["predicted_memory_mb"] / known["peak_memory_mb"] - 1)
    median, worst = f"{errors.median():.0%}", f"{errors.max():.0%}"
    return words("memory.prediction", count=len(known), median=median, worst=worst)


def short(rows: pd.DataFrame, words: Language) -> Markup | None:
    """How many rows were predicted not to fit, and what came of them; None where all were to fit."""
    doubtful = rows[rows["flags"].str.split().map(lambda flags: "memory_short" in flags)]
    if doubtful.empty:
        return None
    # What is larger than one that ran out of memory is not tried.
    ended = doubtful["status"].isin(("oom", "skipped")).sum()
    return words("memory.short", count=len(doubtful), ended=int(ended))
