"""A row as the decision sees it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwfit.collect import Row
from hwfit.layout import site_of


@dataclass(frozen=True)
class Finding:
    """How a row stands to one limit: `met`, `violated` or `unproven`, with the evidence."""

    limit: str
    verdict: str
    text: str
    overshoot: float = 0.0


@dataclass(eq=False)
class Candidate:
    """A row with its line of the table, and what the decision says of it.

    Attributes
    ----------
    passes : how many its optimization has
    price : of its device an hour, as far as it is the same for all its rows; None where it has none
    fixed_per_hour : rent or capital an hour, by the device that it is paid for; without electricity
    baseline : what limits such as `50% of baseline` look at; None where it is not in the matrix
    """

    row: Row
    line: dict[str, Any]
    passes: int
    price: float | None
    findings: list[Finding] = field(default_factory=list)
    verdict: str = "not_measured"
    reason: str = ""
    baseline: Candidate | None = None
    fixed_per_hour: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        cell = self.row.cell
        return f"{cell.device}/{cell.runtime}/{cell.optimization}/batch {self.row.batch_size}"

    @property
    def is_measured(self) -> bool:
        """Whether it has figures that can be trusted."""
        return self.row.status == "ok" and self.row.valid

    def relative_reach(self) -> float:
        """The upper end of the 95% interval of its pace, over the pace; 1 where no doubt is known."""
        estimate = self.row.estimate
        return estimate.interval()[1] / estimate.median_ms if estimate else 1.0


def confirmed_of(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Those with fresh rounds, where some have them: a first look is no match for these.

    A device of another site cannot be measured again here: where none of its rows has fresh rounds, its
    first looks stand for it.
    """
    confirmed = {c.row.cell.device for c in candidates if c.row.confirmed}
    if not confirmed:
        return candidates
    return [c for c in candidates if c.row.confirmed or cannot_be_confirmed(c, confirmed)]


def cannot_be_confirmed(candidate: Candidate, confirmed_devices: Collection[str]) -> bool:
    """Whether a row is of a device of another site, where nothing of it was measured in fresh rounds."""
    device = candidate.row.cell.device
    return bool(site_of(device)) and device not in confirmed_devices
