"""Which rows fresh rounds should measure again, and when they have said enough."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hwfit.decide.candidate import Candidate
from hwfit.decide.choice import decide_among
from hwfit.decide.energy_scopes import comparable
from hwfit.decide.limits import Bound
from hwfit.decide.objectives import Objective, compare
from hwfit.layout import site_of
from hwfit.records import Cell

# Half-way a row is given up only where it is behind the leader with more certainty than at the end, since
# who looks often is fooled more often: with four looks, equal rows are then told apart in 5% of cases.
INTERIM_SHARE = 0.005
# What a first look may be off by, whatever the spread of others says: a process may be slow as a whole (by a
# third, in a fifth of the processes of a shared two-core machine), and the best row must not go lost by it.
FIRST_LOOK_ERROR = 0.1


def contenders(
    candidates: Sequence[Candidate],
    wanted: str | Mapping[str, float],
    limits: Mapping[str, Bound],
    most: int,
    least_share: float,
) -> list[Candidate]:
    """Those of a model that fresh rounds should measure again, `most` at most.

    They are the best that is proven to fit, what may still beat it or may yet be proven to fit, and the
    runner-up, so that the margin is not flattered either. Rows of other sites are named beside these, since
    the others must be told from them; nothing measures them again.
    """
    objective = Objective.of(wanted, candidates[0].row.cell.scenario)
    decide_among("", candidates, objective, limits)
    pool = possible(candidates, objective)
    if not pool:
        return []
    _, share_better = compare(pool, objective, FIRST_LOOK_ERROR)
    scores = objective.scores(pool)
    ranked = sorted(zip(scores, share_better, range(len(pool)), strict=True), reverse=True)
    ordered = [(pool[index], better) for _, better, index in ranked]
    # What is ahead of the best that is proven to fit may yet be proven so, by more calls.
    place = next((p for p, (c, _) in enumerate(ordered) if all(f.verdict == "met" for f in c.findings)), 0)
    needed = max(1, place)
    chosen = [c for p, (c, better) in enumerate(ordered) if p <= needed or better >= least_share]
    best = ordered[place][0]
    own = [c for c in chosen if not site_of(c.row.cell.device)]
    is_late = best in own and own.index(best) >= most
    kept = [c for p, c in enumerate(own) if c is best or p < most - is_late]
    return [c for c in chosen if c in kept or c not in own]


def undecided(
    candidates: Sequence[Candidate],
    wanted: str | Mapping[str, float],
    limits: Mapping[str, Bound],
    nominated: Collection[tuple[Cell, int]],
) -> list[Candidate]:
    """Of the rows that were nominated, in the midst of their fresh rounds, those that more rounds may still
    tell apart; none where one of them is ahead of all others, or alone.
    """
    objective = Objective.of(wanted, candidates[0].row.cell.scenario)
    decide_among("", candidates, objective, limits)
    named = [c for c in candidates if (c.row.cell, c.row.batch_size) in nominated]
    pool = possible(named, objective)
    if len(pool) < 2:
        return []
    _, share_better = compare(pool, objective)
    left = [c for c, share in zip(pool, share_better, strict=True) if share >= INTERIM_SHARE]
    return left if len(left) > 1 else []


def possible(candidates: Sequence[Candidate], objective: Objective) -> list[Candidate]:
    """Those that can be trusted, have the figures that count, violate no limit, and can be ranked against
    each other.
    """
    pool = [c for c in candidates if c.is_measured and not objective.missing(c)]
    return comparable([c for c in pool if all(f.verdict != "violated" for f in c.findings)], objective)
