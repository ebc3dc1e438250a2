"""Predicted peak memory beside the measured one: every zoo model in every runtime, at three batch sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.project import RUNTIMES, Project
from hwfit.catalog import ZOO, generation_scenario, is_generation
from hwfit.matrix import inventory_file
from hwfit.records import DEFAULT_SCENARIO, Cell, read_json

BATCH_SIZES = [1, 8, 32]


def measure(project: Project, language_scenario: str = generation_scenario(128, 32)) -> dict[str, Any]:
    """Measure each cell in one process.

    Returns
    -------
    "rows" : model, runtime and batch size with MB predicted and measured, the relative error, and the same of
        what is above the runtime's own share, or how it ended
    "median", "worst" : of the absolute relative errors
    "median_above_base" : of those of the part above the runtime's own share
    "median_by_runtime"
    """
    project.snakemake(inventory_file("cpu"))
    taken = read_json(project.directory / inventory_file("cpu"))["runtimes"]
    rows: list[dict[str, Any]] = []
    for model in ZOO:
        scenario = language_scenario if "generation" in ZOO[model].tasks else DEFAULT_SCENARIO
        for runtime in RUNTIMES[model]:
            cell = Cell(model, "cpu", runtime, "baseline", scenario)
            project.prepare(cell)
            # A later round: accuracy is not asked for here, and memory is not more for it.
            sizes = BATCH_SIZES[:2] if is_generation(scenario) else BATCH_SIZES
            for size, profile in project.measure(1, sizes, cell).profiles.items():
                row = {"model": model, "runtime": runtime, "batch_size": size}
                rows.append(row | compared(profile.metrics, taken[runtime]["memory"]["base_mb"]))
                print(rows[-1], flush=True)
    return {"rows": rows} | summary(rows)


def compared(metrics: dict[str, float | None], base_mb: float) -> dict[str, float | None]:
    """A row's prediction beside its measurement."""
    predicted, measured = metrics.get("predicted_memory_mb"), metrics.get("peak_memory_mb")
    if predicted is None or measured is None:
        return {"predicted_mb": predicted, "measured_mb": measured, "error": None, "error_above_base": None}
    return {
        "predicted_mb": predicted,
        "measured_mb": measured,
        "error": predicted / measured - 1,
        "error_above_base": (predicted - measured) / max(measured - base_mb, 1.0),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and the worst of the rows' errors."""
    known = [row for row in rows if row["error"] is not None]
    errors = np.abs([row["error"] for row in known])
    worst = known[int(errors.argmax())]
    return {
        "compared": len(known),
        "median": float(np.median(errors)),
        "worst": worst,
        "median_above_base": float(np.median(np.abs([row["error_above_base"] for row in known]))),
        "median_by_runtime": {
            runtime: float(np.median([abs(row["error"]) for row in known if row["runtime"] == runtime]))
            for runtime in dict.fromkeys(row["runtime"] for row in known)
        },
    }
