"""What was sought, in words: the objective, and the limits with their signs and units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from hwfit.costs import with_currency
from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.numbers import number

# Limits that are shares, and are told in percent or points.
SHARES = ("max_accuracy_drop", "max_perplexity_increase", "min_fidelity")
RELATIVE = re.compile(r"([\d.]+%) of (.+)")


def goal(asked: Mapping[str, Any], words: Language) -> Markup:
    """What was sought, under which limits, in one sentence.

    Parameters
    ----------
    asked : the recommendation or an entry of it: "objective", "weights", "constraints"
    """
    wish = objective(asked, words)
    limits = [
        limit(name, value, words)
        for name, value in (asked.get("constraints") or {}).items()
        if number(value) is not None or isinstance(value, str)
    ]
    if not limits:
        return words("goal_free", objective=wish)
    return words("goal", objective=wish, limits=words.listing(limits))


def asked_of(entry: Mapping[str, Any], recommendation: Mapping[str, Any]) -> dict[str, Any]:
    """What was sought for one model: its own objective, weights and limits where it has them."""
    names = ("objective", "weights", "constraints")
    own = {name: entry[name] for name in names if entry.get(name) is not None}
    if "objective" in own:
        own.setdefault("weights", None)
    return {name: recommendation.get(name) for name in names} | own


def objective(asked: Mapping[str, Any], words: Language) -> str:
    """What the chosen row is best in."""
    weights = weights_of(asked)
    if weights:
        parts = [
            words("mix.part", objective=words.find("mix.objectives", name) or name, share=f"{weight:.0%}")
            for name, weight in weights.items()
        ]
        return words("mix.sentence", parts=words.listing(parts))
    name = str(asked.get("objective") or "throughput")
    return words.find("objectives", name) or name


def weights_of(asked: Mapping[str, Any]) -> dict[str, float]:
    """The share of each objective in a weighted mix; empty where there is none."""
    told = asked.get("weights") or asked.get("objective")
    if not isinstance(told, Mapping):
        return {}
    weights = {str(name): number(value) or 0.0 for name, value in told.items()}
    whole = sum(weights.values())
    return {name: weight / whole for name, weight in weights.items() if weight > 0} if whole > 0 else {}


def objectives_of(asked: Mapping[str, Any]) -> set[str]:
    """The names of what the chosen row is to be good in."""
    return set(weights_of(asked)) or {str(asked.get("objective") or "throughput")}


def limit(name: str, value: Any, words: Language) -> Markup:
    """A limit with its sign and unit: `p90 latency ≤ 100 ms`, or `p90 latency ≤ 50% of baseline`."""
    sign = "min" if name.startswith("min_") else "max"
    known = words.find("limit_names", name) or name
    return words(f"limit_is.{sign}", name=known, value=limit_value(name, value, words))


def limit_value(name: str, value: Any, words: Language) -> Markup:
    """The value of a limit with its unit; of one that is relative to another row, as it was configured."""
    if number(value) is None:
        of = RELATIVE.fullmatch(str(value).strip())
        return words("limit_is.share", share=of[1], of=of[2]) if of else Markup("{}").format(value)
    shown = numbers.exact(100 * float(value) if name in SHARES else value)
    if name == "max_cost_per_million":
        shown = with_currency(shown, words.currency)
    return words(f"limits.{name}", value=shown) if words.find("limits", name) else Markup("{}").format(shown)
