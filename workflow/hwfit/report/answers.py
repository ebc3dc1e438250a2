"""The recommendation as the page can rely on it: whatever the file holds, each key is of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwfit.report.numbers import number

MAPPINGS = ("chosen", "runner_up", "launch", "constraints", "weights", "then")
LISTS_OF_MAPPINGS = (
    "models",
    "tied",
    "nearest_misses",
    "limits",
    "sensitivity",
    "prices",
    "sets",
    "choices",
    "others",
)


def readable(recommendation: Any, is_set: bool = False) -> dict[str, Any]:
    """A recommendation, or an entry of it, without what is of another kind than its key says.

    The file may be of another version of hwfit, or edited by hand: a report comes all the same.
    """
    if not isinstance(recommendation, Mapping):
        return {}
    found: dict[str, Any] = {}
    for name, value in recommendation.items():
        # Of a set, these are names: its models, and the devices that it is tied with.
        if is_set and name in ("models", "tied"):
            found[name] = [str(each) for each in value] if isinstance(value, list) else []
        elif name in LISTS_OF_MAPPINGS:
            entries = value if isinstance(value, list) else []
            found[name] = [readable(each, name == "sets") for each in entries if isinstance(each, Mapping)]
        elif name in MAPPINGS:
            found[name] = readable(value) if isinstance(value, Mapping) else None
        else:
            found[name] = value
    return found


def limits_of(asked: Mapping[str, Any]) -> dict[str, float]:
    """The limits that are numbers: one that is relative to another row is no place on an axis."""
    limits = {name: number(value) for name, value in (asked.get("constraints") or {}).items()}
    known = {name: value for name, value in limits.items() if value is not None}
    # The same limit under the name that it has where the currency is dollars.
    if "max_cost_usd_per_million" in known:
        known.setdefault("max_cost_per_million", known["max_cost_usd_per_million"])
    return known


def question_of(entry: Mapping[str, Any]) -> tuple[str, str]:
    """What an entry of the recommendation answers: a model, in a scenario (every one where it says none)."""
    return str(entry.get("model", "")), str(entry.get("scenario") or "")


def limits_by_question(recommendation: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, float]]:
    """The limits of each entry that has its own, by its model and scenario."""
    entries = recommendation.get("models") or []
    return {question_of(entry): limits_of(entry) for entry in entries if entry.get("constraints") is not None}


def limits_for(recommendation: Mapping[str, Any], model: str, scenario: str) -> dict[str, float]:
    """The limits that the rows of a model in a scenario are judged by."""
    own = limits_by_question(recommendation)
    for question in ((model, scenario), (model, "")):
        if question in own:
            return own[question]
    return limits_of(recommendation)
