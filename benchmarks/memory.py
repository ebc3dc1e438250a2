"""Predicted peak memory beside the measured one: every zoo model in every runtime, at three batch sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.project import LENGTHS, RUNTIMES, Project
from hwfit.catalog import ZOO
from hwfit.layout import inventory_file
from hwfit.records import DEFAULT_SCENARIO, Cell, read_json

BATCH_SIZES = [1, 8, 32]
# A model is large that takes more than this share of its process's memory.
LARGE_SHARE = 0.2


def measure(project: Project, language_scenario: str = LENGTHS.scenario) -> dict[str, Any]:
    """Measure each cell in one process.

    Returns
    -------
    "rows" : model, runtime and batch size with MB predicted and measured, the relative error, and the same of
        what is above the runtime's own share, or how it ended
    "median", "worst" : of the absolute relative errors
    "large", "median_above_base" : how many rows are of large models, and their median error of what is above
        the runtime's own share: of a small model nearly all is the runtime's
    "median_by_runtime"
    """
    project.snakemake(inventory_file("cpu"))
    taken = read_json(project.directory / inventory_file("cpu"))["runtimes"]
    rows: list[dict[str, Any]] = []
    for model in [name for name in ZOO if name in RUNTIMES]:
        scenario = language_scenario if "generation" in ZOO[model].tasks else DEFAULT_SCENARIO
        for runtime in RUNTIMES[model]:
            cell = Cell(model, "cpu", runtime, "baseline", scenario)
            project.prepare(cell)
            # A later round: accuracy is not asked for here, and memory is not more for it.
            for size, profile in project.measure(1, BATCH_SIZES, cell).profiles.items():
                row = {"model": model, "runtime": runtime, "batch_size": size}
                rows.append(row | compared(profile.metrics, taken[runtime]["memory"]["base_mb"]))
                print(rows[-1], profile.reason, flush=True)
    return {"rows": rows} | summary(rows)


def compared(metrics: dict[str, float | None], base_mb: float) -> dict[str, float | None]:
    """A row's prediction beside its measurement."""
    predicted, measured = metrics.get("predicted_memory_mb"), metrics.get("peak_memory_mb")
    if predicted is None or measured is None:
        return {"predicted_mb": predicted, "measured_mb": measured, "error": None}
    return {
        "predicted_mb": predicted,
        "measured_mb": measured,
        "error": predicted / measured - 1,
        "share_above_base": 1 - base_mb / measured,
        "error_above_base": (predicted - measured) / (measured - base_mb),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and the worst of the rows' errors."""
    known = [row for row in rows if row["error"] is not None]
    large = [row for row in known if row["share_above_base"] > LARGE_SHARE]
    errors = np.abs([row["error"] for row in known])
    worst = known[int(errors.argmax())]
    return {
        "compared": len(known),
        "median": float(np.median(errors)),
        "worst": worst,
        "large": len(large),
        "median_above_base": float(np.median(np.abs([row["error_above_base"] for row in large]))),
        "median_by_runtime": {
            runtime: float(np.median([abs(row["error"]) for row in known if row["runtime"] == runtime]))
            for runtime in dict.fromkeys(row["runtime"] for row in known)
        },
    }
