"""One device for both: the price of training a model once, plus that of so many inferences.

The sum is a line in the number of inferences: training is where it begins, an inference how steep it is. So
a device that trains cheaply may lose to one that infers cheaply from some number on, which is told too.
Energy of different scopes is neither added nor compared: the devices of the first one's scope are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from hwfit.training.decision import TrainingDecision

FITS = ("chosen", "tied", "dominated")


@dataclass(frozen=True)
class Whole:
    """What a device takes for both, in the unit of the objective; `combination` names the inference's row."""

    device: str
    training: float
    inference: float
    total: float
    configuration: str
    combination: str


@dataclass(frozen=True)
class WholeDecision:
    """The answer for one model in one scenario; `others` by their sums, `excluded` with what each lacks."""

    model: str
    scenario: str
    objective: str
    unit: str
    inferences: float
    verdict: str
    summary: str
    best: Whole | None
    others: tuple[Whole, ...]
    excluded: tuple[tuple[str, str], ...]
    changes_at: float | None


def decide_whole(
    decisions: Sequence[TrainingDecision], table: pd.DataFrame, objective: str, inferences: float
) -> list[WholeDecision]:
    """An answer for each model that is trained and run.

    Parameters
    ----------
    table : combinations.csv with its verdicts
    """
    answers = []
    trained = {(each.model, each.device): each for each in decisions}
    for (model, scenario), rows in table.groupby(["model", "scenario"], sort=False):
        mine = {device: each for (name, device), each in trained.items() if name == model}
        if mine:
            answers.append(decide_model(str(model), str(scenario), mine, rows, objective, inferences))
    return answers


def decide_model(
    model: str,
    scenario: str,
    trained: Mapping[str, TrainingDecision],
    rows: pd.DataFrame,
    objective: str,
    inferences: float,
) -> WholeDecision:
    """The device that takes least for training one model and running it."""
    wholes, excluded = [], []
    unit, scope = "", None
    for device in dict.fromkeys([*trained, *rows["device"]]):
        decision = trained.get(device)
        if decision is None or decision.chosen is None or decision.figure is None:
            excluded.append((device, "no way of training reaches the target there"))
            continue
        mine = rows[rows["device"] == device]
        if objective == "energy":
            scope = scope or decision.chosen.lines[0]["energy_scope"]
            mine = mine[mine["energy_scope"] == scope]
            if decision.chosen.lines[0]["energy_scope"] != scope:
                excluded.append((device, f"its energy was metered in another scope than the {scope}"))
                continue
        per_sample, name = cheapest(mine, objective)
        if per_sample is None:
            of_scope = f" in the scope {scope}" if objective == "energy" else ""
            said = f"no combination there meets every limit with its {objective} known{of_scope}"
            excluded.append((device, said))
            continue
        unit = decision.unit
        inference = per_sample * inferences
        total = decision.figure + inference
        wholes.append(Whole(device, decision.figure, inference, total, decision.chosen.name, name))
    wholes.sort(key=lambda each: each.total)
    best, others = (wholes[0], tuple(wholes[1:])) if wholes else (None, ())
    changes_at = crossing(best, others, inferences) if best else None
    return WholeDecision(
        model,
        scenario,
        objective,
        unit,
        inferences,
        "chosen" if best else "none",
        summary_of(model, best, others, unit, inferences, changes_at),
        best,
        others,
        tuple(excluded),
        changes_at,
    )


def cheapest(rows: pd.DataFrame, objective: str) -> tuple[float | None, str]:
    """The least that an inference takes among rows that meet every limit, and the row's name."""
    fitting = rows[rows["verdict"].isin(FITS)]
    per_sample = {
        "seconds": 1 / pd.to_numeric(fitting["throughput_samples_per_s"]),
        "energy": pd.to_numeric(fitting["energy_j_per_sample"]),
        "cost": pd.to_numeric(fitting["cost_per_million"]) / 1e6,
    }[objective].dropna()
    if per_sample.empty:
        return None, ""
    row = fitting.loc[per_sample.idxmin()]
    return float(per_sample.min()), f"{row['runtime']}, {row['optimization']}, batch size {row['batch_size']}"


def crossing(best: Whole, others: Sequence[Whole], inferences: float) -> float | None:
    """The number of inferences nearest to the one asked for at which another device would be the answer."""
    found = []
    for other in others:
        slope = (best.inference - other.inference) / inferences
        if slope:
            at = (other.training - best.training) / slope
            found += [at] if at > 0 else []
    return min(found, key=lambda at: abs(math.log(at / inferences)), default=None)


def summary_of(
    model: str,
    best: Whole | None,
    others: Sequence[Whole],
    unit: str,
    inferences: float,
    changes_at: float | None,
) -> str:
    """The answer in a sentence or two."""
    if best is None:
        return f"{model}: no device both trains it to the target and runs it within the limits."
    said = (
        f"{model}, trained once and run {inferences:,.0f} times: {best.device} takes {best.total:.3g} {unit} "
        f"({best.training:.3g} to train, {best.inference:.3g} to run)."
    )
    if others:
        said += f" Next is {others[0].device} with {others[0].total:.3g} {unit}."
    if changes_at is not None:
        more = "fewer" if changes_at < inferences else "more"
        said += f" With {changes_at:,.0f} inferences or {more} another device is the answer."
    return said
