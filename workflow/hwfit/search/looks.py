"""From the records of looks to what they say of every batch size of their cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwfit.collect import Row, make_table, paces_of, read_rounds, spread_of_devices
from hwfit.recommendation import make_candidates
from hwfit.records import Cell, Profile
from hwfit.search.curves import between, neighbours
from hwfit.search.judge import CURVE_ERROR, DISTURBED, MOMENT_ERROR, PROCESS_ERROR, SERVER_ERROR, Doubt, Look
from hwfit.search.records import SCREENING, GivenUp, Key
from hwfit.uncertainty import Estimate

# Of a cell that was evaluated at one batch size, what holds for the others.
QUALITY = ("accuracy", "fidelity", "relative_error", "accuracy_drop", "perplexity", "perplexity_increase")
# What is read off the curve between two batch sizes.
CURVED = ("latency_p50_ms", "time_to_first_token_ms", "time_per_output_token_ms", "predicted_memory_mb")
# The interval is that of the normal distribution: the spread of processes is taken, not estimated.
DEGREES = 1000

# The batch sizes at which each cell was looked at in a round.
Looked = Mapping[Cell, Sequence[int]]
# Of a cell, the profiles of each batch size, one a round.
CellLooks = Mapping[int, Sequence[Profile]]


def looks_of(
    plan: Mapping[str, Any],
    keys: Iterable[Key],
    records: Mapping[Cell, CellLooks],
    inventories: Mapping[str, Any],
) -> tuple[list[Look], list[GivenUp]]:
    """What the looks at cells say of combinations, and which of these failed.

    Of what could not be evaluated or lies on no curve nothing is said, and nothing of the pace of what was
    disturbed: it goes on.
    """
    sizes: dict[Cell, list[int]] = {}
    for cell, size in keys:
        sizes.setdefault(cell, []).append(size)
    errors = {d: process_error(inventories.get(d, {}), d) for d in {cell.device for cell in sizes}}
    rows: list[Row] = []
    doubts: dict[Key, Doubt] = {}
    failed: list[GivenUp] = []
    for cell, wanted in sizes.items():
        gone = failures(cell, wanted, records[cell])
        failed += gone
        looks = trusted(records[cell])
        for size in sorted(set(wanted) - {each.batch_size for each in gone}):
            if found := row_of(cell, size, looks, errors[cell.device]):
                rows.append(found[0])
                doubts[cell, size] = found[1]
    candidates = make_candidates(rows, make_table(rows, plan, inventories), plan)
    return [Look(c, doubts[c.row.cell, c.row.batch_size]) for c in candidates], failed


def read_cell(directory: Path, cell: Cell, rounds: Sequence[Looked]) -> dict[int, list[Profile]]:
    """The records of the looks at a cell, as far as they can be read."""
    found: dict[int, list[Profile]] = {}
    for round, looked in enumerate(rounds):
        for size in looked.get(cell, ()):
            (record,) = read_rounds(directory, cell, size, [round], SCREENING)
            if isinstance(record, Profile):
                found.setdefault(size, []).append(record)
    return found


def starts_long(looks: CellLooks) -> bool:
    """Whether a cell was looked at with one batch size alone, since its first call takes long."""
    return any(profile.status == "skipped" for profiles in looks.values() for profile in profiles)


def process_error(inventory: Mapping[str, Any], device: str) -> float:
    """How far processes lie apart on a device, as its inventory has it, and not less than is often seen."""
    spread = spread_of_devices((), {device: inventory})[device]
    return max(PROCESS_ERROR, 0.0 if spread.is_assumed else spread.relative)


def failures(cell: Cell, wanted: Sequence[int], looks: CellLooks) -> list[GivenUp]:
    """The batch sizes that failed; all of them where every one that was looked at did."""
    bad: dict[int, Profile] = {}
    for size, profiles in looks.items():
        if failed := next((p for p in profiles if p.status not in ("ok", "skipped")), None):
            bad[size] = failed
    tried = [size for size, profiles in looks.items() if any(p.status != "skipped" for p in profiles)]
    if bad and len(bad) == len(tried):
        bad = {size: bad.get(size, bad[min(bad)]) for size in wanted}
    return [
        GivenUp(cell, size, "failed", bad[size].status, bad[size].reason) for size in wanted if size in bad
    ]


def trusted(looks: CellLooks) -> CellLooks:
    """The looks that say something: those that were not disturbed, where there are any. None of a cell that
    was not evaluated, since its outputs may be wrong.
    """
    if not any(evaluated_in(profiles) for profiles in looks.values()):
        return {}
    fine = {size: [p for p in profiles if p.status == "ok"] for size, profiles in looks.items()}
    return {size: [p for p in profiles if p.valid] or profiles for size, profiles in fine.items() if profiles}


def evaluated_in(profiles: Iterable[Profile]) -> Profile | None:
    """The look at which outputs were evaluated; None where that was in none of them."""
    return next((p for p in profiles if p.status == "ok" and p.details.get("is_evaluated")), None)


def row_of(cell: Cell, size: int, looks: CellLooks, process_error: float) -> tuple[Row, Doubt] | None:
    """A row as the looks tell it, and what that rests on; None where they tell nothing."""
    curve, profiles = profiles_of(size, looks)
    paces = paces_of(Row(cell, size, "ok", rounds=profiles))
    if not paces:
        return None
    known = [(at, evaluated) for at, each in looks.items() if (evaluated := evaluated_in(each))]
    quality_of, evaluated = known[0] if known else (None, profiles[0])
    profiles[0] = replace(
        profiles[0], metrics=profiles[0].metrics | {name: evaluated.metrics.get(name) for name in QUALITY}
    )
    within = max([MOMENT_ERROR, *(p.details.get("median_standard_error") or 0.0 for p in profiles)])
    predicted = [CURVE_ERROR] * bool(curve) + [SERVER_ERROR] * (cell.scenario == "server")
    share = 1 / math.sqrt(len(paces))
    own = math.hypot(within * share, *predicted) if all(p.valid for p in profiles) else DISTURBED
    doubt = Doubt(process_error * share, own, curve, quality_of)
    centre = math.exp(sum(map(math.log, paces)) / len(paces))
    estimate = Estimate(centre, doubt.relative_error, DEGREES)
    return Row(cell, size, "ok", first=profiles[0], rounds=profiles, estimate=estimate), doubt


def profiles_of(size: int, looks: CellLooks) -> tuple[tuple[int, ...], list[Profile]]:
    """The looks at a batch size; else the batch sizes that it is read off from, and what is read off."""
    if size in looks:
        return (), list(looks[size])
    if ends := neighbours(looks, size):
        return ends, [on_curve(size, ends, looks)]
    if looks and size < min(looks):
        return (min(looks),), [in_proportion(size, looks[min(looks)][-1])]
    return (), []


def in_proportion(size: int, larger: Profile) -> Profile:
    """The best that a smaller batch size can be: all of a call's time grows with the batch."""
    factor = size / larger.batch_size
    named = {name: value * factor for name in CURVED if (value := larger.metrics.get(name)) is not None}
    metrics = {**larger.metrics, **named, "predicted_memory_mb": None}
    return replace(larger, batch_size=size, metrics=metrics, details={})


def on_curve(size: int, curve: tuple[int, int], looks: CellLooks) -> Profile:
    """A profile at a batch size between two, by the last looks at both."""
    low, high = (looks[end][-1] for end in curve)
    metrics: dict[str, float | None] = {"model_size_mb": low.metrics.get("model_size_mb")}
    for name in (*CURVED, "throughput_samples_per_s") if low.scenario == "server" else CURVED:
        ends = low.metrics.get(name), high.metrics.get(name)
        if ends[0] is not None and ends[1] is not None:
            metrics[name] = between({curve[0]: ends[0], curve[1]: ends[1]}, *curve, size)
    median_ms = metrics.get("latency_p50_ms")
    if low.scenario != "server" and median_ms:
        metrics["throughput_samples_per_s"] = 1e3 * size / median_ms
    return replace(low, batch_size=size, metrics=metrics, flags=[*low.flags, *high.flags], details={})
