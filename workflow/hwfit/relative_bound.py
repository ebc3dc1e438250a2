"""Limits that are a share of the baseline's figure: `50% of baseline`."""

from __future__ import annotations

import re

# Above 0.
PATTERN = r"^([1-9][0-9]{0,5}(\.[0-9]{1,6})?|0\.[0-9]{0,5}[1-9])% of baseline$"


def relative_share(bound: str) -> float:
    """The share (0.5 of `50% of baseline`). Raises ValueError where it is not such a text."""
    match = re.fullmatch(PATTERN, bound)
    if match is None:
        raise ValueError(f"{bound!r} is no share of the baseline, such as '50% of baseline'")
    return float(match[1]) / 100
