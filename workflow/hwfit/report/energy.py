"""Energy in the report: by which meters, in which scopes, and where there is none, why and how to have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.table import values_of

# Of each device the sources that cannot be read, with the reason of each.
Absences = Mapping[str, tuple[str, ...]]


def energy_scopes(rows: pd.DataFrame) -> list[str]:
    """The scopes of what was metered, in order of appearance; empty for one that is not told."""
    return list(rows.loc[rows["energy_j_per_sample"].notna(), "energy_scope"].unique())


def figure_of(scope: str) -> str:
    """The name of a scope's chart, fit for an element of the page."""
    return f"energy-{scope}".replace("+", "-and-").rstrip("-")


def figures(rows: pd.DataFrame, words: Language) -> list[tuple[str, str]]:
    """The chart of each scope, with its caption."""
    title = words("columns.energy_j_per_sample")
    return [
        (
            figure_of(scope),
            words("energy.of", title=title, scope=scope_word(scope, words)) if scope else title,
        )
        for scope in energy_scopes(rows)
    ]


def scope_word(scope: str, words: Language) -> str:
    """A scope in words; the parts of one that is joined, beside each other."""
    return " + ".join(words.find("energy.scopes", part) or part for part in scope.split("+"))


def meters(rows: pd.DataFrame, words: Language) -> list[dict[str, Any]]:
    """What was metered on each device: how, of what, how many rows, and between which powers."""
    metered = rows[rows["power_w"].notna()]
    return [
        {
            "device": device,
            "source": source,
            "scope": scope_word(scope, words),
            "rows": len(group),
            "idle": span(group["idle_power_w"]),
            "power": span(group["power_w"]),
        }
        for (device, source, scope), group in metered.groupby(
            ["device", "energy_source", "energy_scope"], sort=False
        )
    ]


def span(values: pd.Series) -> str:
    """Between which figures values lie; one where they look the same."""
    ends = [numbers.figure(end) for end in (values.min(), values.max())]
    return ends[0] if ends[0] == ends[1] else numbers.interval(values.min(), values.max())


def notes(rows: pd.DataFrame, absences: Absences, is_wanted: bool, words: Language) -> list[Markup]:
    """A line for the devices without energy: why, and how to have it. The reasons are English, as the worker
    wrote them.
    """
    measured = rows[rows["status"] == "ok"]
    without: dict[str, list[str]] = {}
    for device in values_of(measured, "device"):
        own = measured[measured["device"] == device]
        if own["energy_j_per_sample"].notna().any():
            continue
        flagged = "flagged" if own["flags"].str.contains("energy_").any() else ""
        reason = "; ".join(absences.get(device, ())) or flagged
        without.setdefault(reason if is_wanted else "not_wanted", []).append(device)
    return [
        words(f"energy.{reason or 'no_meter'}", devices=words.listing(devices))
        if reason in ("", "not_wanted", "flagged")
        else words(
            "energy.absent",
            devices=words.listing(devices),
            reason=Markup('<span lang="en">{}</span>').format(reason),
        )
        for reason, devices in without.items()
    ]
