"""Which batch sizes of a cell are looked at, and what the curve through them says of the others."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping


def screened_sizes(sizes: Collection[int]) -> list[int]:
    """Every second batch size from the smallest, and the largest."""
    ordered = sorted(sizes)
    return sorted({*ordered[::2], *ordered[-1:]})


def neighbours(known: Collection[int], size: int) -> tuple[int, int] | None:
    """The known sizes next to one that is not; None where it does not lie between two."""
    ordered = sorted(known)
    place = bisect.bisect(ordered, size)
    return (ordered[place - 1], ordered[place]) if 0 < place < len(ordered) else None


def between(values: Mapping[int, float], low: int, high: int, size: int) -> float:
    """A figure at a batch size between two at which it is known.

    On a straight line, since a call takes a part that is the same for all batch sizes and a part a sample.
    """
    return values[low] + (values[high] - values[low]) * (size - low) / (high - low)
