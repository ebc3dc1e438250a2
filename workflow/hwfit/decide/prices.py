"""What the answer would be at other prices: below which price an hour each device wins.

One device's price moves, the others stay. With it move the composites that are priced by their members.
Let a row of that device cost p + e an hour (e: its electricity) and a rival a + b * p, where b is 1 for such
a composite and 0 for all else. Cost having the weight w in the objective, the row is ahead as long as

    p + e < r * (a + b * p),    r = exp((score of the row - score of the rival) / w)

with both scores taken at the same price. So each pair has one break-even price, and so has each limit on
cost; a device wins below the highest price at which one of its rows is ahead of all rivals within the limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwfit.decide.candidate import Candidate, confirmed_of
from hwfit.decide.energy_scopes import comparable
from hwfit.decide.limits import COST_LIMITS, Bound
from hwfit.decide.objectives import Objective

COST = "cost"


@dataclass(frozen=True)
class DevicePrice:
    """A device at its best, and the price an hour that decides about it.

    Attributes
    ----------
    row : its row that is cheapest a sample, within the limits on all but cost
    now : what an hour of that row costs, electricity included; None where it has no price
    wins_below : what an hour may cost at most for the device to win; infinite: it wins at any price; 0: at
        none
    low, high : the ends of what that may be, by the 95% intervals of both rows' pace; None where a limit
        draws the line, which holds the doubt itself
    winner : the row with which it wins
    rival : what wins above that price; None where nothing is left
    as_cheap_below : what an hour of `row` may cost at most for its samples to be as cheap as the chosen
        row's; None for the chosen row's own device
    """

    device: str
    row: Candidate
    now: float | None
    wins_below: float
    low: float | None
    high: float | None
    winner: Candidate
    rival: Candidate | None
    as_cheap_below: float | None


@dataclass(frozen=True)
class Market:
    """What all prices have in common in one answer.

    Attributes
    ----------
    limits : the limits on cost, the least of which counts
    per_hour : the cost of a million samples over price an hour, at one sample a second
    """

    objective: Objective
    limits: Mapping[str, float]
    per_hour: float

    @property
    def weight(self) -> float:
        return dict(self.objective.weights).get(COST, 0.0)

    def score(self, candidate: Candidate) -> float:
        """A candidate's score at a price of 1 an hour."""
        others = Objective(tuple((name, share) for name, share in self.objective.weights if name != COST))
        return others.score(candidate) + self.weight * math.log(rate_of(candidate) / self.per_hour)

    def highest_price(self, candidate: Candidate) -> float:
        """The highest price an hour at which it is proven to meet the limits on cost."""
        if not self.limits:
            return math.inf
        return min(self.limits.values()) * rate_of(candidate) / self.per_hour / candidate.relative_reach()


@dataclass(frozen=True)
class Rivals:
    """The rows of other devices that may win, beside a device whose price moves.

    Attributes
    ----------
    scores : at a price of 1 an hour, shape (rivals,)
    rest : what an hour costs but for the device whose price moves, shape (rivals,)
    moves : whether that device is a member that they pay for, shape (rivals,)
    caps : what that device may cost at most for them to stay within the limits on cost, shape (rivals,)
    """

    rows: Sequence[Candidate]
    scores: np.ndarray
    rest: np.ndarray
    moves: np.ndarray
    caps: np.ndarray
    market: Market

    @classmethod
    def of(cls, rows: Sequence[Candidate], device: str, market: Market) -> Rivals:
        scores = np.array([market.score(c) for c in rows])
        rest = np.array([c.line["price_per_hour"] - c.fixed_per_hour.get(device, 0.0) for c in rows])
        moves = np.array([device in c.fixed_per_hour for c in rows], bool)
        highest = np.array([market.highest_price(c) for c in rows])
        return cls(rows, scores, rest, moves, np.where(moves, highest - rest, math.inf), market)

    def break_evens(self, candidate: Candidate, shift: float = 0.0) -> np.ndarray:
        """Below which rent or capital an hour a row of the device is ahead of each: -inf at none, inf at any.

        Parameters
        ----------
        shift : added to the row's lead in the logarithm of the score
        """
        leads = self.market.score(candidate) - self.scores + shift
        ends = np.where(leads >= 0, math.inf, -math.inf)
        if self.market.weight:
            # Beyond these a price has no meaning, and its exponential no number.
            ratio = np.exp(np.clip(leads / self.market.weight, -600, 600))
            room, slope = ratio * self.rest - electricity_of(candidate), 1 - ratio * self.moves
            with np.errstate(divide="ignore", invalid="ignore"):
                ends = np.where(slope > 0, room / slope, np.where(room >= 0, math.inf, -math.inf))
        return np.where(ends > self.caps, math.inf, ends)

    def best_at(self, fixed: float) -> Candidate | None:
        """The best of them where the device costs so much an hour; None where none is left."""
        if not (self.caps > fixed).any():
            return None
        prices = self.rest + np.where(self.moves, min(fixed, 1e300), 0.0)
        scores = self.scores - self.market.weight * np.log(np.maximum(prices, 1e-300))
        scores = np.where(self.caps > fixed, scores, -math.inf)
        return self.rows[int(scores.argmax())]


def device_prices(
    candidates: Sequence[Candidate],
    chosen: Candidate | None,
    objective: Objective,
    limits: Mapping[str, Bound],
) -> list[DevicePrice]:
    """Each device that has a row within the limits on all but cost; none where no device has a price.

    The candidates have their findings. `chosen` is the row that is proven to fit and wins, or None.
    """
    asked = {name: bound for name, bound in limits.items() if name in COST_LIMITS}
    known = ("price_per_hour", "cost_per_million")
    priced = next((c for c in candidates if c.is_measured and all(c.line.get(name) for name in known)), None)
    # What a share of the baseline's cost is moves with the prices too: of that nothing is said.
    if priced is None or any(isinstance(bound, str) for bound in asked.values()):
        return []
    per_hour = priced.line["cost_per_million"] * rate_of(priced) / priced.line["price_per_hour"]
    market = Market(objective, {name: float(bound) for name, bound in asked.items()}, per_hour)
    rows = [c for c in candidates if c.is_measured and knows_all_but_cost(c, objective)]
    rows = comparable(rows, objective, chosen)
    standing = {id(c): {f.limit for f in c.findings if f.verdict != "met"} for c in rows}
    possible = [c for c in rows if standing[id(c)] <= set(asked)]
    found = []
    for device in dict.fromkeys(c.row.cell.device for c in possible):
        own = confirmed_of([c for c in possible if c.row.cell.device == device])
        others = [c for c in possible if c.row.cell.device != device and c.line.get("price_per_hour")]
        # A composite that costs less with the device may come within the limits together with it; with one
        # that wins already and gets dearer, it does not.
        is_ours = chosen is not None and chosen.row.cell.device == device
        able = [c for c in others if not standing[id(c)] or (device in c.fixed_per_hour and not is_ours)]
        rivals = Rivals.of(confirmed_of(able), device, market)
        found.append(price_of_device(device, own, rivals, chosen))
    return found


def knows_all_but_cost(candidate: Candidate, objective: Objective) -> bool:
    """Whether every figure is there that counts; the cost follows from a price, and may be missing."""
    others = tuple((name, share) for name, share in objective.weights if name != COST)
    is_known = not Objective(others).missing(candidate)
    return is_known and bool(candidate.line.get("throughput_samples_per_s"))


def price_of_device(
    device: str, own: Sequence[Candidate], rivals: Rivals, chosen: Candidate | None
) -> DevicePrice:
    """The break-even price of one device, from its rows and those of others that may win."""
    market = rivals.market

    def highest(candidate: Candidate) -> float:
        limit = market.highest_price(candidate) - electricity_of(candidate)
        return float(rivals.break_evens(candidate).min(initial=limit))

    winner = max(own, key=lambda c: (highest(c), market.score(c)))
    fixed = max(highest(winner), 0.0)
    added = electricity_of(winner)
    low, high = doubt(winner, rivals, fixed)
    cheapest = max(own, key=lambda c: rate_of(c) / (c.line.get("price_per_hour") or 1.0))
    as_cheap = None
    if chosen and chosen.row.cell.device != device and chosen.line.get("price_per_hour"):
        as_cheap = chosen.line["price_per_hour"] * rate_of(cheapest) / rate_of(chosen)
    return DevicePrice(
        device,
        cheapest,
        cheapest.line.get("price_per_hour"),
        fixed + added if fixed > 0 else 0.0,
        None if low is None else low + added,
        None if high is None else high + added,
        winner,
        rivals.best_at(fixed),
        as_cheap,
    )


def doubt(winner: Candidate, rivals: Rivals, fixed: float) -> tuple[float | None, float | None]:
    """The ends of a break-even price by the 95% intervals of the pace of the row and its nearest rival."""
    ends = rivals.break_evens(winner)
    # Elsewhere a limit on cost draws the line, or nothing does.
    decides = rivals.market.weight and 0 < fixed < math.inf and fixed >= ends.min(initial=math.inf)
    if not decides:
        return None, None
    nearest = int(ends.argmin())
    reaches = [winner.relative_reach(), rivals.rows[nearest].relative_reach()]
    reach = math.hypot(*map(math.log, reaches))
    low, high = (float(rivals.break_evens(winner, sign * reach)[nearest]) for sign in (-1, 1))
    return max(low, 0.0), high if math.isfinite(high) else None


def electricity_of(candidate: Candidate) -> float:
    """What of the price an hour follows the row, not the device; 0 where it has no price."""
    price = candidate.line.get("price_per_hour")
    return price - sum(candidate.fixed_per_hour.values()) if price and candidate.fixed_per_hour else 0.0


def rate_of(candidate: Candidate) -> float:
    """Samples a second."""
    rate: float = candidate.line["throughput_samples_per_s"]
    return rate
