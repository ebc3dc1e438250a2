"""What is wanted: the most throughput, the least latency, energy or cost, or a weighted mix of them.

A mix is the product of the figures, each to the power of its weight (a weighted geometric mean): no figure
has to be brought to another's unit, and ten percent more count the same wherever they are gained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwfit.catalog import is_generation
from hwfit.decide.candidate import Candidate
from hwfit.records import DEFAULT_SCENARIO
from hwfit.uncertainty import shifts

DRAWS, BLOCK = 10_000, 500
MIX = "mix"
# Behind by so many standard errors of both: out of reach even by the tails of Student's t on few degrees.
HOPELESS = 15.0


@dataclass(frozen=True)
class Goal:
    """A column, whether more of it is better, and its name in a sentence."""

    column: str
    more_is_better: bool
    words: str


GOALS = {
    "throughput": Goal("throughput_samples_per_s", True, "throughput"),
    "latency": Goal("latency_p50_ms", False, "median latency"),
    "energy": Goal("energy_j_per_sample", False, "energy a sample"),
    "cost": Goal("cost_per_million", False, "cost"),
}


@dataclass(frozen=True)
class Objective:
    """Goals with their weights, which sum to 1."""

    weights: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, wanted: str | Mapping[str, float], scenario: str = DEFAULT_SCENARIO) -> Objective:
        """What the config wants, as it is meant in a scenario.

        A latency is sought where the next request waits for the last one's answer, or for the last word of
        one; elsewhere it is nobody's, or has its limits, and as many samples as possible are wanted.
        """
        asked = {wanted: 1.0} if isinstance(wanted, str) else wanted
        is_sought = scenario == DEFAULT_SCENARIO or is_generation(scenario)
        weights: dict[str, float] = {}
        for name, weight in asked.items():
            meant = "throughput" if name == "latency" and not is_sought else name
            weights[meant] = weights.get(meant, 0.0) + weight / sum(asked.values())
        return cls(tuple(weights.items()))

    @property
    def is_mix(self) -> bool:
        return len(self.weights) > 1

    @property
    def name(self) -> str:
        """A goal's, or `mix`."""
        return MIX if self.is_mix else self.weights[0][0]

    @property
    def words(self) -> str:
        """For a sentence."""
        if not self.is_mix:
            return GOALS[self.name].words
        return f"mix of {', '.join(f'{GOALS[name].words} {weight:.0%}' for name, weight in self.weights)}"

    def seeks(self, goal: str) -> bool:
        """Whether a goal counts."""
        return goal in dict(self.weights)

    def missing(self, candidate: Candidate) -> list[str]:
        """The goals of which a candidate has no figure, in words."""
        return [GOALS[name].words for name, _ in self.weights if not figure(candidate, name)]

    def score(self, candidate: Candidate) -> float:
        """The logarithm of the weighted product: larger is better."""
        total = 0.0
        for name, weight in self.weights:
            value = math.log(candidate.line[GOALS[name].column])
            total += weight * (value if GOALS[name].more_is_better else -value)
        return total

    def scores(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """The score of each, shape (candidates,)."""
        return np.array([self.score(candidate) for candidate in candidates])

    def lead(self, candidate: Candidate, other: Candidate) -> float:
        """By how much one is ahead of another: relative to the other's figure, which for what should be
        little is the share that is saved.
        """
        if not self.is_mix and not GOALS[self.name].more_is_better:
            return 1 - math.exp(self.score(other) - self.score(candidate))
        return math.exp(self.score(candidate) - self.score(other)) - 1

    def comparison(self, candidate: Candidate, other: Candidate) -> str:
        """`throughput 120, 43.0% less` (than the other)."""
        if self.is_mix:
            change = math.exp(self.score(candidate) - self.score(other)) - 1
            return f"{self.words} {abs(change):.1%} {'better' if change > 0 else 'worse'}"
        column = GOALS[self.name].column
        ours, theirs = candidate.line[column], other.line[column]
        change = ours / theirs - 1
        return f"{self.words} {ours:.4g}, {abs(change):.1%} {'more' if change > 0 else 'less'}"


def figure(candidate: Candidate, goal: str) -> float | None:
    """A candidate's figure for a goal; None where it has none above 0."""
    value = candidate.line.get(GOALS[goal].column)
    return value if value and value > 0 else None


def worlds_of(
    candidates: Sequence[Candidate], scores: np.ndarray, least_error: float = 0.0
) -> Iterator[np.ndarray]:
    """Plausible scores around those that were found: DRAWS worlds in blocks of shape (BLOCK, candidates),
    since all worlds of thousands of rows would fill the memory.

    Every goal is in proportion to the time of a call or to its inverse, so a world is a draw of each row's
    median time.

    Parameters
    ----------
    least_error : relative standard error that each is taken to have at least
    """
    estimates = [
        replace(c.row.estimate, relative_error=max(c.row.estimate.relative_error, least_error))
        for c in candidates
        if c.row.estimate
    ]
    generator = np.random.default_rng(0)
    for _ in range(DRAWS // BLOCK):
        yield scores - shifts(estimates, BLOCK, generator)


def compare(
    candidates: Sequence[Candidate], objective: Objective, least_error: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """In plausible worlds: the share in which each is best, and in which each is not behind the leader.

    The leader is never behind itself; `least_error` as in `worlds_of`.
    """
    scores = objective.scores(candidates)
    leader = int(np.argmax(scores))
    errors = np.array([max(c.row.estimate.relative_error, least_error) for c in candidates if c.row.estimate])
    # One so far behind is ahead in no world.
    near = scores >= scores[leader] - HOPELESS * (errors + errors[leader])
    rows = [c for c, is_near in zip(candidates, near, strict=True) if is_near]
    place = int(near[:leader].sum())
    best, ahead = np.zeros(len(candidates)), np.zeros(len(candidates))
    for worlds in worlds_of(rows, scores[near], least_error):
        best[near] += np.bincount(worlds.argmax(axis=1), minlength=len(rows))
        ahead[near] += (worlds >= worlds[:, [place]]).sum(axis=0)
    return best / DRAWS, ahead / DRAWS
