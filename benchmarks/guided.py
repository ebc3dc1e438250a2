"""Guided search against the exhaustive one: does it name the same winner, and at what share of the time?

    python -m benchmarks.guided [--sweeps 120]

Every process of a sweep is drawn once (`benchmarks.sweeps`): what a cell's first look, its moments and its
fresh rounds give is the same for both searches, as if both replayed one recorded sweep. The guided one goes
through the very functions that the workflow calls (`hwfit.search`, `nominate`, `still_open`, `decide`).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.sweeps import Sweep, recorded, simulated
from hwfit.collect import Row, make_table
from hwfit.decide import Candidate
from hwfit.decide.choice import decide_among
from hwfit.decide.contenders import FIRST_LOOK_ERROR
from hwfit.decide.objectives import Objective
from hwfit.recommendation import by_question, make_candidates, nominate, still_open, wanted_in
from hwfit.records import Cell, Profile
from hwfit.search.curves import screened_sizes
from hwfit.search.looks import looks_of, starts_long
from hwfit.search.records import ROUNDS, Key
from hwfit.search.rounds import judged
from hwfit.uncertainty import Estimate

GOAL_SAME, GOAL_COST = 0.95, 0.25


@dataclass(frozen=True)
class Answer:
    """What a search names; `tie` has what its own figures do not tell from that, the winner included."""

    winner: Key | None
    tie: frozenset[Key]


def exhaustive(sweep: Sweep) -> Answer:
    """The answer when everything is measured."""
    for cell, sizes in sweep.cells.items():
        sweep.measure(cell, sizes, 0)
    return confirmed(sweep)


def guided(sweep: Sweep) -> Answer:
    """The answer of the guided search."""
    records: dict[Cell, dict[int, list[Profile]]] = {}
    again = {cell: screened_sizes(sizes) for cell, sizes in sweep.cells.items()}
    left = set(sweep.truths)
    going: dict[Cell, list[int]] = {}
    for round in range(ROUNDS):
        for cell, looked in sweep.look(again, round).items():
            for size, profiles in looked.items():
                records.setdefault(cell, {}).setdefault(size, []).extend(profiles)
        looks, failed = looks_of(sweep.plan, sorted(left), records, {})
        given_up = [*failed, *judged(looks, sweep.plan, is_last=round == ROUNDS - 1)]
        left -= {each.key for each in given_up}
        going = {}
        for cell, size in sorted(left):
            going.setdefault(cell, []).append(size)
        again = {cell: sizes for cell, sizes in going.items() if not starts_long(records[cell])}
    for cell, sizes in going.items():
        sweep.measure(cell, sizes, 0)
    return confirmed(sweep)


def confirmed(sweep: Sweep) -> Answer:
    """Fresh rounds of the contenders as the workflow runs them, then the decision."""
    measurement = sweep.plan["study"]["config"]["measurement"]
    nominated = nominate(sweep.rows({}), sweep.plan, {})
    keys = [(Cell(**each["cell"]), each["batch_size"]) for found in nominated.values() for each in found]
    rounds: dict[Key, list[int]] = {key: [] for key in keys}
    left = set(keys)
    for number in range(2 * measurement["confirm_rounds"]):
        if number >= measurement["confirm_rounds"]:
            found = still_open(sweep.rows(rounds), sweep.plan, {}, list(left))
            left &= {(c.row.cell, c.row.batch_size) for c in found}
        for cell in sorted({cell for cell, _ in left}):
            sweep.measure(cell, sorted(size for other, size in left if other == cell), 1 + number)
        for key in left:
            rounds[key].append(1 + number)
    return decided(sweep, sweep.rows(rounds))


def decided(sweep: Sweep, rows: Sequence[Row]) -> Answer:
    """The answer to the one question of a sweep."""
    wanted = wanted_in(sweep.plan)
    candidates = make_candidates(rows, make_table(rows, sweep.plan, {}), sweep.plan)
    ((model, scenario), group), *_ = by_question(candidates).items()
    objective = Objective.of(wanted.wanted_of(model), scenario)
    decision = decide_among(model, group, objective, wanted.limits_of(model))
    if decision.chosen is None:
        return Answer(None, frozenset())
    fitting = [c for c in group if c.verdict in ("chosen", "tied", "dominated")]
    tie = {key_of(c) for c in [decision.chosen, *decision.tied]}
    tie |= {key_of(c) for c in fitting if not is_told_apart(c, decision.chosen, objective)}
    return Answer(key_of(decision.chosen), frozenset(tie))


def key_of(candidate: Candidate) -> Key:
    """The combination of a candidate."""
    return candidate.row.cell, candidate.row.batch_size


def is_told_apart(candidate: Candidate, chosen: Candidate, objective: Objective) -> bool:
    """Whether a row that fits is behind the chosen one at 95%; one that was not confirmed has a first look
    alone, which is in doubt as the workflow takes it to be.
    """
    errors = [
        max(c.row.estimate.relative_error, 0.0 if c.row.confirmed else FIRST_LOOK_ERROR)
        for c in (candidate, chosen)
        if c.row.estimate
    ]
    return objective.score(chosen) - objective.score(candidate) > 1.96 * math.hypot(*errors)


def compare(sweeps: Iterable[Sweep], say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Both searches on each sweep."""
    found = []
    for sweep in sweeps:
        sweep.forget()
        wanted = exhaustive(sweep)
        whole_s = sweep.spent_s.total()
        sweep.forget()
        found_by_looks = guided(sweep)
        each: dict[str, Any] = {
            "sweep": sweep.name,
            "objective": str(sweep.plan["study"]["config"]["decision"]["objective"]),
            "combinations": len(sweep.truths),
            "is_same": found_by_looks.winner == wanted.winner,
            "is_same_or_tied": found_by_looks.winner in (wanted.tie or {None}),
            "lost": lost(sweep, found_by_looks.winner, wanted.winner),
            "cost": sweep.spent_s.total() / whole_s,
            "stages": {stage: seconds / whole_s for stage, seconds in sweep.spent_s.items()},
            "exhaustive_s": whole_s,
        }
        found.append(each)
        stages = ", ".join(f"{stage} {share:.0%}" for stage, share in each["stages"].items())
        verdict = "same" if each["is_same"] else "tied" if each["is_same_or_tied"] else "OTHER"
        say(
            f"{each['sweep']}: {each['combinations']} combinations, {each['objective']}, {verdict}, "
            f"{each['cost']:.0%} of {whole_s:.0f} s ({stages})"
        )
    return summary(found)


def lost(sweep: Sweep, named: Key | None, winner: Key | None) -> float | None:
    """By how much what was named is truly behind the exhaustive search's winner, by the objective."""
    if named is None or winner is None:
        return None
    candidates = []
    for cell, size in (named, winner):
        median_ms = sweep.truths[cell, size].median_ms
        metrics: dict[str, float | None] = {
            "latency_p50_ms": median_ms,
            "throughput_samples_per_s": 1e3 * size / median_ms,
        }
        profile = Profile(**asdict(cell), batch_size=size, round=0, status="ok", metrics=metrics)
        row = Row(cell, size, "ok", first=profile, rounds=[profile])
        row.estimate = Estimate(median_ms, 1e-9, 1)
        candidates += make_candidates([row], make_table([row], sweep.plan, {}), sweep.plan)
    wanted = wanted_in(sweep.plan)
    objective = Objective.of(wanted.wanted_of(winner[0].model), winner[0].scenario)
    return 1 - math.exp(objective.score(candidates[0]) - objective.score(candidates[1]))


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How often the winner is the same, and at what share of the time."""
    costs = [each["cost"] for each in found]
    whole_s = sum(each["exhaustive_s"] for each in found)
    return {
        "sweeps": list(found),
        "same": float(np.mean([each["is_same"] for each in found])),
        "lost_mean": float(np.mean([each["lost"] for each in found if each["lost"] is not None])),
        "lost_most": max(each["lost"] for each in found if each["lost"] is not None),
        "same_or_tied": float(np.mean([each["is_same_or_tied"] for each in found])),
        "cost_median": float(np.median(costs)),
        "cost_mean": float(np.mean(costs)),
        "cost_of_all": sum(each["cost"] * each["exhaustive_s"] for each in found) / whole_s,
        "within_goal": float(np.mean([each["cost"] <= GOAL_COST for each in found])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=120)
    parser.add_argument("--quiet", action="store_true")
    asked = parser.parse_args()
    say = (lambda text: None) if asked.quiet else print
    for kind, sweeps in (
        ("simulated", [simulated(seed) for seed in range(asked.sweeps)]),
        ("recorded", recorded()),
    ):
        found = compare(sweeps, say)
        print(
            f"{len(sweeps)} {kind}: same winner {found['same']:.1%}, or one of its tie "
            f"{found['same_or_tied']:.1%}, truly behind it by {found['lost_mean']:.1%} (at most "
            f"{found['lost_most']:.0%})\nshare of the time: median {found['cost_median']:.1%}, "
            f"mean {found['cost_mean']:.1%}, of all together {found['cost_of_all']:.1%}"
        )


if __name__ == "__main__":
    main()
