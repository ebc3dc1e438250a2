"""From rows to `reports/recommendation.json`: the decision for every model, and what it rests on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hwfit import __version__
from hwfit.collect import Row, make_table
from hwfit.decide import Candidate, Decision, contenders, decide
from hwfit.launch import launch_snippet
from hwfit.records import SCHEMA_VERSION

# A contender beats the leader in at least this share of worlds drawn from first looks.
CONTENDER_SHARE = 0.05
# Bounds the cost of confirming: combinations of one model on one device.
MOST_CONTENDERS = 3


def recommend(
    rows: Sequence[Row], plan: Mapping[str, Any], inventories: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table with its verdicts, and the recommendation."""
    table = make_table(rows, plan, inventories)
    candidates = make_candidates(rows, table, plan)
    config = plan["study"]["config"]["decision"]
    limits = active_limits(config["constraints"])
    decisions = [
        decide(model, group, config["objective"], limits, scenario)
        for (model, scenario), group in by_question(candidates).items()
    ]
    table["verdict"] = [candidate.verdict for candidate in candidates]
    table["reason"] = [candidate.reason for candidate in candidates]
    counts = Counter(row.status for row in rows)
    recommendation = {
        "schema_version": SCHEMA_VERSION,
        "hwfit_version": __version__,
        "sweep": plan["study"]["config"]["sweep"],
        "objective": config["objective"],
        "constraints": limits,
        "counts": {"combinations": len(rows), **counts},
        "seconds_measured": float(pd.to_numeric(table["measured_s"]).sum()),
        "models": [describe(decision, plan, inventories) for decision in decisions],
    }
    return table, recommendation


def nominate(
    rows: Sequence[Row], plan: Mapping[str, Any], inventories: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """The combinations that fresh rounds should measure again, for each device."""
    candidates = make_candidates(rows, make_table(rows, plan, inventories), plan)
    config = plan["study"]["config"]["decision"]
    limits = active_limits(config["constraints"])
    chosen: dict[str, list[dict[str, Any]]] = {}
    for group in by_question(candidates).values():
        for candidate in contenders(group, config["objective"], limits, MOST_CONTENDERS, CONTENDER_SHARE):
            cell = candidate.row.cell
            entry = {"cell": cell.__dict__, "batch_size": candidate.row.batch_size}
            chosen.setdefault(cell.device, []).append(entry)
    return chosen


def make_candidates(rows: Sequence[Row], table: pd.DataFrame, plan: Mapping[str, Any]) -> list[Candidate]:
    """Each row with its line of the table."""
    study = plan["study"]
    found = []
    for row, line in zip(rows, table.to_dict("records"), strict=True):
        known = {str(name): none_if_missing(value) for name, value in line.items()}
        passes = len(study["optimizations"][row.cell.optimization]["passes"])
        price = study["devices"][row.cell.device].get("price_per_hour")
        found.append(Candidate(row, known, passes, price))
    return found


def by_question(candidates: Sequence[Candidate]) -> dict[tuple[str, str], list[Candidate]]:
    """The candidates of each model and scenario, as the config orders them: each has its own answer."""
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        cell = candidate.row.cell
        groups.setdefault((cell.model, cell.scenario), []).append(candidate)
    return groups


def active_limits(constraints: Mapping[str, float | None]) -> dict[str, float]:
    """The limits that are set."""
    return {name: value for name, value in constraints.items() if value is not None}


def describe(decision: Decision, plan: Mapping[str, Any], inventories: Mapping[str, Any]) -> dict[str, Any]:
    """One model's decision as plain data."""
    chosen = decision.chosen
    return {
        "model": decision.model,
        "scenario": decision.scenario,
        "objective": decision.objective,
        "verdict": decision.verdict,
        "summary": decision.summary,
        "chosen": as_line(chosen),
        "probability_best": decision.probability_best,
        "margin": decision.margin,
        "tied": [as_line(c) for c in decision.tied],
        "runner_up": as_line(decision.runner_up),
        "nearest_misses": [as_line(c) for c in decision.nearest_misses],
        "advice": decision.advice,
        "limits": [finding.__dict__ for finding in chosen.findings] if chosen else [],
        "launch": launch_snippet(chosen.row, plan) if chosen else None,
    }


def as_line(candidate: Candidate | None) -> dict[str, Any] | None:
    """A candidate's line of the table, with its verdict."""
    if candidate is None:
        return None
    return candidate.line | {"verdict": candidate.verdict, "reason": candidate.reason}


def none_if_missing(value: Any) -> Any:
    """A table's empty cell as None, numpy's scalars as Python's own."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return None
    return value.item() if hasattr(value, "item") else value
