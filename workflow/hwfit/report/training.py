"""Training in the report: an answer a model and device, a heat map an optimizer, curves, the best in figures.

What is compared stands together in a panel: one model on one device in one runtime, with one schedule and
precision. Heat maps and tables are HTML, so that they can be read without a script, printed and heard.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.numbers import MISSING, number
from hwfit.report.verdicts import as_written, percent, text
from hwfit.training.records import run_of
from hwfit.training.table import FIGURES, VERDICTS

PANEL = ("model", "device", "runtime", "schedule", "precision", "accumulation", "activation_checkpointing")
# So many of a panel's configurations are drawn and listed, the best first.
LISTED, DRAWN = 12, 16
# Of the strongest cell's colour, the share that the weakest has; more would make its text hard to read.
FAINTEST, STRONGEST = 8, 46
REACHED = ("chosen", "tied", "dominated", "unreliable")
TABLE = (
    "optimizer",
    "learning_rate",
    "batch_size",
    "verdict",
    "seconds_to_target",
    "epochs_to_target",
    "reached",
    "best_validation_accuracy",
    "samples_per_s",
    "peak_memory_mb",
)
TEXTS = ("optimizer", "verdict")

Curves = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Training:
    """What a report shows of training.

    Attributes
    ----------
    configurations : a row a configuration, with the columns of `training.table.CONFIGURATION_COLUMNS`
    curves : for a configuration (`TrainingRun.configuration`) one run's (seconds, validation accuracy)
    """

    configurations: pd.DataFrame
    curves: Curves


def section(training: Training, recommendation: Mapping[str, Any], words: Language) -> dict[str, Any] | None:
    """What the template shows; None where nothing was to be trained."""
    if training.configurations.empty:
        return None
    objective = next((str(a["objective"]) for a in recommendation.get("training") or []), "seconds")
    whole = recommendation.get("training_and_inference") or []
    return {
        "cards": [card(answer, words) for answer in recommendation.get("training") or []],
        "whole": [as_written(text(answer.get("summary"))) for answer in whole],
        "panels": [panel(name, rows, objective, words) for name, rows in panels(training.configurations)],
        "headings": [(words(f"training.columns.{name}"), name not in TEXTS) for name in TABLE],
    }


def panels(configurations: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The panels by their names, which tell what differs between them."""
    groups = configurations.groupby(list(PANEL), sort=False, dropna=False)
    varied = [name for name in PANEL if configurations[name].nunique() > 1]
    shown = [name for name in PANEL if name in varied or name in ("model", "device", "runtime")]
    return [
        (
            " · ".join(label(name, value) for name, value in zip(PANEL, key, strict=True) if name in shown),
            rows,
        )
        for key, rows in groups
    ]


def label(name: str, value: Any) -> str:
    """A value as a panel's name has it; a number or a truth says what it is of."""
    return str(value) if isinstance(value, str) else f"{name.replace('_', ' ')} {value}"


def card(answer: Mapping[str, Any], words: Language) -> dict[str, Any]:
    """The card of one answer."""
    chosen, probability = answer.get("chosen") or {}, number(answer.get("probability_best"))
    badge = words("badge.chosen" if chosen else "badge.none")
    if chosen and answer.get("tied"):
        badge = words("badge.tied")
    elif chosen and probability is not None and answer.get("runner_up"):
        badge = words("badge.sure", share=percent(probability))
    headline = words("training.none", target=numbers.share(answer.get("target_accuracy")))
    if chosen:
        headline = words(
            "training.headline",
            optimizer=chosen["optimizer"],
            rate=f"{chosen['learning_rate']:g}",
            batch=numbers.count(chosen["batch_size"]),
            runtime=chosen["runtime"],
        )
    return {
        "name": f"{answer['model']} · {answer['device']}",
        "verdict": "chosen" if chosen else "none",
        "badge": badge,
        "headline": headline,
        "summary": as_written(answer["summary"]),
        "figures": figures(answer, chosen, words),
        "scaling": [scaling_sentence(each, words) for each in answer.get("scaling") or []],
    }


def figures(
    answer: Mapping[str, Any], chosen: Mapping[str, Any], words: Language
) -> list[tuple[Markup, str, str]]:
    """The key figures of a chosen configuration: name, value, note."""
    if not chosen:
        return []
    spread = numbers.interval(chosen.get("seconds_to_target_low"), chosen.get("seconds_to_target_high"))
    counted = words("training.seeds", reached=chosen["seeds_reached"], seeds=chosen["seeds"])
    found = [(words("training.figures.seconds"), f"{numbers.figure(chosen['seconds_to_target'])} s", spread)]
    if answer["objective"] != "seconds":
        name = answer["objective"]
        found.append((words(f"training.figures.{name}"), numbers.figure(answer["figure"]), answer["unit"]))
    found.append((words("training.figures.epochs"), numbers.exact(chosen["epochs_to_target"]), str(counted)))
    best = numbers.share(rounded(chosen["best_validation_accuracy"]))
    found.append((words("training.figures.accuracy"), best, ""))
    return found


def scaling_sentence(scaling: Mapping[str, Any], words: Language) -> Markup:
    """The linear-scaling rule and what was found, in the report's language."""
    first, *others = scaling["rates"]
    parts = []
    for rate in others:
        found = MISSING if rate["found"] is None else f"{rate['found']:g}"
        outcome = rate["at_predicted"]
        key = outcome if outcome in ("diverged", "not_tried") else "plain"
        said = f"{rate['predicted']:g}"
        parts.append(words(f"training.scaling.{key}", batch=rate["batch_size"], predicted=said, found=found))
    exponent = number(scaling["exponent"])
    slope = "" if exponent is None else words("training.scaling.exponent", exponent=f"{exponent:.2g}")
    return words(
        "training.scaling.sentence",
        optimizer=scaling["optimizer"],
        runtime=scaling["runtime"],
        rate=f"{first['found']:g}",
        batch=first["batch_size"],
        parts=Markup(words.section("training.scaling.separator")).join(parts),
        exponent=slope,
    )


def panel(name: str, rows: pd.DataFrame, objective: str, words: Language) -> dict[str, Any]:
    """One panel: its heat maps and its table."""
    column = FIGURES[objective]
    ranked = rows.assign(place=rows["verdict"].map(VERDICTS.index)).sort_values(
        ["place", column, "best_validation_accuracy"], ascending=[True, True, False], kind="stable"
    )
    return {
        "name": name,
        "maps": [
            heat_map(str(each), own, rows, column, words)
            for each, own in rows.groupby("optimizer", sort=False)
        ],
        "lines": [line(row, words) for row in ranked.head(LISTED).to_dict("records")],
        "more": max(0, len(ranked) - LISTED),
        "target": numbers.share(rows["target_accuracy"].iloc[0]),
    }


def heat_map(
    optimizer: str, rows: pd.DataFrame, everything: pd.DataFrame, column: str, words: Language
) -> dict[str, Any]:
    """One optimizer's learning rates over batch sizes; colours are comparable within the panel."""
    sizes = sorted(rows["batch_size"].unique())
    known = {(r["learning_rate"], r["batch_size"]): r for r in rows.to_dict("records")}
    ends = everything[column].dropna()
    low, high = (float(ends.min()), float(ends.max())) if len(ends) else (1.0, 1.0)
    return {
        "optimizer": optimizer,
        "sizes": [numbers.count(size) for size in sizes],
        "lines": [
            (f"{rate:g}", [cell(known.get((rate, size)), column, low, high, words) for size in sizes])
            for rate in sorted(rows["learning_rate"].unique(), reverse=True)
        ],
    }


def cell(
    row: Mapping[str, Any] | None, column: str, low: float, high: float, words: Language
) -> dict[str, Any]:
    """One cell: what it says, how strong its colour is in percent, and what kind it is."""
    if row is None:
        return {"text": "", "kind": "empty", "strength": 0, "note": ""}
    figure, best = number(row[column]), number(row["best_validation_accuracy"])
    kind, note = str(row["verdict"]), text(row["reason"])
    if figure is not None and kind in REACHED:
        span = math.log(high / low) if high > low > 0 else 1.0
        share = math.log(high / figure) / span if figure > 0 else 1.0
        strength = round(FAINTEST + (STRONGEST - FAINTEST) * share)
        said = numbers.figure(figure)
        if kind == "unreliable":
            said += f" ({row['seeds_reached']:.0f}/{row['seeds']:.0f})"
        return {"text": said, "kind": kind, "strength": strength, "note": note}
    if kind in ("not_reached", "rejected") and best is not None:
        said = numbers.share(rounded(best))
        return {"text": said, "kind": kind, "strength": 0, "note": note}
    said = words("training.cells.diverged") if kind == "diverged" else MISSING
    return {"text": said, "kind": kind, "strength": 0, "note": note}


def line(row: Mapping[str, Any], words: Language) -> list[tuple[str, bool]]:
    """A configuration as the table has it: each cell's text, and whether it is a number."""
    spread = numbers.interval(row["seconds_to_target_low"], row["seconds_to_target_high"])
    seconds = numbers.figure(row["seconds_to_target"])
    several = spread if number(row["seeds_reached"] or 0) != 1 else ""
    told = {
        "optimizer": str(row["optimizer"]),
        "learning_rate": f"{row['learning_rate']:g}",
        "batch_size": numbers.count(row["batch_size"]),
        "verdict": str(words(f"training.verdicts.{row['verdict']}")),
        "seconds_to_target": f"{seconds} ({several})" if several and seconds != MISSING else seconds,
        "epochs_to_target": numbers.exact(row["epochs_to_target"]),
        "reached": f"{numbers.count(row['seeds_reached'])} / {numbers.count(row['seeds'])}",
        "best_validation_accuracy": numbers.share(rounded(row["best_validation_accuracy"])),
        "samples_per_s": numbers.figure(row["samples_per_s"]),
        "peak_memory_mb": numbers.figure(row["peak_memory_mb"]),
    }
    return [(told[name], name not in TEXTS) for name in TABLE]


def curve_data(training: Training) -> list[dict[str, Any]]:
    """What the browser draws of each panel: the best configurations' curves, and the target."""
    drawn = []
    for _, rows in panels(training.configurations):
        ranked = rows.assign(place=rows["verdict"].map(VERDICTS.index)).sort_values(
            ["place", "seconds_to_target", "best_validation_accuracy"], ascending=[True, True, False]
        )
        points: list[dict[str, Any]] = []
        for row in ranked.head(DRAWN).to_dict("records"):
            run = run_of(row | {"seed": 0})
            name = f"{run.optimizer}, {run.learning_rate:g}, {numbers.TIMES}\N{THIN SPACE}{run.batch_size}"
            points += [
                {"run": name, "optimizer": run.optimizer, "seconds": seconds, "accuracy": accuracy}
                | {"is_chosen": row["verdict"] == "chosen"}
                for seconds, accuracy in training.curves.get(run.configuration, ())
            ]
        drawn.append({"points": points, "target": float(rows["target_accuracy"].iloc[0])})
    return drawn


def rounded(value: Any) -> float | None:
    """An accuracy to the tenth of a percent: a validation set of some hundred samples tells no more."""
    known = number(value)
    return None if known is None else round(known, 3)
