"""What the rows say, in sentences and small tables: coverage, validity, the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

from hwfit.identities import each_named
from hwfit.records import STATUSES, TRUST_BREAKING_FLAGS
from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.numbers import number
from hwfit.report.peaks import peak_table
from hwfit.report.table import values_of
from hwfit.search.records import REASON

REASONS_SHOWN = 12
GRID_DEVICES = 40
# What must never reach a page that people pass on: `user:password@` and secret parameters of a URI.
CREDENTIALS = re.compile(
    r"(?<=://)[^/\s'\"]*@|(?<=[?&])[^=&\s]*(?:password|token|secret|key)[^=&\s]*=[^&\s'\"]*", re.I
)


def coverage(rows: pd.DataFrame, words: Language) -> dict[str, Any]:
    """How much of the matrix was measured, and what stood in the way of the rest."""
    counts = rows["status"].value_counts()
    statuses = [
        {
            "name": status,
            "label": words.find("statuses", status) or status,
            "count": int(counts[status]),
            "share": counts[status] / len(rows),
        }
        for status in [*STATUSES, *sorted(set(counts.index) - set(STATUSES))]
        if counts.get(status)
    ]
    left_out = rows[rows["status"] != "ok"].copy()
    # Each has figures of its own there: the table has them.
    is_guided = left_out["reason"].fillna("").str.startswith(REASON)
    left_out.loc[is_guided, "reason"] = str(words("coverage.guided"))
    reasons: list[dict[str, Any]] = [
        {
            "status": words.find("statuses", status) or status,
            "reason": reason or words("coverage.no_reason"),
            "count": len(group),
            "where": where(group),
        }
        for (status, reason), group in left_out.groupby(["status", "reason"], sort=False)
    ]
    reasons.sort(key=lambda each: -each["count"])
    return {
        "statuses": statuses,
        "reasons": reasons[:REASONS_SHOWN],
        "more_reasons": max(0, len(reasons) - REASONS_SHOWN),
        "grid": grid(rows),
        "rejected": int(((rows["verdict"] == "rejected") & rows["valid"]).sum()),
    }


def where(group: pd.DataFrame) -> str:
    """The devices, runtimes and optimizations that a group of rows is about, as far as they are few."""
    parts = []
    for column in ("device", "runtime", "optimization"):
        values = values_of(group, column)
        if len(values) <= 3:
            parts.append(", ".join(values))
    return " · ".join(part for part in parts if part)


def grid(rows: pd.DataFrame) -> dict[str, Any] | None:
    """Measured combinations of each device and runtime, or None where it would be too long to read."""
    devices, runtimes = values_of(rows, "device"), values_of(rows, "runtime")
    if not devices or len(devices) > GRID_DEVICES:
        return None
    planned = rows.groupby(["device", "runtime"]).size()
    measured = rows[rows["status"] == "ok"].groupby(["device", "runtime"]).size()
    cells = {
        device: [
            (int(measured.get((device, runtime), 0)), int(planned.get((device, runtime), 0)))
            for runtime in runtimes
        ]
        for device in devices
    }
    return {"runtimes": runtimes, "cells": cells}


def validity(rows: pd.DataFrame, words: Language) -> dict[str, Any]:
    """How many measurements can be trusted, and each flag with what it means."""
    measured = rows[rows["status"] == "ok"]
    flags = measured["flags"].str.split().explode().dropna().value_counts()
    listed: list[dict[str, Any]] = [
        {
            "code": code,
            "count": int(count),
            "breaks_trust": code in TRUST_BREAKING_FLAGS,
            "meaning": words.find("flags", code) or words("validity.unknown_flag"),
        }
        for code, count in flags.items()
    ]
    listed.sort(key=lambda each: (not each["breaks_trust"], -each["count"], each["code"]))
    return {"measured": len(measured), "distrusted": int((~measured["valid"]).sum()), "flags": listed}


def environment(inventories: Mapping[str, Mapping[str, Any]], words: Language) -> list[dict[str, Any]]:
    """Each device as its inventory tells it; what it does not tell is left out."""
    devices = []
    for name, inventory in each_named(inventories):
        facts: list[tuple[str, str]] = [
            (words(f"environment.{key}"), str(value))
            for key in ("name", "accelerator", "identity", "driver", "cores")
            if (value := inventory.get(key)) is not None
        ]
        if number(inventory.get("memory_mb")) is not None:
            facts.append((words("environment.memory"), f"{numbers.count(inventory['memory_mb'])} MB"))
        if number(inventory.get("last_cache_mb")) is not None:
            facts.append(
                (words("environment.last_cache"), f"{numbers.figure(inventory['last_cache_mb'])} MB")
            )
        sensors = [str(sensor) for sensor in inventory.get("sensors") or []]
        facts.append((words("environment.sensors"), ", ".join(sensors) or words("environment.no_sensors")))
        runtimes = [
            (runtime, runtime_state(found, words))
            for runtime, found in (inventory.get("runtimes") or {}).items()
        ]
        devices.append(
            {
                "device": name,
                "available": inventory.get("status", "ok") == "ok",
                "reason": inventory.get("reason") or "",
                "facts": facts,
                "peaks": peak_table(inventory, words),
                "runtimes": runtimes,
                "cpu_flags": " ".join(str(flag) for flag in inventory.get("cpu_flags") or []),
            }
        )
    return devices


def runtime_state(found: Any, words: Language) -> str:
    """A runtime's version, or why there is none."""
    if not isinstance(found, Mapping):
        return str(found)
    status = found.get("status", "ok")
    if status == "ok":
        return str(found.get("runtime_version") or "")
    label = words.find("statuses", status) or status
    return f"{label}: {found['reason']}" if found.get("reason") else str(label)


def config_text(plan: Mapping[str, Any]) -> str:
    """The resolved config, with the catalogs where the plan holds them, as YAML without credentials."""
    text = yaml.safe_dump(
        plan.get("study") or plan.get("config") or {}, sort_keys=False, allow_unicode=True, width=100
    )
    return CREDENTIALS.sub("…", text)
