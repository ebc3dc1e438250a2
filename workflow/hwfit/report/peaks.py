"""The measured peaks of a device, by number format and runtime, beside what its maker publishes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwfit.published import Published, published_of, unbelievable
from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.numbers import number


def peak_table(inventory: Mapping[str, Any], words: Language) -> dict[str, Any] | None:
    """The table of a device; None where no peak was measured.

    Returns
    -------
    {"runtimes", "lines", "notes", "source"}: a line is {"label", "values" by runtime, "published", "share"},
    all text; notes are the reasons of peaks that are not there, and the peaks that cannot be believed
    """
    peaks = {name: value for name, told in mapping(inventory, "peaks").items() if (value := number(told))}
    if not peaks:
        return None
    states = {
        runtime: state
        for runtime, state in mapping(inventory, "runtimes").items()
        if isinstance(state, Mapping) and (state.get("peaks") or state.get("peaks_unread"))
    }
    entry = published_of(str(inventory.get("name") or ""))
    unread = {name for state in states.values() for name in mapping(state, "peaks_unread")}
    named = words.section("environment.peaks")
    return {
        "runtimes": list(states),
        "lines": [
            {
                "label": named.get(name, name),
                "values": [figure(mapping(state, "peaks").get(name)) for state in states.values()],
                **beside(name, peaks.get(name), entry),
            }
            for name in [*named, *(other for other in peaks if other not in named)]
            if name in peaks or name in unread
        ],
        "notes": notes(states, peaks, entry, words),
        "source": entry and {"name": entry.name, "document": entry.source.document, "note": entry.note},
    }


def beside(name: str, measured: float | None, entry: Published | None) -> dict[str, str]:
    """What is published of a peak, and the share of it that was measured."""
    known = entry.peaks() if entry else {}
    published = known.get("memory_gb_s" if name.startswith("memory_") else name)
    share = f"{measured / published:.0%}" if measured and published else ""
    return {"published": figure(published), "share": share}


def notes(
    states: Mapping[str, Any], peaks: Mapping[str, float], entry: Published | None, words: Language
) -> list[str]:
    """Which peaks cannot be believed, and why others are missing."""
    named = words.section("environment.peaks")
    found = [
        words("environment.unbelievable", peak=named.get(name, name), ratio=f"{ratio:.2f}").unescape()
        for name, ratio in (unbelievable(peaks, entry) if entry else {}).items()
    ]
    return found + [
        words("environment.unread", runtime=runtime, peak=named.get(name, name), reason=reason).unescape()
        for runtime, state in states.items()
        for name, reason in mapping(state, "peaks_unread").items()
    ]


def mapping(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An entry of an inventory that should be a mapping; empty where it is none."""
    found = told.get(name)
    return found if isinstance(found, Mapping) else {}


def figure(value: Any) -> str:
    """A figure as text; '' where there is none."""
    known = number(value)
    return numbers.figure(known) if known else ""
