"""Looks of the guided search for tests of what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwfit.records import Cell, Profile, profile_path, write_json
from hwfit.search.judge import Doubt, Look
from hwfit.search.records import SCREENING
from rows import make_candidate

ERROR = 0.1


def make_look(
    optimization: str = "baseline",
    *,
    own_error: float = 0.05,
    curve: tuple[int, ...] = (),
    quality_of: int | None = None,
    **candidate: Any,
) -> Look:
    """A look whose process is in doubt by ERROR; anything of its candidate can be set by name."""
    doubt = Doubt(
        ERROR, own_error, curve, candidate.get("batch_size", 1) if quality_of is None else quality_of
    )
    return Look(make_candidate(optimization, relative_error=doubt.relative_error, **candidate), doubt)


def make_profile(
    cell: Cell, batch_size: int, median_ms: float = 10.0, *, round: int = 0, status: str = "ok", **more: Any
) -> Profile:
    """The record of a look."""
    metrics = {
        "latency_p50_ms": median_ms,
        "throughput_samples_per_s": 1e3 * batch_size / median_ms,
        "fidelity": 1.0,
        "wall_s": 0.3,
    }
    return Profile(
        *cell.__dict__.values(),
        batch_size=batch_size,
        round=round,
        status=status,
        metrics=(metrics if status == "ok" else {}) | more.pop("metrics", {}),
        details={"is_evaluated": round == 0, "median_standard_error": 0.01} | more.pop("details", {}),
        **more,
    )


def write_look(directory: Path, profile: Profile) -> None:
    """Put a record where the search looks for it."""
    path = profile_path(directory / SCREENING, profile.cell, profile.round, profile.batch_size)
    write_json(path, profile.to_dict())
