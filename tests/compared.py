"""Measured rows of two runs for tests of comparing them, in memory and as a project's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwfit.collect import CONFIRMATIONS, Row
from hwfit.compare import Run
from hwfit.layout import PROFILES
from hwfit.records import Cell, Flag, Profile, profile_path, write_json

PACES_MS = (10.0, 10.1, 9.9)


def make_row(
    optimization: str = "baseline",
    paces_ms: Sequence[float | None] = PACES_MS,
    *,
    status: str = "ok",
    reason: str = "",
    batch_size: int = 1,
    device: str = "cpu",
    runtime: str = "torch",
    scenario: str = "single_stream",
    within: float = 0.001,
    subject: str = "subject",
    protocol: str = "protocol",
    flags: Sequence[Flag] = (),
    context: dict[str, Any] | None = None,
    started_at: str = "",
    is_recorded: bool = True,
    **metrics: float | None,
) -> Row:
    """A row with a round for each pace; `within` is the relative standard error in a process."""
    cell = Cell("net", device, runtime, optimization, scenario)
    figures = {"accuracy": 0.98, "fidelity": 1.0, "peak_memory_mb": 100.0, "file_size_mb": 1.0} | metrics
    rounds = [
        Profile(
            *cell.__dict__.values(),
            batch_size=batch_size,
            round=number,
            status=status,
            reason=reason,
            flags=list(flags),
            metrics=figures | pace_metrics(scenario, pace) if status == "ok" else {},
            fingerprints={"subject": subject, "protocol": protocol},
            context=context or {},
            details={"median_standard_error": within},
            started_at=started_at,
        )
        for number, pace in enumerate(paces_ms)
    ]
    first = rounds[0] if is_recorded else None
    return Row(cell, batch_size, status, reason, first=first, rounds=rounds if status == "ok" else [])


def pace_metrics(scenario: str, pace_ms: float | None) -> dict[str, float | None]:
    """The metrics that a pace is read from."""
    if scenario == "server":
        return {"latency_p50_ms": 5.0, "throughput_samples_per_s": pace_ms and 1e3 / pace_ms}
    return {"latency_p50_ms": pace_ms}


def make_run(*rows: Row, name: str = "run", **more: Any) -> Run:
    """A run of such rows."""
    return Run(name, rows, **more)


def write_project(directory: Path, *rows: Row, confirmed: bool = True) -> Path:
    """Write rows as the results of a project: the first round as the first look, the others, where
    `confirmed`, as confirming ones; all of them first looks otherwise.
    """
    first_rounds = 1 if confirmed else max(len(row.rounds) for row in rows)
    entries = []
    for row in rows:
        profiles = row.rounds or [row.first]
        for profile in filter(None, profiles):
            path = profile_path(directory / PROFILES, row.cell, profile.round, row.batch_size)
            write_json(path, profile.to_dict())
        again = [p.round for p in row.rounds if p.round >= first_rounds]
        if again:
            entries.append({"cell": row.cell.__dict__, "batch_size": row.batch_size, "rounds": again})
    plan = {
        "study": {
            "config": {
                "measurement": {"rounds": first_rounds, "relative_ci": 0.02},
                "tracking": {"uri": "sqlite:///results/mlflow.db", "experiment": "hwfit"},
            }
        },
        "combinations": [combination_of(row) for row in rows],
    }
    write_json(directory / CONFIRMATIONS / "cpu.json", {"device": "cpu", "contenders": entries})
    write_json(directory / "results/plan.json", plan)
    return directory


def combination_of(row: Row) -> dict[str, Any]:
    """A row's entry of the plan: with a status where nothing was measured."""
    known = {"status": "", "reason": ""} if row.first else {"status": row.status, "reason": row.reason}
    return row.cell.__dict__ | {"batch_size": row.batch_size} | known
