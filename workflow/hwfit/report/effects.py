"""What each optimization does here: whether it pays, why not, what else it costs and saves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hwfit.break_even import NEVER
from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.reasons import reason

# The table of effects, in order, and how its values are written; the first are always shown.
COLUMNS = {
    "optimization": "text",
    "device": "text",
    "runtime": "text",
    "batch_size": "count",
    "effect": "effect",
    "speedup": "interval",
    "accuracy_drop": "points",
    "perplexity_increase": "share",
    "fidelity": "share",
    "break_even_calls": "calls",
    "start_later_s": "seconds",
    "file_ratio": "times",
    "model_ratio": "times",
    "memory_ratio": "times",
    "energy_ratio": "times",
    "artifact_s": "figure",
}
ALWAYS = tuple(COLUMNS)[:6]
# Of a start that is later by less, or of an artifact that was made sooner, no sentence speaks.
WORTH_TELLING_S = 0.5
# What a file or the memory must be over the baseline's, at most, for a sentence to speak of it.
SMALLER = 0.9
RANKS = {"slower": 0, "same": 1, "limits": 2, "mixed": 3, "pays": 4}


def optimization_effects(
    rows: pd.DataFrame,
    plan: Mapping[str, Any],
    inventories: Mapping[str, Mapping[str, Any]],
    words: Language,
) -> list[dict[str, str]]:
    """For each model, device, runtime and optimization some sentences: whether it pays here, and why not.

    It pays at a batch size when the whole interval of its speedup lies above 1.
    """
    effects = []
    # Copied, so that its columns lie together: each of thousands of groups is taken from it several times.
    compared = rows[rows["speedup"].notna()].copy()
    for (question, device, runtime, optimization), group in compared.groupby(
        ["question", "device", "runtime", "optimization"], sort=False
    ):
        group = group.sort_values("batch_size")
        kind, sentence = effect(group, words)
        more = [
            # Where it pays, nothing has to be explained.
            reason(group, kind, passes_of(plan, str(optimization)), inventories.get(str(device), {}), words)
            if kind in ("slower", "same")
            else "",
            smaller(group, words) if kind in ("slower", "same") else "",
            break_even(group, passes_of(plan, str(optimization)), words),
            made(group, words),
        ]
        effects.append(
            {
                "question": question,
                "device": device,
                "runtime": runtime,
                "optimization": optimization,
                "kind": kind,
                "where": words("effects.where", device=device, runtime=runtime).unescape(),
                "text": words.section("sentence_separator").join([sentence, *filter(None, more)]),
            }
        )
    return sorted(effects, key=lambda each: RANKS[each["kind"]])


def effect(group: pd.DataFrame, words: Language) -> tuple[str, str]:
    """The kind of an effect and its sentence, as plain text, for one cell's batch sizes."""
    faster = group[group["effect"].isin(["pays", "limits"])]
    sizes = [numbers.count(size) for size in faster["batch_size"]]
    if faster.empty:
        kind = "slower" if (group["effect"] == "slower").all() else "same"
    elif (faster["standing"] == "out").all():
        kind = "limits"
    else:
        kind = "pays" if len(faster) == len(group) else "mixed"
    others = group.drop(faster.index)
    return kind, words(
        f"effects.{kind}",
        range=times(group["speedup"]),
        faster=times(faster["speedup"]),
        sizes=words.listing(sizes),
        others=words.listing([numbers.count(size) for size in others["batch_size"]]),
        rest=times(others["speedup"]),
        quality=quality(group, words),
    ).unescape()


def times(values: pd.Series) -> str:
    """A range of factors, such as 0.73 to 0.95 times."""
    return spread([f"{value:.2f}" for value in values.sort_values()], numbers.TIMES)


def spread(texts: list[str], unit: str = "") -> str:
    """The first and the last of some values, or the one they are."""
    ends = dict.fromkeys((texts[0], texts[-1])) if texts else {}
    return numbers.MISSING.join(ends) + unit if ends else ""


def quality(group: pd.DataFrame, words: Language) -> str:
    """The worst accuracy and fidelity of a cell, since speed is never told without them."""
    facts = []
    if group["accuracy_drop"].notna().any():
        drop = group["accuracy_drop"].max()
        facts.append(words("effects.drop" if drop >= 0 else "effects.gain", points=numbers.points(abs(drop))))
    if group["fidelity"].notna().any():
        facts.append(words("effects.fidelity", share=numbers.share(group["fidelity"].min())))
    return words.listing(facts) if facts else words("effects.unknown_quality")


def smaller(group: pd.DataFrame, words: Language) -> str:
    """What it saves in place of time: bytes on disk, memory."""
    facts = [
        words(f"effects.smaller_{name}", share=numbers.share(float(f"{ratio:.2g}")))
        for name, ratio in (("file", group["file_ratio"].min()), ("memory", group["memory_ratio"].max()))
        if ratio < SMALLER
    ]
    return words("effects.smaller", what=words.listing(facts)).unescape() if facts else ""


def break_even(group: pd.DataFrame, passes: list[Mapping[str, Any]], words: Language) -> str:
    """After how many calls it has earned back that it starts later, where it does by enough to matter."""
    calls = group["break_even_calls"]
    known = group[calls.notna() & (calls != NEVER) & (group["start_later_s"] >= WORTH_TELLING_S)]
    if known.empty:
        return ""
    compiles = any(step.get("pass") == "compile" for step in passes)
    return words(
        "effects.compiling" if compiles else "effects.break_even",
        seconds=spread([numbers.figure(value) for value in known["start_later_s"].sort_values()]),
        calls=spread([rounded(value) for value in known["break_even_calls"].astype(float).sort_values()]),
    ).unescape()


def rounded(count: float) -> str:
    """A count of no more digits than are known."""
    return numbers.count(float(f"{count:.2g}"))


def made(group: pd.DataFrame, words: Language) -> str:
    """What making its artifact took, once."""
    seconds = group["artifact_s"].max()
    if not seconds >= WORTH_TELLING_S:
        return ""
    return words("effects.made", seconds=numbers.figure(seconds)).unescape()


def passes_of(plan: Mapping[str, Any], optimization: str) -> list[Mapping[str, Any]]:
    """The passes of an optimization as the plan has them; none where it does not tell."""
    found: Any = plan.get("optimizations")
    for key in (optimization, "passes"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return [step for step in found if isinstance(step, Mapping)] if isinstance(found, list) else []


def table_columns(rows: pd.DataFrame, words: Language) -> list[dict[str, str]]:
    """The columns of the table of effects that have something to say."""
    compared = rows[rows["speedup"].notna()]
    return [
        {"name": name, "label": words(f"effects.columns.{name}"), "kind": kind}
        for name, kind in COLUMNS.items()
        if name in ALWAYS or compared[name].notna().any()
    ]
