"""Numbers as people read them: three significant digits, thousands apart, a dash where nothing was measured.

`report.js` follows the same rules for the table and the tooltips.
"""

from __future__ import annotations

import math
from typing import Any

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"

TEXT_COLUMNS = (
    "model",
    "task",
    "device",
    "device_name",
    "runtime",
    "runtime_version",
    "optimization",
    "scenario",
    "site",
    "status",
    "reason",
    "flags",
    "operator_formats",
    "number_format",
    "bound",
    "verdict",
    "energy_source",
    "energy_scope",
    "price_source",
    "currency",
)
SHARE_COLUMNS = ("utilization", "accuracy", "fidelity", "perplexity_increase")
COUNT_COLUMNS = ("batch_size", "rounds", "samples", "parameters", "nonzero_parameters")
# A count, or the word that there is none.
NEVER_COLUMNS = ("break_even_calls",)


def kind(column: str) -> str:
    """How a column's values are written: text, truth, share, points, calls, count or figure."""
    if column in TEXT_COLUMNS:
        return "text"
    if column == "valid":
        return "truth"
    if column in NEVER_COLUMNS:
        return "calls"
    if column in SHARE_COLUMNS:
        return "share"
    if column == "accuracy_drop":
        return "points"
    return "count" if column in COUNT_COLUMNS else "figure"


def number(value: Any) -> float | None:
    """A finite number, or None for all else: absent, NaN, infinite, text."""
    if value is None or isinstance(value, bool):
        return None
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def figure(value: Any) -> str:
    """A measured number with three significant digits: 12,300, 61.2, 0.0123."""
    value = number(value)
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    rounded = float(f"{value:.2e}")
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}".replace("-", MINUS)


def exact(value: Any) -> str:
    """A number as it was set, not measured: 100, 12.34, 0.005."""
    value = number(value)
    return MISSING if value is None else f"{value:,.10g}".replace("-", MINUS)


def count(value: Any) -> str:
    """A whole number: 4,652,008."""
    value = number(value)
    return MISSING if value is None else f"{value:,.0f}"


def share(value: Any) -> str:
    """A share as a percentage with up to four significant digits: 99.94%."""
    value = number(value)
    return MISSING if value is None else f"{100 * value:.4g}%"


def points(value: Any) -> str:
    """A difference of shares in percentage points: 0.31."""
    value = number(value)
    return MISSING if value is None else f"{100 * value:.2g}".replace("-", MINUS)


def interval(low: Any, high: Any) -> str:
    """A range, or nothing where an end is missing."""
    if number(low) is None or number(high) is None:
        return ""
    return f"{figure(low)}{MISSING}{figure(high)}"
