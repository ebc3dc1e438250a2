"""What a paper says of a method, beside what was measured here of the same.

A pass that follows a paper writes the paper's figures into its artifact's card: `paper`, with a "title" and,
as far as the paper has them, "error_before" and "error_after" (shares of the test data), "original_kb",
"compressed_kb" (1,000 bytes) and "ratio"; beside it "original_bytes" and "file_bytes" of what it made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hwfit.report import numbers
from hwfit.report.effects import times
from hwfit.report.language import Language
from hwfit.report.numbers import number

FIGURES = ("error_before", "error_after", "original_kb", "compressed_kb", "ratio")
# What the steps of a cell's artifact say of themselves, by the cell's path.
Artifacts = Mapping[str, list[Mapping[str, Any]]]


def paper_lines(rows: pd.DataFrame, artifacts: Artifacts, words: Language) -> list[dict[str, Any]]:
    """For each cell that follows a paper: who it is, the paper's title, and "lines" of texts: the paper's
    figures, then those measured here with the speedup over the batch sizes.
    """
    found = []
    compared = rows[rows["drawn"]]
    names = ["question", "device", "runtime", "optimization", "model", "scenario"]
    for values, group in compared.groupby(names, sort=False):
        who = dict(zip(names, map(str, values), strict=True))
        path = "/".join(who[name] for name in ("device", "runtime", "model", "optimization", "scenario"))
        step = next((s for s in artifacts.get(path, []) if isinstance(s.get("paper"), Mapping)), None)
        if step is None:
            continue
        paper = {name: number(step["paper"].get(name)) for name in FIGURES}
        here = measured(group, step)
        lines = [
            [words("papers.paper"), *written(paper), numbers.MISSING],
            [words("papers.measured"), *written(here), times(group["speedup"].dropna()) or numbers.MISSING],
        ]
        title = str(step["paper"].get("title") or "")
        found.append({name: who[name] for name in names[:4]} | {"title": title, "lines": lines})
    return found


def measured(group: pd.DataFrame, step: Mapping[str, Any]) -> dict[str, float | None]:
    """The same figures, of the rows of a cell; those of its accuracy are of the batch size that lost most."""
    judged = group[group["accuracy"].notna() & group["accuracy_drop"].notna()]
    worst = judged.loc[judged["accuracy"].idxmin()] if len(judged) else None
    file_mb = number(group["file_size_mb"].iloc[0])
    original, compressed = (number(step.get(name)) for name in ("original_bytes", "file_bytes"))
    compressed = compressed or (file_mb * 1e6 if file_mb else None)
    return {
        "error_before": None if worst is None else 1 - worst["accuracy"] - worst["accuracy_drop"],
        "error_after": None if worst is None else 1 - worst["accuracy"],
        "original_kb": original and original / 1e3,
        "compressed_kb": compressed and compressed / 1e3,
        "ratio": original / compressed if original and compressed else None,
    }


def written(figures: Mapping[str, float | None]) -> list[str]:
    """The figures as text, in order."""
    return [in_words(name, figures[name]) for name in FIGURES]


def in_words(name: str, value: float | None) -> str:
    """One figure as text: an error as a percentage, a ratio with its sign."""
    if value is None:
        return numbers.MISSING
    if name.startswith("error"):
        return numbers.share(float(f"{value:.3g}"))
    return numbers.figure(value) + (numbers.TIMES if name == "ratio" else "")
