"""Measured rows for tests of what comes after measuring."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwfit.collect import Row
from hwfit.decide import Candidate
from hwfit.records import COLUMNS, Cell, Flag, Profile
from hwfit.uncertainty import Estimate


@dataclass
class RowWithSamples(Row):
    """A row that carries its samples, where a real one reads them from disk."""

    samples_ms: np.ndarray = field(default_factory=lambda: np.empty(0))

    def durations_ms(self) -> np.ndarray:
        return self.samples_ms


def make_candidate(
    optimization: str = "baseline",
    *,
    p50_ms: float = 10.0,
    batch_size: int = 1,
    status: str = "ok",
    reason: str = "",
    relative_error: float = 0.01,
    samples: int = 400,
    flags: tuple[Flag, ...] = (),
    passes: int | None = None,
    price: float | None = 0.0,
    device: str = "cpu",
    model: str = "net",
    task: str = "classification",
    scenario: str = "single_stream",
    samples_ms: Any = None,
    **line: Any,
) -> Candidate:
    """A candidate with coherent figures; anything of its line can be set by name."""
    cell = Cell(model, device, "torch", optimization, scenario)
    base: dict[str, Any] = dict.fromkeys(COLUMNS) | {"model": model, "task": task, "batch_size": batch_size}
    base |= {"device": device, "runtime": "torch", "optimization": optimization, "status": status}
    if status != "ok":
        return Candidate(RowWithSamples(cell, batch_size, status, reason), base | line, passes or 0, price)
    if samples_ms is None:
        samples_ms = np.full(samples, p50_ms)
    profile = Profile(model, device, "torch", optimization, scenario, batch_size, 0, "ok", flags=list(flags))
    estimate = Estimate(p50_ms, relative_error, 1000)
    row = RowWithSamples(
        cell,
        batch_size,
        "ok",
        first=profile,
        rounds=[profile],
        estimate=estimate,
        samples_ms=np.asarray(samples_ms),
    )
    low, high = estimate.interval()
    base |= {
        "latency_p50_ms": p50_ms,
        "scenario": scenario,
        "latency_p50_ci_low_ms": low,
        "latency_p50_ci_high_ms": high,
        "throughput_samples_per_s": batch_size / p50_ms * 1e3,
        "fidelity": 1.0,
        "peak_memory_mb": 100.0,
    }
    return Candidate(row, base | line, len(optimization.split("-")) - 1 if passes is None else passes, price)
