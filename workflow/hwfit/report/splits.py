"""Whether it pays to split a batch over several devices: a composite's rows beside those of its members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from pydantic import ValidationError

from hwfit import schemas
from hwfit.catalog import SPLIT
from hwfit.composites import members_of
from hwfit.report import numbers
from hwfit.report.language import Language

RATE = "throughput_samples_per_s"
COMPARED = ["batch_size", "gain", "low", "high", "efficiency", "rate", "best", "best_member"]
ENDS = ("throughput_ci_low_samples_per_s", "throughput_ci_high_samples_per_s")


def split_effects(rows: pd.DataFrame, plan: Mapping[str, Any], words: Language) -> list[dict[str, Any]]:
    """For each composite, model and optimization one sentence, as `effects.optimization_effects` gives them.

    It speaks of the batch sizes at which a member was measured alone, in the same study; "lines" has these
    in figures. `plan` is the study's, with "devices".
    """
    measured = rows[rows["valid"] & (rows["status"] == "ok") & rows[RATE].notna()]
    split = measured[measured["runtime"] == SPLIT]
    if split.empty:
        return []
    try:
        devices = schemas.PLANNED_DEVICES.validate_python(plan.get("devices"))
    except ValidationError:
        # A plan of another version, or none: who the members are is not known.
        return []
    effects = []
    for (question, device, optimization), group in split.groupby(
        ["question", "device", "optimization"], sort=False
    ):
        if device not in devices:
            continue
        alone = measured[(measured["question"] == question) & (measured["optimization"] == optimization)]
        compared = compare(group, alone, members_of(devices, device))
        if not compared.empty:
            kind, sentence = effect(compared, words)
            where = words("splits.where", device=device).unescape()
            about = {"question": question, "device": device, "runtime": SPLIT, "optimization": optimization}
            told = {"kind": kind, "where": where, "text": sentence, "lines": lines_of(compared)}
            effects.append(about | told)
    return effects


def compare(split: pd.DataFrame, alone: pd.DataFrame, members: list[tuple[str, str]]) -> pd.DataFrame:
    """A composite's throughput against its members'.

    Parameters
    ----------
    split : the composite's rows of one model and optimization
    alone : rows of the same model and optimization, among them the members'
    members : (device, runtime)

    Returns
    -------
    for each batch size at which a member was measured: "batch_size", "gain" over the best of them with
    "low" and "high", the most doubt that both intervals leave, and "efficiency", the share of the sum of
    all members' throughput, NaN where a member was not measured; "rate", "best" and "best_member", which
    say whose these are
    """
    lines = []
    for _, row in split.sort_values("batch_size").iterrows():
        same = alone[alone["batch_size"] == row["batch_size"]]
        found = [same[(same["device"] == d) & (same["runtime"] == runtime)] for d, runtime in members]
        known = pd.concat(found)
        if known.empty:
            continue
        best = known.loc[known[RATE].idxmax()]
        (low, high), (best_low, best_high) = ([ends(each, end) for end in ENDS] for each in (row, best))
        whole = known[RATE].sum() if not any(each.empty for each in found) else float("nan")
        lines.append(
            {
                "batch_size": row["batch_size"],
                "gain": row[RATE] / best[RATE],
                "low": low / best_high,
                "high": high / best_low,
                "efficiency": row[RATE] / whole,
                "rate": row[RATE],
                "best": best[RATE],
                "best_member": f"{best['device']} · {best['runtime']}",
            }
        )
    return pd.DataFrame(lines, columns=COMPARED)


def lines_of(compared: pd.DataFrame) -> list[list[str]]:
    """A composite in figures: batch size, throughput, its best member and that one's, gain, efficiency."""
    return [
        [
            numbers.count(row["batch_size"]),
            numbers.figure(row["rate"]),
            row["best_member"],
            numbers.figure(row["best"]),
            f"{row['gain']:.2f}{numbers.TIMES} ({row['low']:.2f}{numbers.MISSING}{row['high']:.2f})",
            numbers.share(float(f"{row['efficiency']:.3g}")),
        ]
        for _, row in compared.iterrows()
    ]


def ends(row: pd.Series, name: str) -> float:
    """An end of a throughput's interval; the throughput itself where it has none."""
    return float(row[name] if pd.notna(row[name]) else row[RATE])


def effect(compared: pd.DataFrame, words: Language) -> tuple[str, str]:
    """The kind of an effect and its sentence: it pays where the whole interval of the gain is above 1."""
    faster, slower = compared[compared["low"] > 1], compared[compared["high"] < 1]
    if faster.empty:
        kind = "slower" if len(slower) == len(compared) else "same"
    else:
        kind = "pays" if len(faster) == len(compared) else "mixed"
    others = compared.drop(faster.index)
    shares = compared["efficiency"].dropna()
    low_high = (
        dict.fromkeys((numbers.share(shares.min()), numbers.share(shares.max()))) if len(shares) else {}
    )
    efficiency = words("splits.efficiency", range=numbers.MISSING.join(low_high)) if low_high else ""
    return kind, words(
        f"splits.{kind}",
        range=times(compared),
        faster=times(faster),
        rest=times(others),
        sizes=words.listing([numbers.count(size) for size in faster["batch_size"]]),
        others=words.listing([numbers.count(size) for size in others["batch_size"]]),
        efficiency=efficiency,
    ).unescape()


def times(compared: pd.DataFrame) -> str:
    """A range of factors, such as 0.73 to 0.95 times."""
    if compared.empty:
        return ""
    ends = dict.fromkeys(f"{value:.2f}" for value in (compared["gain"].min(), compared["gain"].max()))
    return numbers.MISSING.join(ends) + numbers.TIMES
