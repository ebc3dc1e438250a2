"""Limits: whether a row meets, violates or leaves one unproven, and the tightest that it still meets.

A bound is a number, or a share of the baseline's figure (`50% of baseline`). A figure that follows the
pace of a row has the row's doubt, and the baseline's beside it where the bound is relative; both intervals
must clear each other, which is rather too strict than too lenient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwfit.catalog import has_latency, is_generation
from hwfit.decide import energy_scopes
from hwfit.decide.candidate import Candidate, Finding
from hwfit.decide.energy_scopes import scope_of
from hwfit.relative_bound import relative_share
from hwfit.series import exceedance_verdict

Bound = float | str


# The unit of what is in the currency of the study.
MONEY = "currency"


@dataclass(frozen=True)
class Limit:
    """What a limit of the config speaks of: a column, and the side on which it is met."""

    column: str
    is_minimum: bool = False
    percentile: float | None = None
    unit: str = ""

    def unit_of(self, candidate: Candidate) -> str:
        """The unit of a candidate's figure: of a cost, its currency."""
        return f" {candidate.line.get('currency') or ''}".rstrip() if self.unit == MONEY else self.unit


LIMITS = {
    "latency_p50_ms": Limit("latency_p50_ms", unit=" ms"),
    "latency_p90_ms": Limit("latency_p90_ms", percentile=0.90, unit=" ms"),
    "latency_p99_ms": Limit("latency_p99_ms", percentile=0.99, unit=" ms"),
    "time_to_first_token_ms": Limit("time_to_first_token_ms", unit=" ms"),
    "time_per_output_token_ms": Limit("time_per_output_token_ms", unit=" ms"),
    "min_throughput_samples_per_s": Limit("throughput_samples_per_s", is_minimum=True, unit="/s"),
    "max_accuracy_drop": Limit("accuracy_drop"),
    "max_perplexity_increase": Limit("perplexity_increase"),
    "min_fidelity": Limit("fidelity", is_minimum=True),
    "max_memory_mb": Limit("peak_memory_mb", unit=" MB"),
    "max_model_size_mb": Limit("model_size_mb", unit=" MB"),
    "max_power_w": Limit("power_w", unit=" W"),
    "max_energy_j_per_sample": Limit("energy_j_per_sample", unit=" J"),
    "max_cost_usd_per_million": Limit("cost_usd_per_million", unit=" USD"),
    "max_cost_per_million": Limit("cost_per_million", unit=MONEY),
}
# Those that follow the price of a device.
COST_LIMITS = ("max_cost_usd_per_million", "max_cost_per_million")
LATENCIES = ("latency_p50_ms", "latency_p90_ms", "latency_p99_ms")
# Columns that a language model alone has: their limits say nothing of others.
TOKEN_COLUMNS = ("time_to_first_token_ms", "time_per_output_token_ms", "perplexity_increase")
# Columns that follow the pace of a row, and have its relative doubt.
PACED = (
    *LATENCIES,
    "throughput_samples_per_s",
    "time_to_first_token_ms",
    "time_per_output_token_ms",
    "energy_j_per_sample",
    "cost_usd_per_million",
    "cost_per_million",
)


@dataclass(frozen=True)
class Asked:
    """A bound in the limit's own unit, and the ends of what it may be where it follows a baseline."""

    value: float
    low: float
    high: float
    words: str


def check(candidate: Candidate, name: str, bound: Bound) -> Finding:
    """How a candidate stands to one limit, with the evidence."""
    limit = LIMITS[name]
    if excuse := not_applicable(candidate, limit):
        return Finding(name, "met", f"does not apply: {excuse}")
    asked = resolve(candidate, limit, bound)
    if isinstance(asked, str):
        return Finding(name, "unproven", asked)
    if limit.column == "accuracy_drop" and candidate.line.get("accuracy_drop") is None:
        return check_accuracy_without_labels(candidate, name, asked.value)
    if limit.percentile is not None:
        return check_percentile(candidate, name, asked, limit)
    figure = candidate.line.get(limit.column)
    if figure is None:
        return Finding(name, "unproven", f"{limit.column} was not measured")
    low, high = interval(candidate, limit, bound)
    overshoot = (asked.value - figure if limit.is_minimum else figure - asked.value) / max(
        abs(asked.value), 1e-12
    )
    shown = f"{limit.column} {figure:.4g}{limit.unit_of(candidate)}"
    if limit.column in energy_scopes.COLUMNS:
        shown += f" ({energy_scopes.metered_words(candidate.line)})"
    if low >= asked.high if limit.is_minimum else high <= asked.low:
        return Finding(name, "met", shown)
    if high < asked.low if limit.is_minimum else low > asked.high:
        side, sign = ("under", "<") if limit.is_minimum else ("over", ">")
        by = f", {side} by {overshoot:.0%}" if asked.value else ""
        return Finding(name, "violated", f"{shown} {sign} {asked.words}{by}", overshoot)
    text = f"{shown} ({low:.4g} to {high:.4g}) is too close to {asked.words}"
    return Finding(name, "unproven", text, max(overshoot, 0.0))


def not_applicable(candidate: Candidate, limit: Limit) -> str:
    """Why a limit says nothing of a candidate; empty where it does."""
    scenario = candidate.row.cell.scenario
    if limit.column in LATENCIES and not has_latency(scenario):
        return "offline, nobody waits for an answer"
    if limit.column in TOKEN_COLUMNS and not is_generation(scenario):
        return "not a language model"
    if limit.column == "accuracy_drop" and candidate.line.get("accuracy_drop") is None:
        return "" if candidate.line.get("task") == "classification" else "the task has no accuracy"
    return ""


def resolve(candidate: Candidate, limit: Limit, bound: Bound) -> Asked | str:
    """A bound as a number for this candidate, or why there is none."""
    unit = limit.unit_of(candidate)
    if not isinstance(bound, str):
        return Asked(bound, bound, bound, f"{bound:g}{unit}")
    baseline = candidate.baseline
    if baseline is None or not baseline.is_measured:
        return f"{limit.column}: no baseline was measured that {bound} could mean"
    figure = baseline.line.get(limit.column)
    if figure is None:
        return f"{limit.column} of the baseline was not measured"
    scopes = [scope_of(each.line) for each in (candidate, baseline)]
    if limit.column in energy_scopes.COLUMNS and scopes[0] != scopes[1]:
        return f"{limit.column} is of the {scopes[0]}, the baseline's of the {scopes[1]}: never compared"
    value = relative_share(bound) * figure
    # A row is as fast as itself, whatever the doubt of its figure.
    is_itself = candidate.row is baseline.row
    reach = 1.0 if is_itself or limit.column not in PACED else baseline.relative_reach()
    words = f"{value:.4g}{unit} ({bound}'s {figure:.4g}{unit})"
    return Asked(value, value / reach, value * reach, words)


def interval(candidate: Candidate, limit: Limit, bound: Bound) -> tuple[float, float]:
    """Between which ends a candidate's figure lies, with 95% confidence."""
    figure = candidate.line[limit.column]
    baseline = candidate.baseline if isinstance(bound, str) else None
    is_itself = baseline is not None and candidate.row is baseline.row
    reach = candidate.relative_reach() if limit.column in PACED and not is_itself else 1.0
    return figure / reach, figure * reach


def check_percentile(candidate: Candidate, name: str, asked: Asked, limit: Limit) -> Finding:
    """A limit on a percentile: by the share of timed calls that went over it, with room for how processes
    differ.
    """
    assert limit.percentile is not None
    durations = candidate.row.durations_ms()
    if not len(durations):
        return Finding(name, "unproven", f"{limit.column}: the samples are not there")
    reach = reach_of_percentile(candidate)
    figure = float(np.quantile(durations, limit.percentile))
    overshoot = figure / max(asked.value, 1e-12) - 1
    label = f"p{limit.percentile * 100:.0f} {figure:.4g} ms"
    counted = f"of {len(durations)} calls over it"
    exceeding = float((durations > asked.value).mean())
    if exceedance_verdict(durations * reach, asked.low, limit.percentile) == "met":
        text = f"{label}, {exceeding:.1%} of {len(durations)} calls over {asked.words}"
        return Finding(name, "met", text)
    if exceedance_verdict(durations / reach, asked.high, limit.percentile) == "violated":
        return Finding(name, "violated", f"{label} > {asked.words}, over by {overshoot:.0%}", overshoot)
    if exceedance_verdict(durations, asked.value, limit.percentile) == "unproven":
        text = f"{label} against {asked.words}: {exceeding:.0%} {counted} prove nothing"
    else:
        text = f"{label} is too close to {asked.words}: processes differ by {100 * (reach - 1):.2g}%"
    return Finding(name, "unproven", text, max(overshoot, 0.0))


def reach_of_percentile(candidate: Candidate) -> float:
    """How processes may differ in a percentile. A server's rate was sought so that it keeps the limit: what
    is in doubt there is the rate.
    """
    return 1.0 if candidate.row.cell.scenario == "server" else candidate.relative_reach()


def check_accuracy_without_labels(candidate: Candidate, name: str, value: float) -> Finding:
    """A limit on the lost accuracy of a classifier where there are no labels: the share of answers that
    changed bounds what can have been lost.
    """
    fidelity = candidate.line.get("fidelity")
    if fidelity is None:
        return Finding(name, "unproven", "accuracy_drop: neither labels nor a reference")
    changed = 1 - fidelity
    if changed <= value:
        return Finding(name, "met", f"accuracy_drop at most {changed:.2g}, the share of answers that changed")
    text = (
        f"accuracy_drop may be {changed:.2g} (no labels; {changed:.1%} of answers changed), limit {value:g}"
    )
    return Finding(name, "unproven", text, changed - value)


def tightest(candidate: Candidate, name: str) -> float | None:
    """The tightest number for a limit that a candidate would be proven to meet; None where none can be said,
    since the limit does not apply or nothing was measured.
    """
    limit = LIMITS[name]
    if not_applicable(candidate, limit):
        return None
    if limit.column == "accuracy_drop" and candidate.line.get("accuracy_drop") is None:
        fidelity = candidate.line.get("fidelity")
        return None if fidelity is None else 1 - fidelity
    if limit.percentile is not None:
        return tightest_percentile(candidate, limit.percentile)
    if candidate.line.get(limit.column) is None:
        return None
    low, high = interval(candidate, limit, 0.0)
    return low if limit.is_minimum else high


def tightest_percentile(candidate: Candidate, percentile: float) -> float | None:
    """The least limit in ms under which so few calls go over it that the percentile is proven to keep it."""
    durations = candidate.row.durations_ms() * reach_of_percentile(candidate)
    if not len(durations):
        return None
    values = np.unique(durations)
    low, high = 0, len(values) - 1
    if exceedance_verdict(durations, values[high], percentile) != "met":
        return None
    while low < high:
        middle = (low + high) // 2
        if exceedance_verdict(durations, values[middle], percentile) == "met":
            high = middle
        else:
            low = middle + 1
    return float(values[high])
