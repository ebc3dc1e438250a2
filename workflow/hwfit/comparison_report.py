"""A comparison as a user reads it: a summary on the terminal, one JSON file, one CSV table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hwfit import __version__
from hwfit.collect import Row
from hwfit.compare import VERDICTS, Comparison, Line, Run, metric
from hwfit.comparison_context import remarks
from hwfit.comparison_options import DIFFERENCE
from hwfit.power import FAMILY_ERROR, detectable_difference, rounds_needed
from hwfit.records import SCHEMA_VERSION, Cell

FIGURES = ("accuracy", "fidelity", "peak_memory_mb", "model_size_mb", "file_size_mb")
COLUMNS = (
    *("model", "device", "runtime", "optimization", "scenario", "batch_size", "verdict", "reason"),
    *("pace_ratio", "pace_ratio_ci_low", "pace_ratio_ci_high", "p_value", "p_value_adjusted"),
    *("spread", "detectable_difference", "rounds_needed"),
    *(f"{name}_{side}" for name in ("status", "rounds", "pace_ms", *FIGURES) for side in ("against", "here")),
    "notes",
)
HEADINGS = {
    "worse": "Worse",
    "better": "Better",
    "cannot_tell": "Cannot be told",
    "only_there": "Only in the run compared with",
    "only_here": "Only here",
    "no_difference": "No difference",
}
MOST_LISTED = 20


def describe(comparison: Comparison, here: Run, there: Run, difference: float = DIFFERENCE) -> dict[str, Any]:
    """The comparison as plain data.

    Parameters
    ----------
    difference : the one for which `rounds_needed` is worked out, 0.05 for 5%
    """
    lines = [as_row(line, comparison, difference) for line in comparison.lines]
    return {
        "schema_version": SCHEMA_VERSION,
        "hwfit_version": __version__,
        "here": here.name,
        "against": there.name,
        "family_wise_error": FAMILY_ERROR,
        "quality_tolerance": comparison.quality_tolerance,
        "difference": difference,
        "counts": comparison.counts,
        "comparisons": len(comparison.tested),
        "devices": {device: describe_device(device, comparison, lines) for device in comparison.devices},
        "notes": remarks(comparison, here, there),
        "combinations": lines,
    }


def describe_device(
    device: str, comparison: Comparison, lines: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """What can be found on a device, and what it would take.

    `rounds_needed` is for half of the combinations and for all of them; None where a thousand rounds are
    not enough, or nothing was tested.
    """
    spread = comparison.devices[device]
    tested = [line for line in lines if line["device"] == device and line["pace_ratio"] is not None]
    needed = sorted(line["rounds_needed"] or np.inf for line in tested)
    found = sorted(line["detectable_difference"] for line in tested)
    middle = (len(tested) - 1) // 2
    return {
        "spread": spread.relative,
        "is_spread_assumed": spread.is_assumed,
        "comparisons": len(tested),
        "detectable_difference_half": found[middle] if found else None,
        "detectable_difference_all": found[-1] if found else None,
        "rounds_needed_half": finite(needed[middle]) if needed else None,
        "rounds_needed_all": finite(needed[-1]) if needed else None,
    }


def as_row(line: Line, comparison: Comparison, difference: float) -> dict[str, Any]:
    """One line with the columns of the table."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= line.cell.__dict__ | {"batch_size": line.batch_size, "verdict": line.verdict}
    row |= {"reason": line.reason, "notes": "; ".join(line.notes)}
    for side, measured in (("against", line.there), ("here", line.here)):
        row |= {f"{name}_{side}": value for name, value in figures_of(measured).items()}
    if found := line.test:
        tested, device = comparison.tested, line.cell.device
        rows = comparison.tested_on[device]
        row |= {
            "pace_ratio": found.ratio,
            "pace_ratio_ci_low": found.low,
            "pace_ratio_ci_high": found.high,
            "p_value": found.p,
            "p_value_adjusted": found.p_adjusted,
            "spread": found.spread.relative,
            "detectable_difference": detectable_difference(
                found.relative_error, found.spread.degrees, len(tested)
            ),
            "rounds_needed": rounds_needed(
                found.spread, comparison.devices[device], difference, len(tested), rows
            ),
        }
    return row


def figures_of(row: Row | None) -> dict[str, Any]:
    """What the table shows of one side."""
    if row is None:
        return {}
    paces = [profile.pace_ms for profile in row.rounds if profile.pace_ms]
    figures: dict[str, Any] = {name: metric(row, name) for name in FIGURES}
    pace = float(np.exp(np.mean(np.log(paces)))) if paces else None
    return {"status": row.status, "rounds": len(row.rounds), "pace_ms": pace} | figures


def to_csv(described: Mapping[str, Any]) -> str:
    """The combinations as CSV; what is not known is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(described["combinations"])
    return stream.getvalue()


def summary(described: Mapping[str, Any]) -> str:
    """What is printed: worst first, then what else differs, then what could have been found."""
    counts = described["counts"]
    here = "This run" if described["here"] == "." else described["here"]
    said = [f"{here} compared with {described['against']}"]
    said.append(", ".join(f"{counts[name]} {HEADINGS[name].lower()}" for name in VERDICTS if counts[name]))
    for verdict in VERDICTS:
        of_it = [line for line in described["combinations"] if line["verdict"] == verdict and is_news(line)]
        if of_it:
            said += ["", f"{HEADINGS[verdict]}:"]
            said += [f"  {named(line)}: {line['reason']}{noted(line)}" for line in of_it[:MOST_LISTED]]
            said += [f"  and {len(of_it) - MOST_LISTED} more"] if len(of_it) > MOST_LISTED else []
    if described["notes"]:
        said += ["", "To be known beside it:", *(f"  {note}" for note in described["notes"])]
    for device, found in described["devices"].items():
        said += ["", *sensitivity(device, found, described["difference"])]
    return "\n".join(said)


def sensitivity(device: str, found: Mapping[str, Any], difference: float) -> list[str]:
    """What a comparison on a device can find, in words."""
    if not found["comparisons"]:
        return [f"{device}: nothing could be tested"]
    assumed = " (assumed: nothing was measured in several processes)" if found["is_spread_assumed"] else ""
    half, whole = found["detectable_difference_half"], found["detectable_difference_all"]
    needed = found["rounds_needed_half"], found["rounds_needed_all"]
    said = [
        f"{device}: processes lie {found['spread']:.1%} apart{assumed}. With 95% probability these rounds "
        f"find a difference of {half:.1%} in half of the combinations, of {whole:.1%} in all.",
        f"  {difference:.1%} takes {in_words(needed[0])} a side in half of them, {in_words(needed[1])} "
        "in all.",
    ]
    if needed[1]:
        said.append(f"  `measurement: {{rounds: {needed[1]}, confirm_rounds: {needed[1]}}}` in both runs.")
    return said


def in_words(rounds: int | None) -> str:
    return f"{rounds} rounds" if rounds else "more than 1,000 rounds"


def is_news(line: Mapping[str, Any]) -> bool:
    """Whether a line is worth one of the summary; the table has every one."""
    was_measured = "ok" in (line["status_against"], line["status_here"])
    return line["verdict"] != "no_difference" and (was_measured or line["verdict"] != "cannot_tell")


def named(line: Mapping[str, Any]) -> str:
    """A combination in words."""
    cell = Cell(**{name: line[name] for name in Cell.__dataclass_fields__})
    return f"{cell}, batch {line['batch_size']}"


def noted(line: Mapping[str, Any]) -> str:
    return f" [{line['notes']}]" if line["notes"] else ""


def finite(value: float) -> int | None:
    """A number of rounds, or None where none is enough."""
    return int(value) if np.isfinite(value) else None
