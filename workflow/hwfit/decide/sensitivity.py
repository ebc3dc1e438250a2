"""What would change the answer: how far a limit, a price or the chosen row's quality may move.

By the figures as they stand, without their doubt where rows are ranked; what a limit has to be for a row to
be proven to meet it does hold the doubt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hwfit.decide.candidate import Candidate
from hwfit.decide.energy_scopes import comparable
from hwfit.decide.limits import LIMITS, Bound, check, tightest
from hwfit.decide.objectives import Objective

# Digits of a stated limit. It is rounded to the side on which what is said of it holds.
DIGITS = 4
QUALITY = ("max_accuracy_drop", "max_perplexity_increase", "min_fidelity")


@dataclass(frozen=True)
class Change:
    """Something that may move, and what then.

    Attributes
    ----------
    kind : `limit`, `price` or `quality`
    name : the limit's, the device's of a price, the limit's of a quality
    current : where it stands; None where that is no number
    at : where the answer changes
    direction : `looser`, `tighter`, `cheaper`, `dearer` or `lower`
    then : the row that would win; None where none would, or where only this one drops out
    """

    kind: str
    name: str
    current: float | None
    at: float
    direction: str
    unit: str
    then: Candidate | None
    text: str


def changes(
    candidates: Sequence[Candidate],
    chosen: Candidate | None,
    objective: Objective,
    limits: Mapping[str, Bound],
) -> list[Change]:
    """Of each limit that is a number, of prices where they count, and of the chosen row's quality; the
    candidates have their findings.
    """
    rivals = [c for c in candidates if c.is_measured and not objective.missing(c)]
    rivals = comparable(rivals, objective, chosen)
    standing = {id(c): {f.limit for f in c.findings if f.verdict != "met"} for c in rivals}
    numbers = {name: bound for name, bound in limits.items() if not isinstance(bound, str)}
    found: list[Change | None] = []
    for name, bound in numbers.items():
        found.append(looser(name, bound, rivals, standing, chosen, objective))
        if chosen and not standing[id(chosen)]:
            found.append(tighter(name, bound, rivals, standing, chosen, objective))
    if chosen:
        allowed = confirmed_of([c for c in rivals if not standing[id(c)]])
        found += prices(allowed, chosen, objective)
        found += [quality(name, bound, chosen) for name, bound in numbers.items() if name in QUALITY]
    return [change for change in found if change]


def looser(
    name: str,
    bound: float,
    rivals: Sequence[Candidate],
    standing: Mapping[int, set[str]],
    chosen: Candidate | None,
    objective: Objective,
) -> Change | None:
    """The least by which a limit would have to give way for a better row to be proven to fit."""
    fitting = confirmed_of([c for c in rivals if not standing[id(c)]])
    best = max([objective.score(c) for c in fitting], default=-math.inf)
    blocked = [c for c in rivals if standing[id(c)] == {name} and objective.score(c) > best]
    needed = [(value, c) for c in blocked if (value := tightest(c, name)) is not None]
    if not needed:
        return None
    limit = LIMITS[name]
    at, rival = min(needed, key=lambda pair: -pair[0] if limit.is_minimum else pair[0])
    at = outward(at, name)
    gain = ""
    if chosen:
        gain = f": {objective.comparison(rival, chosen)} than {chosen.name}"
        if chosen.row.confirmed and not rival.row.confirmed:
            gain += ", by its first look"
    return Change(
        "limit",
        name,
        bound,
        at,
        "looser",
        limit.unit,
        rival,
        f"With {name} at {at:g}{limit.unit} instead of {bound:g}{limit.unit}, {rival.name} would "
        f"{'win' if chosen else 'fit'}{gain}.",
    )


def tighter(
    name: str,
    bound: float,
    rivals: Sequence[Candidate],
    standing: Mapping[int, set[str]],
    chosen: Candidate,
    objective: Objective,
) -> Change | None:
    """The tightest that a limit may be for the chosen row to be proven to fit, and what wins beyond it."""
    mine = tightest(chosen, name)
    if mine is None:
        return None
    limit = LIMITS[name]
    at = outward(mine, name)
    sign = -1 if limit.is_minimum else 1
    stricter = [
        c
        for c in rivals
        if not standing[id(c)] and (value := tightest(c, name)) is not None and sign * value < sign * mine
    ]
    then = max(confirmed_of(stricter), key=objective.score, default=None)
    what = f"{then.name} would win" if then else "nothing that was measured would be proven to fit"
    return Change(
        "limit",
        name,
        bound,
        at,
        "tighter",
        limit.unit,
        then,
        f"The answer holds for {name} {'up' if limit.is_minimum else 'down'} to {at:g}{limit.unit}; "
        f"beyond it {what}.",
    )


def confirmed_of(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Those with fresh rounds, where some have them: a first look is no match for these."""
    return [c for c in candidates if c.row.confirmed] or candidates


def prices(allowed: Sequence[Candidate], chosen: Candidate, objective: Objective) -> list[Change]:
    """At which price of a device the answer would be another one, where cost is sought."""
    weight = dict(objective.weights).get("cost", 0.0)
    best: dict[str, Candidate] = {}
    for candidate in sorted(allowed, key=objective.score):
        best[candidate.row.cell.device] = candidate
    ours = chosen.row.cell.device
    others = [(c, c.price) for device, c in best.items() if device != ours and c.price]
    if not weight or not others or not chosen.price:
        return []
    found = []
    for rival, price in others:
        at = price * math.exp((objective.score(rival) - objective.score(chosen)) / weight)
        device = rival.row.cell.device
        text = f"{device} would win below ${at:.4g}/h (now ${price:g}/h), with {rival.name}."
        if at < price:
            found.append(Change("price", device, price, at, "cheaper", "$/h", rival, text))
    rival, _ = max(others, key=lambda pair: objective.score(pair[0]))
    at = chosen.price * math.exp((objective.score(chosen) - objective.score(rival)) / weight)
    if at > chosen.price:
        now = f"(now ${chosen.price:g}/h)"
        text = f"{ours} wins while it costs less than ${at:.4g}/h {now}; then {rival.name}."
        found.append(Change("price", ours, chosen.price, at, "dearer", "$/h", rival, text))
    return found


def quality(name: str, bound: float, chosen: Candidate) -> Change | None:
    """How much worse the chosen row's outputs may be before a limit rejects it."""
    limit = LIMITS[name]
    figure = chosen.line.get(limit.column)
    if figure is None or check(chosen, name, bound).verdict != "met":
        return None
    room = abs(bound - figure)
    what = {"max_accuracy_drop": "accuracy", "min_fidelity": "fidelity"}.get(name, "perplexity")
    way = "rise" if what == "perplexity" else "fall"
    share = f"{100 * room:.3g} {'%' if what == 'perplexity' else 'points'}"
    text = f"Its {what} may {way} by {share} more before {name} ({bound:g}) rejects it."
    return Change("quality", name, figure, bound, "lower", limit.unit, None, text)


def outward(value: float, name: str) -> float:
    """A limit rounded to a few digits, to the side on which what meets the exact one still meets it."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - DIGITS + 1)
    steps = math.floor(value / step) if LIMITS[name].is_minimum else math.ceil(value / step)
    return float(f"{steps * step:.{DIGITS}g}")
