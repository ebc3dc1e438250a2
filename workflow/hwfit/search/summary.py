"""What the guided search cost, and what it left out, as the recommendation tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwfit.records import RecordError, read_json
from hwfit.search.records import ROUNDS, SEARCH, is_guided, read_verdict, verdict_file


def describe_search(plan: Mapping[str, Any], directory: Path | str = ".") -> dict[str, Any] | None:
    """The part `search` of the recommendation; None where the search was exhaustive, or says nothing."""
    directory = Path(directory)
    if not is_guided(plan):
        return None
    try:
        verdict = read_verdict(directory / verdict_file(ROUNDS - 1))
    except RecordError:
        return None
    kinds = Counter(each.kind for each in verdict.given_up)
    cells = {*verdict.go_on, *(each.cell for each in verdict.given_up)}
    return {
        "kind": "guided",
        "rounds": ROUNDS,
        "cells": len(cells),
        "seconds": seconds_of(directory),
        "went_on": sum(map(len, verdict.go_on.values())),
        **{kind: kinds[kind] for kind in ("dominated", "infeasible", "failed")},
    }


def seconds_of(directory: Path) -> float:
    """What all looks took, starts of processes included; of a job that was repeated, at least what its
    records say.
    """
    total = 0.0
    for path in (directory / SEARCH).glob("round*/*/*/*.json"):
        try:
            told = read_json(path)
            recorded = [read_json(directory / record) for record in told["records"]]
            total += max(told["wall_s"], sum(each["metrics"].get("wall_s") or 0.0 for each in recorded))
        except (RecordError, KeyError, TypeError, AttributeError):
            continue
    return total
