"""What would change the answer: how far a limit, a price or the chosen row's quality may move.

By the figures as they stand, without their doubt where rows are ranked; what a limit has to be for a row to
be proven to meet it does hold the doubt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hwfit.costs import DOLLARS, SYMBOLS, money
from hwfit.decide.candidate import Candidate, confirmed_of
from hwfit.decide.energy_scopes import comparable
from hwfit.decide.limits import LIMITS, Bound, check, tightest
from hwfit.decide.objectives import Objective
from hwfit.decide.prices import DevicePrice

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
    at_low, at_high : of a price, the ends of what `at` may be; None where no doubt is known
    """

    kind: str
    name: str
    current: float | None
    at: float
    direction: str
    unit: str
    then: Candidate | None
    text: str
    at_low: float | None = None
    at_high: float | None = None


def changes(
    candidates: Sequence[Candidate],
    chosen: Candidate | None,
    objective: Objective,
    limits: Mapping[str, Bound],
    prices: Sequence[DevicePrice] = (),
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
    fitting = chosen if chosen and not standing[id(chosen)] else None
    found += [price_change(price, fitting) for price in prices]
    if chosen:
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
    at, unit = outward(at, name), limit.unit_of(rival)
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
        unit,
        rival,
        f"With {name} at {at:g}{unit} instead of {bound:g}{unit}, {rival.name} would "
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
    at, unit = outward(mine, name), limit.unit_of(chosen)
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
        unit,
        then,
        f"The answer holds for {name} {'up' if limit.is_minimum else 'down'} to {at:g}{unit}; "
        f"beyond it {what}.",
    )


def price_change(price: DevicePrice, chosen: Candidate | None) -> Change | None:
    """At which price of a device the answer would be another one; None where no price of it changes it."""
    at, now, device = price.wins_below, price.winner.line.get("price_per_hour"), price.device
    is_ours = chosen is not None and chosen.row.cell.device == device
    if not 0 < at < math.inf or (now is not None and (at <= now if is_ours else at >= now)):
        return None
    currency = currency_of([price.winner, price.rival, chosen])
    told = f"(now {money(now, currency)}/h)" if now is not None else "(it has no price)"
    at_price = f"{money(at, currency, down=True)}/h"
    if is_ours:
        then = price.rival
        text = f"{device} wins while it costs less than {at_price} {told}; beyond it "
        text += f"{then.name} would win" if then else "nothing that was measured would be proven to fit"
    else:
        then = price.winner
        text = f"{device} would {'win' if chosen else 'fit'} below {at_price} {told}, with {then.name}"
    if then and chosen and chosen.row.confirmed and not then.row.confirmed:
        text += ", by its first look"
    unit = f"{SYMBOLS.get(currency, currency)}/h"
    direction = "dearer" if is_ours else "cheaper"
    return Change("price", device, now, at, direction, unit, then, f"{text}.", price.low, price.high)


def currency_of(candidates: Sequence[Candidate | None]) -> str:
    """That of the first that has one."""
    told = (c.line.get("currency") for c in candidates if c)
    return next((currency for currency in told if currency), DOLLARS)


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
