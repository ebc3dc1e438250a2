"""After how many calls an optimization has earned back the time by which it starts later than the baseline.

A start is what a process does before its first answer: loading, session passes, and the first call, in which
some runtimes compile. What was made once for every start (an artifact) is none of it: `artifact_s`. With
S the seconds of a start and t those of a call, n calls are answered after S + (n - 1) t, and the
optimization has caught up at n = 1 + (S' - S) / (t - t').
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

BASELINE = "baseline"
NEVER = "never"
# What a row and its baseline have in common.
SAME = ("model", "device", "runtime", "scenario", "batch_size")
NEEDED = ("load_s", "first_call_ms", "latency_p50_ms", "latency_p50_ci_low_ms", "latency_p50_ci_high_ms")


def with_break_even(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the table with `break_even_calls`, each against its own baseline."""
    found = list(lines)
    baselines = {
        tuple(line[name] for name in SAME): line for line in found if line["optimization"] == BASELINE
    }
    for line in found:
        baseline = baselines.get(tuple(line[name] for name in SAME))
        if baseline is not None and line is not baseline:
            line["break_even_calls"] = break_even_calls(line, baseline)
    return found


def break_even_calls(line: Mapping[str, Any], baseline: Mapping[str, Any]) -> int | str | None:
    """Calls after which a row has caught up with its baseline; 0 where it starts no later.

    `NEVER` where its calls are slower for certain; None where the intervals of the medians overlap, a figure
    is missing or not to be trusted, and in the scenario server, whose latency is not the time of a call.
    """
    if line["scenario"] == "server" or not (line["valid"] and baseline["valid"]):
        return None
    if any(not each[name] for each in (line, baseline) for name in NEEDED):
        return None
    if line["latency_p50_ci_low_ms"] > baseline["latency_p50_ci_high_ms"]:
        return NEVER
    if line["latency_p50_ci_high_ms"] >= baseline["latency_p50_ci_low_ms"]:
        return None
    later_ms = start_ms(line) - start_ms(baseline)
    if later_ms <= 0:
        return 0
    return 1 + math.ceil(later_ms / (baseline["latency_p50_ms"] - line["latency_p50_ms"]))


def start_ms(line: Mapping[str, Any]) -> float:
    """From files to the first answer, in ms."""
    return float(line["load_s"] * 1e3 + line["first_call_ms"])
