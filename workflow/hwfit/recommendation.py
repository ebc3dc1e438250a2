"""From rows to `reports/recommendation.json`: the decision for every model, and what it rests on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import pandas as pd

from hwfit import __version__, costs
from hwfit.collect import Row, cost_of, make_table, tariffs_of
from hwfit.config import Study
from hwfit.decide import Candidate, Decision, contenders, decide
from hwfit.decide.contenders import undecided
from hwfit.decide.prices import DevicePrice
from hwfit.decide.shared import SharedDecision, decide_shared
from hwfit.decision_sections import BaselineRow
from hwfit.decision_sections import Decision as Wanted
from hwfit.launch import launch_snippet
from hwfit.layout import site_of
from hwfit.matrix import Plan
from hwfit.recommendation_schema import Recommendation
from hwfit.records import SCHEMA_VERSION, Cell
from hwfit.training.answers import training_answers
from hwfit.training.table import Configuration

# A contender beats the leader in at least this share of worlds drawn from first looks.
CONTENDER_SHARE = 0.05
# Bounds the cost of confirming: combinations of one model in one scenario.
MOST_CONTENDERS = 5
OF_WHAT_WAS_MEASURED = "(Of what was measured in full: the guided search skipped the rest.)"


def recommend(
    rows: Sequence[Row],
    plan: Mapping[str, Any],
    inventories: Mapping[str, Any],
    trained: Sequence[Configuration] = (),
    search: Mapping[str, Any] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table with its verdicts, and the recommendation, of the form of `recommendation_schema`.

    Parameters
    ----------
    trained : the configurations of training, which get their verdicts
    search : how the search was guided, and what it left out; None where nothing was
    """
    table = make_table(rows, plan, inventories)
    wanted = wanted_in(plan)
    candidates = make_candidates(rows, table, plan)
    groups = by_question(candidates)
    decisions = [
        decide(model, group, wanted.wanted_of(model), wanted.limits_of(model), scenario)
        for (model, scenario), group in groups.items()
    ]
    wishes = {model: (wanted.wanted_of(model), wanted.limits_of(model)) for model, _ in groups}
    memory_mb = {device: inventory.get("memory_mb") for device, inventory in inventories.items()}
    shared = [
        decide_shared(name, models, groups, wishes, memory_mb) for name, models in wanted.share_device.items()
    ]
    if plan["study"]["config"]["measurement"]["confirm_rounds"]:
        for decision in decisions:
            if decision.chosen and not decision.chosen.row.confirmed:
                decision.summary += " Not confirmed in fresh rounds."
        for each in shared:
            if not all(choice.row.confirmed for choice in each.choices):
                each.summary += " Not all of it is confirmed in fresh rounds."
    if search:
        for decision in decisions:
            decision.sensitivity = [
                replace(change, text=f"{change.text} {OF_WHAT_WAS_MEASURED}")
                for change in decision.sensitivity
            ]
    table["verdict"] = [candidate.verdict for candidate in candidates]
    table["reason"] = [candidate.reason for candidate in candidates]
    counts = Counter(row.status for row in rows)
    planned = Plan(Study.model_validate(plan["study"]))
    recommendation = {
        "schema_version": SCHEMA_VERSION,
        "hwfit_version": __version__,
        "sweep": plan["study"]["config"]["sweep"],
        "objective": wanted.model_dump(exclude_none=True)["objective"],
        "constraints": wanted.constraints.given(),
        "counts": {"combinations": len(rows), **counts},
        "seconds_measured": float(pd.to_numeric(table["measured_s"]).sum()),
        "search": dict(search) if search else None,
        "models": [describe(decision, planned) for decision in decisions],
        "sets": [describe_shared(decision) for decision in shared],
        **training_answers(trained, table, wanted),
    }
    Recommendation.model_validate(recommendation)
    return table, recommendation


def nominate(
    rows: Sequence[Row], plan: Mapping[str, Any], inventories: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """The combinations that fresh rounds should measure again, for each device."""
    wanted = wanted_in(plan)
    chosen: dict[str, list[dict[str, Any]]] = {}
    for (model, _), group in by_question(
        make_candidates(rows, make_table(rows, plan, inventories), plan)
    ).items():
        limits = wanted.limits_of(model)
        for candidate in contenders(group, wanted.wanted_of(model), limits, MOST_CONTENDERS, CONTENDER_SHARE):
            cell = candidate.row.cell
            entry = {"cell": cell.__dict__, "batch_size": candidate.row.batch_size}
            chosen.setdefault(cell.device, []).append(entry)
    return chosen


def still_open(
    rows: Sequence[Row],
    plan: Mapping[str, Any],
    inventories: Mapping[str, Any],
    nominated: Collection[tuple[Cell, int]],
) -> list[Candidate]:
    """Of the rows that were nominated, those that further rounds may tell apart."""
    wanted = wanted_in(plan)
    groups = by_question(make_candidates(rows, make_table(rows, plan, inventories), plan))
    return [
        candidate
        for (model, _), group in groups.items()
        for candidate in undecided(group, wanted.wanted_of(model), wanted.limits_of(model), nominated)
    ]


def wanted_in(plan: Mapping[str, Any]) -> Wanted:
    """The section `decision` of a plan's config."""
    return Wanted.model_validate(plan["study"]["config"]["decision"])


def make_candidates(rows: Sequence[Row], table: pd.DataFrame, plan: Mapping[str, Any]) -> list[Candidate]:
    """Each row with its line of the table, and the one that its relative limits look at."""
    study, tariffs = plan["study"], tariffs_of(plan["study"])
    cost = cost_of(study)
    found: dict[tuple[Cell, int], Candidate] = {}
    for row, line in zip(rows, table.to_dict("records"), strict=True):
        known = {str(name): none_if_missing(value) for name, value in line.items()}
        passes = len(study["optimizations"][row.cell.optimization]["passes"])
        tariff = tariffs[row.cell.device]
        # The tie rule asks for one price a device: what rows draw more or less is within the noise of it.
        price = costs.hour_of(tariff, cost).price if tariff else None
        paid = tariff.fixed_per_hour if tariff else {}
        found[row.cell, row.batch_size] = Candidate(row, known, passes, price, fixed_per_hour=paid)
    wanted = wanted_in(plan)
    for (cell, batch_size), candidate in found.items():
        candidate.baseline = found.get(baseline_of(wanted, cell, batch_size))
    return list(found.values())


def baseline_of(wanted: Wanted, cell: Cell, batch_size: int) -> tuple[Cell, int]:
    """The combination that relative limits of another one look at."""
    other = (wanted.baseline or BaselineRow()).model_dump(exclude_none=True)
    size = other.pop("batch_size", batch_size)
    return replace(cell, **other), size


def by_question(candidates: Sequence[Candidate]) -> dict[tuple[str, str], list[Candidate]]:
    """The candidates of each model and scenario, as the config orders them: each has its own answer."""
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        cell = candidate.row.cell
        groups.setdefault((cell.model, cell.scenario), []).append(candidate)
    return groups


def describe(decision: Decision, planned: Plan) -> dict[str, Any]:
    """One model's decision as plain data."""
    chosen, objective = decision.chosen, decision.objective
    return {
        "model": decision.model,
        "scenario": decision.scenario,
        "objective": objective.name,
        "weights": dict(objective.weights) if objective.is_mix else None,
        "constraints": dict(decision.limits),
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
        "sensitivity": [change.__dict__ | {"then": as_line(change.then)} for change in decision.sensitivity],
        "prices": [describe_price(price) for price in decision.prices],
        "launch": launch_snippet(chosen.row, planned) if is_here(chosen) else None,
    }


def is_here(chosen: Candidate | None) -> TypeGuard[Candidate]:
    """Whether a row was chosen that is of this site: the code that starts another's has paths of there."""
    return chosen is not None and not site_of(chosen.row.cell.device)


def describe_price(price: DevicePrice) -> dict[str, Any]:
    """What a device costs, and what it may cost, as plain data."""
    cell = price.row.row.cell
    return {
        "device": price.device,
        "runtime": cell.runtime,
        "optimization": cell.optimization,
        "batch_size": price.row.row.batch_size,
        "price_per_hour": price.now,
        "cost_per_million": price.row.line["cost_per_million"],
        "wins_below": price.wins_below if 0 < price.wins_below < math.inf else None,
        "wins_below_low": price.low,
        "wins_below_high": price.high,
        "as_cheap_below": price.as_cheap_below,
    }


def describe_shared(decision: SharedDecision) -> dict[str, Any]:
    """The decision for a set of models as plain data."""
    return decision.__dict__ | {
        "models": list(decision.models),
        "choices": [as_line(c) for c in decision.choices],
        "others": [{"device": device, "reason": reason} for device, reason in decision.others],
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
