"""The decision: which combination, how sure that is, and why not the others. Pure logic on rows.

A row is *feasible* when it was measured, can be trusted, and every limit is proven to be met. Among the
feasible rows of a model the objective decides, with the doubt of each figure: rows that are not worse
than the leader with 95% probability are one tie, which is broken by a stated rule: the cheaper device
(where all have a price), then the simpler optimization, then the smaller batch. Where some rows were
confirmed in fresh rounds, the choice is among these. Without a feasible row the best of those that
violate no limit is named as provisional. What was not measured never wins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwfit.catalog import generation_lengths, has_latency, is_generation
from hwfit.collect import Row
from hwfit.records import DEFAULT_SCENARIO, TRUST_BREAKING_FLAGS
from hwfit.series import exceedance_verdict
from hwfit.uncertainty import draws

DRAWS = 10_000
# A row that beats the leader in at least this share of plausible worlds is in a tie with it. Either of two
# equal rows may happen to lead, so this is half of the 5% of equal pairs that may be told apart.
TIE_SHARE = 0.025


@dataclass(frozen=True)
class Limit:
    """What a limit of the config speaks of: a column, and the side on which it is met."""

    column: str
    is_minimum: bool = False
    percentile: float | None = None
    unit: str = ""


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
}


@dataclass(frozen=True)
class Objective:
    """What is wanted: a column, whether more of it is better, and how it follows from the median time."""

    column: str
    more_is_better: bool
    words: str


OBJECTIVES = {
    "throughput": Objective("throughput_samples_per_s", True, "throughput"),
    "latency": Objective("latency_p50_ms", False, "median latency"),
    "energy": Objective("energy_j_per_sample", False, "energy a sample"),
    "cost": Objective("cost_usd_per_million", False, "cost"),
}


LATENCIES = ("latency_p50_ms", "latency_p90_ms", "latency_p99_ms")
# Columns that a language model alone has: their limits say nothing of others.
TOKEN_COLUMNS = ("time_to_first_token_ms", "time_per_output_token_ms", "perplexity_increase")
# Columns that follow the pace of a row, and have its relative doubt.
PACED = ("latency_p50_ms", "throughput_samples_per_s", "time_to_first_token_ms", "time_per_output_token_ms")
SCENARIO_WORDS = {"offline": "All samples at once", "server": "Requests at random"}


@dataclass(frozen=True)
class Finding:
    """How a row stands to one limit."""

    limit: str
    verdict: str
    text: str
    overshoot: float = 0.0


@dataclass
class Candidate:
    """A row with its line of the table, and what the decision says of it."""

    row: Row
    line: dict[str, Any]
    passes: int
    price: float | None
    findings: list[Finding] = field(default_factory=list)
    verdict: str = "not_measured"
    reason: str = ""

    @property
    def name(self) -> str:
        cell = self.row.cell
        return f"{cell.device}/{cell.runtime}/{cell.optimization}/batch {self.row.batch_size}"


@dataclass
class Decision:
    """The answer for one model in one scenario."""

    model: str
    verdict: str
    summary: str
    chosen: Candidate | None = None
    probability_best: float | None = None
    margin: float | None = None
    tied: list[Candidate] = field(default_factory=list)
    runner_up: Candidate | None = None
    nearest_misses: list[Candidate] = field(default_factory=list)
    advice: str = ""
    scenario: str = DEFAULT_SCENARIO
    objective: str = ""


def decide(
    model: str,
    candidates: Sequence[Candidate],
    objective_name: str,
    limits: Mapping[str, float],
    scenario: str = DEFAULT_SCENARIO,
) -> Decision:
    """Decide for one model in one scenario; each candidate gets its verdict and its reason."""
    objective_name = objective_in(scenario, objective_name)
    decision = decide_among(model, candidates, OBJECTIVES[objective_name], limits)
    decision.scenario, decision.objective = scenario, objective_name
    if scenario != DEFAULT_SCENARIO:
        decision.summary = f"{words_of(scenario)}: {decision.summary}"
    return decision


def words_of(scenario: str) -> str:
    """A scenario in words."""
    if lengths := generation_lengths(scenario):
        return f"Prompts of {lengths[0]} tokens, {lengths[1]} written to each"
    return SCENARIO_WORDS[scenario]


def objective_in(scenario: str, objective_name: str) -> str:
    """What is wanted in a scenario. A latency is sought where the next request waits for the last one's
    answer, or for the last word of one; elsewhere it is nobody's, or has its limits, and as many samples as
    possible are wanted.
    """
    is_sought = scenario == DEFAULT_SCENARIO or is_generation(scenario)
    return "throughput" if objective_name == "latency" and not is_sought else objective_name


def decide_among(
    model: str, candidates: Sequence[Candidate], objective: Objective, limits: Mapping[str, float]
) -> Decision:
    """Decide among the combinations of one model in one scenario."""
    measured = [c for c in candidates if c.row.status == "ok"]
    for candidate in candidates:
        candidate.reason = candidate.row.reason
    for candidate in measured:
        candidate.findings = [check(candidate, name, value) for name, value in limits.items()]
        judge(candidate, objective)
    feasible = [c for c in measured if c.verdict == "feasible"]
    unproven = [c for c in measured if c.verdict == "unproven"]
    if feasible:
        # Where fresh rounds were run, a first look is no match for them: it may be the luckiest of many.
        confirmed = [c for c in feasible if c.row.confirmed] or feasible
        decision = choose(model, confirmed, objective, "chosen")
        for candidate in feasible:
            if candidate.verdict == "feasible" and decision.chosen:
                said = comparison(candidate, decision.chosen, objective)
                candidate.verdict = "dominated"
                candidate.reason = f"first look, not confirmed: {said} than {decision.chosen.name}"
        return decision
    if unproven:
        return choose(model, unproven, objective, "provisional")
    return none_fits(model, candidates, measured)


def judge(candidate: Candidate, objective: Objective) -> None:
    """Sort a measured candidate into feasible, unproven and rejected."""
    violated = [f for f in candidate.findings if f.verdict == "violated"]
    unproven = [f for f in candidate.findings if f.verdict == "unproven"]
    if not candidate.row.valid:
        flags = [flag for profile in candidate.row.rounds for flag in profile.flags]
        doubts = dict.fromkeys(flag.message for flag in flags if flag.code in TRUST_BREAKING_FLAGS)
        candidate.verdict, candidate.reason = "rejected", f"cannot be trusted: {'; '.join(doubts)}"
    elif violated:
        candidate.verdict, candidate.reason = "rejected", "; ".join(f.text for f in violated)
    elif candidate.line.get(objective.column) is None:
        said = f"{objective.words} was not measured"
        candidate.verdict, candidate.reason = "rejected", "; ".join([said, *(f.text for f in unproven)])
    elif unproven:
        candidate.verdict, candidate.reason = "unproven", "; ".join(f.text for f in unproven)
    else:
        candidate.verdict = "feasible"


def check(candidate: Candidate, name: str, value: float) -> Finding:
    """How a candidate stands to one limit, with the evidence."""
    limit = LIMITS[name]
    line, unit = candidate.line, limit.unit
    if limit.column in LATENCIES and not has_latency(candidate.row.cell.scenario):
        return Finding(name, "met", "does not apply: offline, nobody waits for an answer")
    if limit.column in TOKEN_COLUMNS and not is_generation(candidate.row.cell.scenario):
        return Finding(name, "met", "does not apply: not a language model")
    if limit.column == "accuracy_drop" and line.get("accuracy_drop") is None:
        return check_accuracy_without_labels(candidate, name, value)
    figure = line.get(limit.column)
    if limit.percentile is not None:
        return check_percentile(candidate, name, value, limit)
    if figure is None:
        return Finding(name, "unproven", f"{limit.column} was not measured")
    low, high = figure, figure
    estimate = candidate.row.estimate
    if limit.column in PACED and estimate:
        reach = estimate.interval()[1] / estimate.median_ms
        low, high = figure / reach, figure * reach
    overshoot = (value - figure if limit.is_minimum else figure - value) / max(abs(value), 1e-12)
    met = low >= value if limit.is_minimum else high <= value
    violated = high < value if limit.is_minimum else low > value
    sign = "<" if limit.is_minimum else ">"
    if met:
        return Finding(name, "met", f"{limit.column} {figure:.4g}{unit}")
    if violated:
        by = f", {'under' if limit.is_minimum else 'over'} by {overshoot:.0%}" if abs(value) > 0 else ""
        return Finding(
            name, "violated", f"{limit.column} {figure:.4g}{unit} {sign} {value:g}{unit}{by}", overshoot
        )
    text = f"{limit.column} {figure:.4g}{unit} ({low:.4g} to {high:.4g}) is too close to {value:g}{unit}"
    return Finding(name, "unproven", text, max(overshoot, 0.0))


def check_percentile(candidate: Candidate, name: str, value: float, limit: Limit) -> Finding:
    """A limit on a percentile, by the share of timed calls that went over it."""
    assert limit.percentile is not None
    durations = candidate.row.durations_ms()
    if not len(durations):
        return Finding(name, "unproven", f"{limit.column}: the samples are not there")
    figure = float(np.quantile(durations, limit.percentile))
    exceeding = float((durations > value).mean())
    verdict = exceedance_verdict(durations, value, limit.percentile)
    overshoot = figure / value - 1
    label = f"p{limit.percentile * 100:.0f} {figure:.4g} ms"
    if verdict == "violated":
        return Finding(name, verdict, f"{label} > {value:g} ms, over by {overshoot:.0%}", overshoot)
    if verdict == "unproven":
        text = (
            f"{label} against {value:g} ms: {exceeding:.0%} of {len(durations)} calls over it prove nothing"
        )
        return Finding(name, verdict, text, max(overshoot, 0.0))
    return Finding(name, verdict, f"{label}, {exceeding:.1%} of {len(durations)} calls over {value:g} ms")


def check_accuracy_without_labels(candidate: Candidate, name: str, value: float) -> Finding:
    """A limit on lost accuracy where there are no labels.

    For classification the share of answers that changed bounds what can have been lost. Other tasks
    have no accuracy, and the limit does not apply to them: fidelity speaks for them.
    """
    if candidate.line.get("task") != "classification":
        return Finding(name, "met", "does not apply: the task has no accuracy")
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


def choose(model: str, candidates: list[Candidate], objective: Objective, verdict: str) -> Decision:
    """Pick the best of candidates that stand equal to the limits."""
    share_best, share_better = compare(candidates, objective)
    leader = int(np.argmax(scores(candidates, objective)))
    tied = [c for c, share in zip(candidates, share_better, strict=True) if share >= TIE_SHARE]
    # A price that is not known makes nothing cheaper.
    knows_prices = all(c.price is not None for c in tied)
    chosen = min(tied, key=lambda c: tie_break(c, knows_prices))
    position = candidates.index(chosen)
    others = sorted(
        (c for c in candidates if c is not chosen),
        key=lambda c: -scores([c], objective)[0],
    )
    best = candidates[leader]
    for candidate in candidates:
        if verdict == "provisional":
            candidate.reason = candidate.reason or "not proven"
        elif candidate in tied:
            other = chosen if candidate is best else best
            candidate.verdict = "tied"
            candidate.reason = f"cannot be told from {other.name}: {comparison(candidate, other, objective)}"
        else:
            candidate.verdict = "dominated"
            candidate.reason = f"{comparison(candidate, chosen, objective)} than {chosen.name}"
    if verdict == "chosen":
        chosen.verdict = "chosen"
        chosen.reason = "the only one that meets every limit" if not others else ""
    runner_up = others[0] if others else None
    margin = None
    if runner_up:
        ours, theirs = chosen.line[objective.column], runner_up.line[objective.column]
        margin = ours / theirs - 1 if objective.more_is_better else 1 - ours / theirs
    if verdict == "chosen" and runner_up:
        chosen.reason = (
            f"tied with {len(tied) - 1} more, and first by the tie rule (cheaper, simpler, smaller batch)"
            if len(tied) > 1
            else f"best {objective.words}, {abs(margin or 0):.0%} ahead of {runner_up.name}"
        )
    probability = float(share_best[position])
    return Decision(
        model,
        verdict,
        summarise(model, chosen, objective, verdict, len(tied), probability),
        chosen,
        probability,
        margin,
        [c for c in tied if c is not chosen],
        runner_up,
    )


def scores(candidates: Sequence[Candidate], objective: Objective) -> list[float]:
    """The objective of each candidate, larger is better."""
    sign = 1 if objective.more_is_better else -1
    return [sign * candidate.line[objective.column] for candidate in candidates]


def compare(candidates: Sequence[Candidate], objective: Objective) -> tuple[np.ndarray, np.ndarray]:
    """In plausible worlds: the share in which each is best, and in which each beats the leader.

    Every objective is proportional to the time of a call or to its inverse, so a world is a draw of each
    row's median time. The leader beats itself always.
    """
    estimates = [c.row.estimate for c in candidates if c.row.estimate]
    times = draws(estimates, DRAWS, seed=0)
    centres = np.array([e.median_ms for e in estimates])
    factor = centres / times if objective.more_is_better else times / centres
    worlds = np.array(scores(candidates, objective)) * factor
    leader = int(np.argmax(scores(candidates, objective)))
    best = np.bincount(worlds.argmax(axis=1), minlength=len(candidates)) / DRAWS
    return best, (worlds >= worlds[:, [leader]]).mean(axis=0)


def tie_break(candidate: Candidate, knows_prices: bool) -> tuple[float, int, int, str]:
    """Cheaper, then simpler, then the smaller batch; then the name, so that the answer never wavers."""
    price = candidate.price if knows_prices and candidate.price is not None else 0.0
    return price, candidate.passes, candidate.row.batch_size, candidate.name


def comparison(candidate: Candidate, other: Candidate, objective: Objective) -> str:
    """`throughput 120, 43% less` in words."""
    ours, theirs = candidate.line[objective.column], other.line[objective.column]
    change = ours / theirs - 1
    return f"{objective.words} {ours:.4g}, {abs(change):.1%} {'more' if change > 0 else 'less'}"


def summarise(
    model: str, chosen: Candidate, objective: Objective, verdict: str, tied: int, probability: float
) -> str:
    """One sentence a person can act on."""
    line, cell = chosen.line, chosen.row.cell
    low, high = line["latency_p50_ci_low_ms"], line["latency_p50_ci_high_ms"]
    unit = "requests" if is_generation(cell.scenario) else "samples"
    text = (
        f"Run {model} on {cell.device} with {cell.runtime}, {cell.optimization}, "
        f"batch size {chosen.row.batch_size}: "
        f"{line['throughput_samples_per_s']:.4g} {unit}/s"
    )
    if is_generation(cell.scenario):
        tokens = {"first token": "time_to_first_token_ms", "each further token": "time_per_output_token_ms"}
        text += "".join(f", {words} {line[name]:.4g} ms" for words, name in tokens.items() if line.get(name))
        if line.get("perplexity") is not None:
            text += f", perplexity {line['perplexity']:.4g}"
    elif cell.scenario == DEFAULT_SCENARIO:
        text += f", p50 {line['latency_p50_ms']:.4g} ms ({low:.4g} to {high:.4g})"
    elif cell.scenario == "server":
        tails = {name: line.get(f"latency_{name}_ms") for name in ("p50", "p90", "p99")}
        text += "".join(f", {name} {value:.4g} ms" for name, value in tails.items() if value)
    if line.get("accuracy") is not None:
        text += f", accuracy {line['accuracy']:.1%}"
    elif line.get("fidelity") is not None:
        text += f", fidelity {line['fidelity']:.3f}"
    if verdict == "provisional":
        return f"Provisional, since no combination is proven to meet every limit. {text}."
    if tied > 1:
        return f"{text}. {tied} combinations cannot be told apart; this is the cheapest and simplest of them."
    return f"{text}. Best {objective.words} with probability {probability:.0%}."


def none_fits(model: str, candidates: Sequence[Candidate], measured: Sequence[Candidate]) -> Decision:
    """No combination fits: the nearest misses, and the one limit to relax."""
    if not measured:
        return Decision(model, "none", f"No combination of {model} could be measured.")
    misses = sorted((c for c in measured if c.row.valid), key=lambda c: total_overshoot(c))
    if not misses:
        return Decision(model, "none", f"No measurement of {model} can be trusted.")
    advice = limit_to_relax(misses)
    text = f"No combination of {model} meets every limit. Nearest: {misses[0].name} ({misses[0].reason})."
    return Decision(model, "none", f"{text} {advice}".strip(), nearest_misses=misses[:3], advice=advice)


def total_overshoot(candidate: Candidate) -> float:
    """By how much a candidate misses its limits, relative, summed."""
    return math.fsum(f.overshoot for f in candidate.findings if f.verdict == "violated")


def limit_to_relax(misses: Sequence[Candidate]) -> str:
    """The one limit whose relaxing lets some candidate in, by the least."""
    single = [
        (finding.overshoot, finding)
        for candidate in misses
        for finding in candidate.findings
        if finding.verdict == "violated" and sum(f.verdict == "violated" for f in candidate.findings) == 1
    ]
    if not single:
        return ""
    return f"Relaxing {min(single, key=lambda pair: pair[0])[1].limit} alone would let one in."


def contenders(
    candidates: Sequence[Candidate],
    objective_name: str,
    limits: Mapping[str, float],
    most: int,
    least_share: float,
) -> list[Candidate]:
    """Those of a model that fresh rounds should measure again, `most` at most.

    They are the best that is proven to fit, what may still beat it or may yet be proven to fit, and the
    runner-up, so that the margin is not flattered either.
    """
    objective = OBJECTIVES[objective_in(candidates[0].row.cell.scenario, objective_name)]
    decide_among("", candidates, objective, limits)
    pool = [c for c in candidates if c.row.status == "ok" and c.row.valid and c.line.get(objective.column)]
    pool = [c for c in pool if all(f.verdict != "violated" for f in c.findings)]
    if not pool:
        return []
    _, share_better = compare(pool, objective)
    ranked = sorted(zip(scores(pool, objective), share_better, range(len(pool)), strict=True), reverse=True)
    ordered = [(pool[index], better) for _, better, index in ranked]
    # What is ahead of the best that is proven to fit may yet be proven so, by more calls.
    place = next((p for p, (c, _) in enumerate(ordered) if all(f.verdict == "met" for f in c.findings)), 0)
    needed = max(1, place)
    chosen = [c for p, (c, better) in enumerate(ordered) if p <= needed or better >= least_share]
    best = ordered[place][0]
    return [c for p, c in enumerate(chosen) if c is best or p < most - (place >= most)]
