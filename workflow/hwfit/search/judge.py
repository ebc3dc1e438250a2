"""What a moment's looks prove: which combinations cannot win, and why. Pure logic.

Given up is what breaks a limit for certain, and what the leader is ahead of by more than both their doubts
together. A leader must meet every limit for certain itself, so that nothing is given up for one that drops
out later. Where the objective or a limit needs a figure that no look has (energy, power), no row leads, and
only what breaks other limits goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hwfit.decide.candidate import Candidate, Finding
from hwfit.decide.limits import LIMITS, Bound, check, not_applicable, resolve
from hwfit.decide.objectives import GOALS, Objective
from hwfit.decide.sensitivity import QUALITY
from hwfit.search.records import REASON, GivenUp

# Relative standard error of a look's pace, beside that of its calls: processes of one program differ by 15%
# on a small shared machine (benchmarks/README.md), and a moment sees no burst or nothing else.
PROCESS_ERROR = 0.15
MOMENT_ERROR = 0.07
# Of a figure that is read off the curve between two looks: rms of the linear rule on reports/examples.
CURVE_ERROR = 0.2
# Of the rate that is predicted of a server.
SERVER_ERROR = 0.2
# Of the pace of a look that was disturbed: nothing is certain of it.
DISTURBED = 10.0
# The leader is ahead for certain by so many standard errors of both. It leads by luck too, being the best of
# many, so this is more than the 1.96 of one pair. On 40 simulated sweeps 2.0 found 95%, 2.2 all; 2.8 took
# 2 points more of the time (benchmarks/guided.py).
CERTAIN = 2.2
# No 90th or 99th percentile of reports/examples was further above the median than this; peak memory was so
# much above its prediction in 7 of the 102 rows of benchmarks/README.md, language models most of them.
TAILS = {0.90: 1.5, 0.99: 3.2}
MEMORY_MARGIN = 1.5
NEAREST_MISSES = 3
# How far accuracy and fidelity may be from batch size to batch size.
QUALITY_MARGIN = 0.003


@dataclass(frozen=True)
class Doubt:
    """What the figures of a combination rest on.

    Attributes
    ----------
    process_error : relative standard error of its pace that all batch sizes of its cell share
    own_error : the rest
    curve : where it was not looked at itself, the batch sizes that it lies between, or the larger one whose
        proportion it is at best
    quality_of : the batch size at which accuracy and fidelity were evaluated
    """

    process_error: float
    own_error: float
    curve: tuple[int, ...] = ()
    quality_of: int | None = None

    @property
    def is_bound(self) -> bool:
        """Whether the figures are the best that is possible, and nothing more is known."""
        return len(self.curve) == 1

    @property
    def relative_error(self) -> float:
        """The whole of it."""
        return math.hypot(self.process_error, self.own_error)


@dataclass(frozen=True)
class Look:
    """A combination as the looks at its cell tell it; the estimate of its pace holds the whole doubt."""

    candidate: Candidate
    doubt: Doubt


def judge(
    looks: Sequence[Look],
    wanted: str | Mapping[str, float],
    limits: Mapping[str, Bound],
    is_apart_by_device: bool = False,
    most: int | None = None,
) -> list[GivenUp]:
    """Which combinations of one model in one scenario are given up.

    Parameters
    ----------
    is_apart_by_device : whether each device needs a winner of its own, as where models share one
    most : how many go on that are known to fit, and how many ahead of them that may fit; all where absent
    """
    if not looks:
        return []
    objective = Objective.of(wanted, looks[0].candidate.row.cell.scenario)
    infeasible: list[tuple[float, GivenUp]] = []
    left = []
    for look in looks:
        findings = [standing(look, name, bound) for name, bound in limits.items()]
        broken = [finding for finding in findings if finding.verdict == "violated"]
        if broken:
            said = f"{seen(look)}: {'; '.join(finding.text for finding in broken)}"
            missed_by = math.fsum(finding.overshoot for finding in broken)
            infeasible.append((missed_by, entry(look, "infeasible", said)))
        elif look.doubt.own_error < DISTURBED and not objective.missing(look.candidate):
            is_met = not look.doubt.is_bound and all(finding.verdict == "met" for finding in findings)
            left.append((look, is_met))
    if len(infeasible) == len(looks):
        # Where nothing fits, the nearest misses say which limit to relax.
        infeasible = sorted(infeasible, key=lambda pair: pair[0])[NEAREST_MISSES:]
    given_up = [each for _, each in infeasible]
    for group in apart(left) if is_apart_by_device else [left]:
        given_up += behind_the_leader(group, objective, most)
    return given_up


def behind_the_leader(
    group: Sequence[tuple[Look, bool]], objective: Objective, most: int | None
) -> list[GivenUp]:
    """What cannot win against the leader; none where no look is known to fit."""
    ranked = sorted(group, key=lambda pair: -objective.score(pair[0].candidate))
    leader = next((look for look, is_met in ranked if is_met), None)
    if leader is None:
        return []
    given_up, kept = [], {True: 0, False: 0}
    for place, (look, is_met) in enumerate(ranked, start=1):
        if is_beaten(look, leader, objective):
            given_up.append(entry(look, "dominated", f"{behind(look, leader, objective)}: out of reach"))
        elif most is not None and (kept[is_met] >= most or kept[True] >= most):
            rank = f"number {place} of {len(ranked)}, of which the first {most} that fit are measured"
            given_up.append(entry(look, "dominated", f"{behind(look, leader, objective)}: {rank}"))
        else:
            kept[is_met] += 1
    return given_up


def apart(left: Iterable[tuple[Look, bool]]) -> list[list[tuple[Look, bool]]]:
    """The same by device."""
    groups: dict[str, list[tuple[Look, bool]]] = {}
    for look, is_met in left:
        groups.setdefault(look.candidate.row.cell.device, []).append((look, is_met))
    return list(groups.values())


def is_beaten(look: Look, leader: Look, objective: Objective) -> bool:
    """Whether the leader is ahead for certain."""
    gap = objective.score(leader.candidate) - objective.score(look.candidate)
    return look is not leader and gap > CERTAIN * doubt_between(look, leader)


def doubt_between(one: Look, other: Look) -> float:
    """Standard error of the ratio of two paces; a process is slow for all batch sizes of its cell."""
    own = math.hypot(one.doubt.own_error, other.doubt.own_error)
    if one.candidate.row.cell == other.candidate.row.cell:
        return own
    return math.hypot(own, one.doubt.process_error, other.doubt.process_error)


def standing(look: Look, name: str, bound: Bound) -> Finding:
    """How a combination stands to a limit, as far as a look can tell."""
    candidate, limit = look.candidate, LIMITS[name]
    if limit.percentile is not None and not not_applicable(candidate, limit):
        return standing_of_percentile(candidate, name, bound, limit.percentile)
    if limit.column == "peak_memory_mb":
        return standing_of_memory(candidate, name, bound)
    found = check(candidate, name, bound)
    is_inherited = look.doubt.quality_of != candidate.row.batch_size
    if name in QUALITY and is_inherited and found.verdict != "unproven":
        room = QUALITY_MARGIN if found.verdict == "violated" else -QUALITY_MARGIN
        if check(candidate, name, loosened(name, float(bound), room)).verdict != found.verdict:
            return Finding(name, "unproven", f"{found.text}, at batch size {look.doubt.quality_of}")
    return found


def loosened(name: str, bound: float, room: float) -> float:
    """A limit on quality with so much more room; as much as a perfect output has at least."""
    if LIMITS[name].is_minimum:
        return min(bound - room, max(bound, 1.0))
    return max(bound + room, min(bound, 0.0))


def standing_of_percentile(candidate: Candidate, name: str, bound: Bound, percentile: float) -> Finding:
    """By the median, since a moment has too few calls to prove a percentile."""
    asked = resolve(candidate, LIMITS[name], bound)
    if isinstance(asked, str):
        return Finding(name, "unproven", asked)
    if candidate.row.cell.scenario == "server":
        # The rate was predicted so that the limit is kept.
        return Finding(name, "met", "at its predicted rate")
    median_ms, reach = candidate.line["latency_p50_ms"], candidate.relative_reach()
    label = f"p{percentile * 100:.0f}"
    ends = f"{median_ms / reach:.4g} to {median_ms * reach:.4g}"
    said = f"{label} at least the median, {median_ms:.4g} ms ({ends})"
    if median_ms / reach > asked.high:
        return Finding(name, "violated", f"{said} > {asked.words}", median_ms / asked.value - 1)
    is_met = median_ms * TAILS[percentile] * reach <= asked.low
    return Finding(name, "met" if is_met else "unproven", said)


def standing_of_memory(candidate: Candidate, name: str, bound: Bound) -> Finding:
    """By its prediction, which proves nothing to be too large."""
    predicted = candidate.line.get("predicted_memory_mb")
    is_met = predicted and not isinstance(bound, str) and predicted * MEMORY_MARGIN <= bound
    return Finding(name, "met" if is_met else "unproven", "memory is predicted, not measured")


def entry(look: Look, kind: str, reason: str) -> GivenUp:
    """A combination that is given up."""
    row = look.candidate.row
    return GivenUp(row.cell, row.batch_size, kind, "skipped", f"{REASON}: {reason}")


def seen(look: Look) -> str:
    """How a combination was looked at, in words."""
    curve = look.doubt.curve
    if look.doubt.is_bound:
        return f"in proportion to batch {curve[0]}, at best"
    return f"by the curve from batch {curve[0]} to {curve[1]}" if curve else "screened"


def behind(look: Look, leader: Look, objective: Objective) -> str:
    """Why a combination cannot win: its figure and the leader's."""
    ours, theirs = look.candidate, leader.candidate
    if objective.is_mix:
        return f"{seen(look)}: {objective.comparison(ours, theirs)} than the leader {theirs.name}"
    return (
        f"{seen(look)} at {objective.words} {interval_words(ours, objective)}, the leader {theirs.name} at "
        f"{interval_words(theirs, objective)}"
    )


def interval_words(candidate: Candidate, objective: Objective) -> str:
    """A figure of the objective with its 95% interval."""
    figure, reach = candidate.line[GOALS[objective.name].column], candidate.relative_reach()
    return f"{figure:.4g} (95%: {figure / reach:.4g} to {figure * reach:.4g})"
