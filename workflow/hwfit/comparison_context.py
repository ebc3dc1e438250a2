"""What differs between two runs beside the figures: software, machine, settings, and the pace of all at once.

Only context may differ between rows that are compared; here it is said how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hwfit.compare import Comparison, Line, Run, as_change
from hwfit.series import binomial_cdf

# Fewer rows than this say nothing of the machine as a whole.
FEWEST_FOR_SHIFT = 6
SHIFT_ERROR = 0.01
MOST_NAMED = 8


def remarks(comparison: Comparison, here: Run, there: Run) -> list[str]:
    """What differs, a sentence each."""
    found = [f"there: {remark}" for remark in there.remarks] + [f"here: {remark}" for remark in here.remarks]
    versions = there.hwfit_version, here.hwfit_version
    if all(versions) and versions[0] != versions[1]:
        found.append(f"hwfit {versions[0]} there, {versions[1]} here")
    if settings := differences(there.settings, here.settings):
        found.append(f"measurement: {', '.join(settings)}")
    others = sum(any("not the same subject" in note for note in line.notes) for line in comparison.lines)
    if others:
        found.append(f"{others} combinations have other weights, inputs or code than there")
    found += shifts(comparison.tested)
    found += context_changes(comparison.lines)
    return found


def shifts(tested: Iterable[Line]) -> list[str]:
    """Devices on which nearly all rows moved to one side, by a sign test: then it may be the machine."""
    ratios: dict[str, list[float]] = {}
    for line in tested:
        assert line.test
        ratios.setdefault(line.cell.device, []).append(line.test.ratio)
    found = []
    for device, values in ratios.items():
        slower = sum(value > 1 for value in values)
        rarer = min(slower, len(values) - slower)
        if len(values) < FEWEST_FOR_SHIFT or 2 * binomial_cdf(rarer, len(values), 0.5) > SHIFT_ERROR:
            continue
        way, count = ("slower", slower) if slower > rarer else ("faster", len(values) - slower)
        middle = as_change(float(np.median(values)))
        found.append(
            f"{device}: {count} of {len(values)} combinations are {way}, {middle} time in the middle: the "
            "machine itself, or software that all of them share, may have changed"
        )
    return found


def context_changes(lines: Iterable[Line]) -> list[str]:
    """How the context of rows differs, said once for all rows of a device and runtime that share it."""
    seen: dict[tuple[str, ...], set[str]] = {}
    for line in lines:
        if line.is_measured:
            there, here = ((row.first.context if row.first else {}) for row in line.sides)
            place = f"{line.cell.device}, {line.cell.runtime}"
            if changed := tuple(differences(there, here)):
                seen.setdefault(changed, set()).add(place)
    return [f"{'; '.join(sorted(places))}: {shortened(changed)}" for changed, places in seen.items()]


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The entries of nested mappings that differ, as 'name a → b'."""
    before, after = dict(flattened(there)), dict(flattened(here))
    return [
        f"{name} {shown(before.get(name))} → {shown(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def flattened(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested mappings as dotted names, lists as they are."""
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from flattened(inner, f"{prefix}.{key}" if prefix else str(key))


def shown(value: Any) -> str:
    return "none" if value is None else str(value)


def shortened(changed: tuple[str, ...]) -> str:
    """The first few of what changed, and how many more."""
    more = f", and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
    return ", ".join(changed[:MOST_NAMED]) + more
