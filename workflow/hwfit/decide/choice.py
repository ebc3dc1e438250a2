"""The choice among the combinations of one model in one scenario."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwfit.catalog import generation_lengths, is_generation
from hwfit.decide.candidate import Candidate, confirmed_of
from hwfit.decide.energy_scopes import comparable, metered_words, set_apart
from hwfit.decide.limits import Bound, check
from hwfit.decide.objectives import GOALS, Objective, compare
from hwfit.decide.prices import COST, DevicePrice, device_prices
from hwfit.decide.sensitivity import Change, changes
from hwfit.records import DEFAULT_SCENARIO, TRUST_BREAKING_FLAGS

# A row that is not behind the leader in at least this share of plausible worlds is in a tie with it. Either
# of two equal rows may happen to lead, so this is half of the 5% of equal pairs that may be told apart.
TIE_SHARE = 0.025
TIE_RULE = "cheaper, simpler, smaller batch"
SCENARIO_WORDS = {"offline": "All samples at once", "server": "Requests at random"}


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
    objective: Objective = field(default_factory=lambda: Objective.of("throughput"))
    limits: Mapping[str, Bound] = field(default_factory=dict)
    sensitivity: list[Change] = field(default_factory=list)
    prices: list[DevicePrice] = field(default_factory=list)


def decide(
    model: str,
    candidates: Sequence[Candidate],
    wanted: str | Mapping[str, float],
    limits: Mapping[str, Bound],
    scenario: str = DEFAULT_SCENARIO,
) -> Decision:
    """Decide for one model in one scenario; each candidate gets its verdict and its reason.

    Parameters
    ----------
    wanted : the name of a goal, or the weight of several
    limits : by name, a number in its unit or a share of the baseline (`50% of baseline`)
    """
    objective = Objective.of(wanted, scenario)
    decision = decide_among(model, candidates, objective, limits)
    decision.scenario, decision.limits = scenario, limits
    proven = decision.chosen if decision.verdict == "chosen" else None
    decision.prices = device_prices(candidates, proven, objective, limits)
    decision.sensitivity = changes(candidates, decision.chosen, objective, limits, decision.prices)
    if decision.nearest_misses:
        decision.advice = limit_to_relax(decision.sensitivity)
        decision.summary = f"{decision.summary} {decision.advice}".strip()
    if scenario != DEFAULT_SCENARIO:
        decision.summary = f"{words_of(scenario)}: {decision.summary}"
    return decision


def words_of(scenario: str) -> str:
    """A scenario in words."""
    if lengths := generation_lengths(scenario):
        return f"Prompts of {lengths[0]} tokens, {lengths[1]} written to each"
    return SCENARIO_WORDS[scenario]


def decide_among(
    model: str, candidates: Sequence[Candidate], objective: Objective, limits: Mapping[str, Bound]
) -> Decision:
    """The same without what would change the answer."""
    decision = judged_and_chosen(model, candidates, objective, limits)
    decision.objective = objective
    return decision


def judged_and_chosen(
    model: str, candidates: Sequence[Candidate], objective: Objective, limits: Mapping[str, Bound]
) -> Decision:
    """Each candidate with its verdict, and the choice among those that fit best."""
    measured = [c for c in candidates if c.row.status == "ok"]
    for candidate in candidates:
        candidate.reason = candidate.row.reason
    for candidate in measured:
        candidate.findings = [check(candidate, name, bound) for name, bound in limits.items()]
        judge(candidate, objective)
    possible = [c for c in measured if c.verdict in ("feasible", "unproven")]
    ranked = comparable(possible, objective)
    apart = set_apart(possible, objective)
    feasible = [c for c in ranked if c.verdict == "feasible"]
    if feasible:
        # Where fresh rounds were run, a first look is no match for them: it may be the luckiest of many.
        decision = choose(model, list(confirmed_of(feasible)), objective, "chosen")
        for candidate in feasible:
            if candidate.verdict == "feasible" and decision.chosen:
                said = objective.comparison(candidate, decision.chosen)
                candidate.verdict = "dominated"
                candidate.reason = f"first look, not confirmed: {said} than {decision.chosen.name}"
        if decision.chosen and not decision.runner_up:
            name_runner_up(decision, [c for c in feasible if c is not decision.chosen], objective)
    elif ranked:
        decision = choose(model, ranked, objective, "provisional")
    else:
        return none_fits(model, measured)
    decision.summary += apart
    return decision


def name_runner_up(decision: Decision, others: Sequence[Candidate], objective: Objective) -> None:
    """Where one row alone was confirmed, what comes next is the best of the first looks."""
    if not others or not decision.chosen:
        return
    decision.runner_up = max(others, key=objective.score)
    decision.margin = objective.lead(decision.chosen, decision.runner_up)
    side = "ahead of" if decision.margin >= 0 else "behind"
    ahead = f"{abs(decision.margin):.0%} {side} the first look at {decision.runner_up.name}"
    decision.chosen.reason = f"best {objective.words} of what was confirmed, {ahead}"


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
    elif missing := objective.missing(candidate):
        said = f"{' and '.join(missing)} was not measured"
        if GOALS[COST].words in missing and candidate.line.get("price_source"):
            said += f" ({candidate.line['price_source']})"
        candidate.verdict, candidate.reason = "rejected", "; ".join([said, *(f.text for f in unproven)])
    elif unproven:
        candidate.verdict, candidate.reason = "unproven", "; ".join(f.text for f in unproven)
    else:
        candidate.verdict = "feasible"


def choose(model: str, candidates: list[Candidate], objective: Objective, verdict: str) -> Decision:
    """Pick the best of candidates that stand equal to the limits."""
    share_best, share_better = compare(candidates, objective)
    leader = int(np.argmax(objective.scores(candidates)))
    tied = [c for c, share in zip(candidates, share_better, strict=True) if share >= TIE_SHARE]
    # A price that is not known makes nothing cheaper.
    knows_prices = all(c.price is not None for c in tied)
    chosen = min(tied, key=lambda c: tie_break(c, knows_prices))
    position = candidates.index(chosen)
    others = sorted(
        (c for c in candidates if c is not chosen),
        key=lambda c: -objective.score(c),
    )
    best = candidates[leader]
    for candidate in candidates:
        if verdict == "provisional":
            candidate.reason = candidate.reason or "not proven"
        elif candidate in tied:
            other = chosen if candidate is best else best
            candidate.verdict = "tied"
            candidate.reason = f"cannot be told from {other.name}: {objective.comparison(candidate, other)}"
        else:
            candidate.verdict = "dominated"
            candidate.reason = f"{objective.comparison(candidate, chosen)} than {chosen.name}"
    if verdict == "chosen":
        chosen.verdict = "chosen"
        chosen.reason = "the only one that meets every limit" if not others else ""
    runner_up = others[0] if others else None
    margin = objective.lead(chosen, runner_up) if runner_up else None
    if verdict == "chosen" and runner_up:
        chosen.reason = (
            f"tied with {len(tied) - 1} more, and first by the tie rule ({TIE_RULE})"
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


def tie_break(candidate: Candidate, knows_prices: bool) -> tuple[float, int, int, str]:
    """Cheaper, then simpler, then the smaller batch; then the name, so that the answer never wavers."""
    price = candidate.price if knows_prices and candidate.price is not None else 0.0
    return price, candidate.passes, candidate.row.batch_size, candidate.name


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
    if objective.seeks("energy"):
        text += f", {line['energy_j_per_sample']:.4g} J a sample ({metered_words(line)})"
    if verdict == "provisional":
        return f"Provisional, since no combination is proven to meet every limit. {text}."
    if tied > 1:
        return f"{text}. {tied} combinations cannot be told apart; this is the cheapest and simplest of them."
    return f"{text}. Best {objective.words} with probability {probability:.0%}."


def none_fits(model: str, measured: Sequence[Candidate]) -> Decision:
    """No combination fits: the nearest misses, and the one limit to relax."""
    if not measured:
        return Decision(model, "none", f"No combination of {model} could be measured.")
    misses = sorted((c for c in measured if c.row.valid), key=lambda c: total_overshoot(c))
    if not misses:
        return Decision(model, "none", f"No measurement of {model} can be trusted.")
    text = f"No combination of {model} meets every limit. Nearest: {misses[0].name} ({misses[0].reason})."
    return Decision(model, "none", text, nearest_misses=misses[:3])


def total_overshoot(candidate: Candidate) -> float:
    """By how much a candidate misses its limits, relative, summed."""
    return math.fsum(f.overshoot for f in candidate.findings if f.verdict == "violated")


def limit_to_relax(sensitivity: Sequence[Change]) -> str:
    """Where nothing fits: the one limit whose relaxing lets some candidate in, by the least."""
    relaxed = [c for c in sensitivity if c.direction == "looser" and c.current is not None]
    if not relaxed:
        return ""
    least = min(relaxed, key=lambda c: abs(c.at - (c.current or 0)) / max(abs(c.current or 0), 1e-12))
    to = f"from {least.current:g}{least.unit} to {least.at:g}{least.unit}"
    return f"Relaxing {least.name} {to} alone would let {least.then.name if least.then else 'one'} in."
