"""The rows of the report: the table as read, made safe, with what the charts derive from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hwfit.break_even import NEVER
from hwfit.records import COLUMNS, VERDICTS
from hwfit.report import roofline
from hwfit.report.answers import limits_for
from hwfit.report.numbers import COUNT_COLUMNS, NEVER_COLUMNS, TEXT_COLUMNS, number

BASELINE = "baseline"
IDENTITY = ("model", "device", "runtime", "optimization", "scenario", "batch_size")

# What the charts need beside the table's own columns.
DERIVED = (
    "question",
    "speedup",
    "speedup_low",
    "speedup_high",
    "file_ratio",
    "model_ratio",
    "memory_ratio",
    "energy_ratio",
    "parameters_ratio",
    "nonzero_ratio",
    "start_later_s",
    "effect",
    "quality_lost",
    "quality_limit",
    "accuracy_limit",
    "intensity",
    "achieved_gflops",
    "drawn",
    "standing",
)
# Of a row over its baseline: how it is called, the column it is of.
RATIOS = {
    "file_ratio": "file_size_mb",
    "model_ratio": "model_size_mb",
    "memory_ratio": "peak_memory_mb",
    "energy_ratio": "energy_j_per_sample",
    "parameters_ratio": "parameters",
    "nonzero_ratio": "nonzero_parameters",
}
# A measurement is never better known than this; the digits beyond only make the file larger.
SIGNIFICANT_DIGITS = 7

# Nothing that was measured is outside, and arithmetic on what is would overflow.
MEASURABLE = (1e-100, 1e100)

HIGHER_IS_BETTER = {"throughput": "throughput_samples_per_s"}
LOWER_IS_BETTER = {
    "latency": "latency_p50_ms",
    "energy": "energy_j_per_sample",
    "cost": "cost_per_million",
}


def prepare(table: pd.DataFrame, recommendation: Mapping[str, Any]) -> pd.DataFrame:
    """The table with every column in place and typed, the derived ones added, the best rows first."""
    rows = clean(table)
    rows = rows.join(derive(rows, recommendation))
    return in_reading_order(rows, str(recommendation.get("objective", "throughput")))


def clean(table: pd.DataFrame) -> pd.DataFrame:
    """Every column of `records.COLUMNS`: text without NaN, finite numbers or NaN, `valid` as a bool."""
    rows = table.reindex(columns=list(COLUMNS)).reset_index(drop=True)
    for column in COLUMNS:
        if column in TEXT_COLUMNS:
            rows[column] = rows[column].astype(object).where(rows[column].notna(), "").map(str).astype(object)
        elif column == "valid":
            rows[column] = rows[column].map(lambda value: str(value).lower() == "true").astype(bool)
        else:
            told = rows[column]
            numbers = pd.to_numeric(told, errors="coerce").astype(float)
            rows[column] = numbers.where((numbers == 0) | numbers.abs().between(*MEASURABLE))
            if column in NEVER_COLUMNS:
                rows[column] = rows[column].astype(object).mask(told == NEVER, NEVER)
    return rows


def derive(rows: pd.DataFrame, recommendation: Mapping[str, Any]) -> pd.DataFrame:
    """Intervals, what a row has over its baseline, quality lost, and how it stands against the limits."""
    derived = pd.DataFrame(index=rows.index)
    p50, low, high = (
        rows[f"latency_{name}_ms"].where(lambda values: values > 0)
        for name in ("p50", "p50_ci_low", "p50_ci_high")
    )
    # What has an answer of its own: a model, and where there are several, how its requests arrive.
    scenarios = rows["scenario"].str.replace("_", " ")
    derived["question"] = rows["model"] + (" · " + scenarios if scenarios.nunique() > 1 else "")
    derived["drawn"] = (rows["status"] == "ok") & rows["valid"] & p50.notna() & (rows["batch_size"] > 0)
    # On a logarithmic axis there is no place for what an edited table may say.
    derived["drawn"] &= ~(rows["throughput_samples_per_s"] <= 0)

    # Between answers to requests at random a latency is no measure of speed: there, it is the rate.
    is_server = rows["scenario"] == "server"
    pace, low, high = (
        values.where(~is_server, 1 / rows[f"throughput_{name}samples_per_s"].where(lambda rate: rate > 0))
        for values, name in ((p50, ""), (low, "ci_high_"), (high, "ci_low_"))
    )
    key = ["model", "device", "runtime", "scenario", "batch_size"]
    compared = {name: rows[column] for name, column in RATIOS.items()}
    compared["source"] = rows["energy_source"] + " " + rows["energy_scope"]
    starts = rows["load_s"] + rows["first_call_ms"] / 1e3
    measured = rows[key].assign(pace=pace, low=low, high=high, start=starts, **compared)
    is_baseline = derived["drawn"] & (rows["optimization"] == BASELINE)
    baselines = measured[is_baseline].drop_duplicates(key)
    base = measured[key].merge(baselines, on=key, how="left").set_index(rows.index)
    optimized = derived["drawn"] & ~is_baseline
    # The widest ratio that both intervals allow: rather too wide than too sure.
    derived["speedup"] = (base["pace"] / pace).where(optimized)
    derived["speedup_low"] = (base["low"] / high).where(optimized)
    derived["speedup_high"] = (base["high"] / low).where(optimized)
    for name in RATIOS:
        derived[name] = (measured[name] / base[name].where(base[name] > 0)).where(optimized)
    # Sensors of other scopes measure other things.
    derived["energy_ratio"] = derived["energy_ratio"].where(measured["source"] == base["source"])
    derived["start_later_s"] = (measured["start"] - base["start"]).where(optimized)

    # Accuracy where the model has labelled data, fidelity elsewhere: one measure a model, in points.
    has_accuracy = rows["accuracy_drop"].notna().groupby(rows["model"]).transform("any").astype(bool)
    lost = rows["accuracy_drop"].where(has_accuracy, 1 - rows["fidelity"])
    derived["quality_lost"] = 100 * lost.where(optimized)
    drop_limit, fidelity_limit = (
        limit_of(rows, name, recommendation) for name in ("max_accuracy_drop", "min_fidelity")
    )
    derived["quality_limit"] = (100 * drop_limit).where(has_accuracy, 100 * (1 - fidelity_limit))
    derived["accuracy_limit"] = rows["accuracy"] + rows["accuracy_drop"] - drop_limit
    places = roofline.places(rows).where(derived["drawn"])
    derived[["intensity", "achieved_gflops"]] = places
    derived["standing"] = standing(rows, recommendation)
    derived["effect"] = effect_kind(derived)
    return derived[list(DERIVED)]


def effect_kind(derived: pd.DataFrame) -> pd.Series:
    """What an optimization does to a row: 'pays' where the whole interval of its speedup lies above 1, or
    'limits' where no limit lets such a row through; 'slower' where it lies below 1, 'same' otherwise; '' for
    what has no speedup.
    """
    low = derived["speedup_low"].fillna(derived["speedup"])
    high = derived["speedup_high"].fillna(derived["speedup"])
    kinds = pd.Series("", index=derived.index, dtype=object).mask(derived["speedup"].notna(), "same")
    kinds = kinds.mask(high < 1, "slower").mask(low > 1, "pays")
    return kinds.mask((kinds == "pays") & (derived["standing"] == "out"), "limits")


def limit_of(rows: pd.DataFrame, name: str, recommendation: Mapping[str, Any]) -> pd.Series:
    """A limit as it holds for each row, NaN where none does."""
    questions = rows[["model", "scenario"]].drop_duplicates()
    known = {
        (model, scenario): limits_for(recommendation, model, scenario).get(name, np.nan)
        for model, scenario in zip(questions["model"], questions["scenario"], strict=True)
    }
    own = [known[question] for question in zip(rows["model"], rows["scenario"], strict=True)]
    return pd.Series(own, index=rows.index, dtype=float)


def standing(rows: pd.DataFrame, recommendation: Mapping[str, Any]) -> pd.Series:
    """'pick' for a row that the recommendation names, 'out' for one that no limit lets through, else 'in'."""
    stands = pd.Series("in", index=rows.index, dtype=object)
    stands[rows["verdict"].isin(["rejected", "unproven"])] = "out"
    picks = {identity(entry["chosen"]) for entry in recommendation.get("models") or [] if entry.get("chosen")}
    if picks:
        names = zip(*(rows[column] for column in IDENTITY), strict=True)
        stands[[identity(dict(zip(IDENTITY, name, strict=True))) in picks for name in names]] = "pick"
    return stands


def identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What names a row, comparable between the table and the recommendation."""
    return (*(str(row.get(column, "")) for column in IDENTITY[:-1]), number(row.get("batch_size")))


def in_reading_order(rows: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Questions as they came; in each the chosen row first, then by verdict, then best first."""
    ranks = {verdict: rank for rank, verdict in enumerate(VERDICTS)}
    if objective in LOWER_IS_BETTER:
        score = rows[LOWER_IS_BETTER[objective]]
    else:
        score = -rows[HIGHER_IS_BETTER["throughput"]]
    order = pd.DataFrame(
        {
            "question": pd.factorize(rows["question"])[0],
            "pick": rows["standing"] != "pick",
            "verdict": rows["verdict"].map(ranks).fillna(len(ranks)),
            "score": score,
        }
    ).sort_values(["question", "pick", "verdict", "score"], kind="stable", na_position="last")
    return rows.loc[order.index].reset_index(drop=True)


def values_of(rows: pd.DataFrame, column: str) -> list[str]:
    """A text column's values, in order of appearance, without the empty one."""
    return [value for value in rows[column].unique() if value != ""]


def as_json(rows: pd.DataFrame) -> list[list[Any]]:
    """The rows as plain lists for the browser; what was not measured is null."""
    columns = []
    for name in (*COLUMNS, *DERIVED):
        values = rows[name].tolist()
        if name in TEXT_COLUMNS or name in ("valid", "drawn", "standing", "question", "effect"):
            columns.append(values)
        elif name in NEVER_COLUMNS:
            columns.append([v if v == NEVER else None if v != v else round(v) for v in values])
        elif name in COUNT_COLUMNS:
            columns.append([None if value != value else round(value) for value in values])
        else:
            columns.append([None if value != value else shortened(value) for value in values])
    return [list(row) for row in zip(*columns, strict=True)]


def shortened(value: float) -> float | int:
    """A number with no more digits than are worth sending."""
    short = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def script_json(data: Any) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
