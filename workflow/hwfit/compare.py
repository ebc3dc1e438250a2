"""Whether each combination of one run is better, worse or no different than in another.

Runs are compared by the pace of their rows (the median time of a call; in the scenario server the time
between requests), a value a round, a round being a fresh process. For each row measured on both sides, a
two-sided t test on the difference of the mean logarithms, with both sizes of doubt: the spread between
processes, learnt from all rows of the device (`device_spread`), and the doubt within them where that is
larger. Many tests at 5% each would cry wolf in every other run, so that Holm's step-down procedure (A simple
sequentially rejective multiple test procedure, 1979) holds the chance of any false alarm in the whole run at
5%: it finds all that Bonferroni's finds and more, and holds under any dependence, which rows that share a
spread, a machine and a day have. Intervals are Bonferroni's, simultaneous at 95%; Holm's test may find a
difference whose interval just reaches 1.

Pure logic: rows in, verdicts out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from hwfit.collect import Row, estimate_of
from hwfit.comparison_options import QUALITY_TOLERANCE
from hwfit.device_spread import DeviceSpread, learn
from hwfit.power import FAMILY_ERROR
from hwfit.records import TRUST_BREAKING_FLAGS, Cell, codes
from hwfit.uncertainty import Spread

# Worst first, as they are shown.
VERDICTS = ("worse", "better", "cannot_tell", "only_there", "only_here", "no_difference")
# Statuses that say something of the combination, not of what was there to run it.
FAILURES = ("oom", "unsupported", "incorrect", "timeout", "crashed")
# What must not fall, absolute figures between 0 and 1.
QUALITIES = ("accuracy", "fidelity")
# Two floats that differ by their last digits are not a fall.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Run:
    """One side of a comparison.

    Attributes
    ----------
    name : where it was read
    inventories : of its devices, whose reference times tell of the spread between processes
    settings : `measurement` of its config
    remarks : what the reader has to say of it
    """

    name: str
    rows: Sequence[Row]
    inventories: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    hwfit_version: str | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Test:
    """The test of one row.

    Attributes
    ----------
    ratio : pace here over pace there; above 1 is slower
    low, high : simultaneous 95% interval of the ratio
    p, p_adjusted : of the test by itself, and by Holm's procedure over all
    relative_error : standard error of the ratio's logarithm
    spread : of a single round, with the degrees of freedom of the test
    """

    ratio: float
    low: float
    high: float
    p: float
    p_adjusted: float
    relative_error: float
    spread: Spread

    __test__ = False  # not pytest's


@dataclass
class Line:
    """One combination of either run: its rows, and what was found."""

    cell: Cell
    batch_size: int
    there: Row | None = None
    here: Row | None = None
    verdict: str = "cannot_tell"
    reason: str = ""
    test: Test | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.cell}, batch {self.batch_size}"

    @property
    def sides(self) -> list[Row]:
        return [row for row in (self.there, self.here) if row]

    @property
    def is_measured(self) -> bool:
        """Whether both sides have figures."""
        return len(self.sides) == 2 and all(row.status == "ok" for row in self.sides)

    @property
    def is_same_record(self) -> bool:
        """Whether one measurement stands on both sides, as where results were copied."""
        there, here = ([(p.round, p.started_at, p.pace_ms) for p in row.rounds] for row in self.sides)
        return there == here and all(started for _, started, _ in here)


@dataclass(frozen=True)
class Comparison:
    """All lines, worst first, with the spread of each device."""

    lines: list[Line]
    devices: Mapping[str, DeviceSpread]
    quality_tolerance: float

    @cached_property
    def tested(self) -> list[Line]:
        return [line for line in self.lines if line.test]

    @cached_property
    def tested_on(self) -> Counter[str]:
        """How many of them are of each device."""
        return Counter(line.cell.device for line in self.tested)

    @property
    def counts(self) -> dict[str, int]:
        """How many lines have each verdict; every verdict is there."""
        return dict.fromkeys(VERDICTS, 0) | Counter(line.verdict for line in self.lines)


def compare(here: Run, there: Run, quality_tolerance: float = QUALITY_TOLERANCE) -> Comparison:
    """Compare a run with another, which is taken for what was before.

    Parameters
    ----------
    quality_tolerance : a row whose accuracy or fidelity fell by more is worse, however fast it is
    """
    lines = paired(here.rows, there.rows)
    devices = learn_spreads(lines, here, there)
    obstacles = {id(line): obstacle(line) for line in lines if line.is_measured}
    testable = [line for line in lines if obstacles.get(id(line)) == ""]
    test(testable, devices)
    for line in lines:
        line.notes += notes_of(line)
        line.verdict, line.reason = judge(line, obstacles.get(id(line), ""), quality_tolerance)
    return Comparison(sorted(lines, key=badness), devices, quality_tolerance)


def paired(here: Iterable[Row], there: Iterable[Row]) -> list[Line]:
    """A line for each combination that either run has."""
    lines: dict[tuple[Cell, int], Line] = {}
    for side, rows in (("there", there), ("here", here)):
        for row in rows:
            line = lines.setdefault((row.cell, row.batch_size), Line(row.cell, row.batch_size))
            setattr(line, side, row)
    return list(lines.values())


def learn_spreads(lines: Iterable[Line], here: Run, there: Run) -> dict[str, DeviceSpread]:
    """What is known of the spread between processes on each device, from both runs: from their rows, and
    from the fresh processes in which the inventories timed a reference model.
    """
    groups: dict[str, list[list[list[float]]]] = {}
    for line in lines:
        sides = line.sides[:1] if len(line.sides) == 2 and line.is_same_record else line.sides
        paces = [[p.pace_ms for p in row.rounds if p.pace_ms] for row in sides if row.valid]
        groups.setdefault(line.cell.device, []).append(paces)
    for device, found in groups.items():
        taken = [run.inventories.get(device, {}).get("runtimes", {}) for run in (there, here)]
        for runtime in dict.fromkeys(name for runtimes in taken for name in runtimes):
            times = [runtimes.get(runtime, {}).get("reference_ms", []) for runtimes in taken]
            # An inventory that was copied is one, not two.
            found.append(times[:1] if times[0] == times[1] else times)
    return {device: learn(found) for device, found in groups.items()}


def obstacle(line: Line) -> str:
    """Why two measured rows cannot be tested; empty where they can."""
    assert line.there and line.here
    for row, place in ((line.there, "there"), (line.here, "here")):
        if not row.valid:
            flags = (flag for profile in row.rounds for flag in profile.flags)
            named = codes(flag for flag in flags if flag.code in TRUST_BREAKING_FLAGS)
            return f"the measurement {place} cannot be trusted: {named}"
        if not all(profile.pace_ms for profile in row.rounds):
            return f"no rate held {place}, so that there is no pace to compare"
    if line.is_same_record:
        return "the same measurement stands on both sides: neither was made anew"
    if fingerprints(line.there, "protocol") != fingerprints(line.here, "protocol"):
        return "measured in different ways (protocol fingerprints differ): use the same settings for both"
    return ""


def test(lines: Sequence[Line], devices: Mapping[str, DeviceSpread]) -> None:
    """Test every line's pace, and give each its result."""
    from scipy.stats import t

    if not lines:
        return
    differences, errors, spreads = [], [], []
    for line in lines:
        paces = [[p.pace_ms for p in row.rounds if p.pace_ms] for row in line.sides]
        spread = devices[line.cell.device].spread_of(paces)
        there, here = (estimate_of(row, spread) for row in line.sides)
        assert there and here
        differences.append(math.log(here.median_ms / there.median_ms))
        errors.append(math.hypot(there.relative_error, here.relative_error))
        alone = [e.relative_error * math.sqrt(len(p)) for e, p in zip((there, here), paces, strict=True)]
        spreads.append(Spread(max(alone), spread.degrees))
    difference, error = np.array(differences), np.maximum(errors, 1e-12)
    degrees = np.array([spread.degrees for spread in spreads])
    p = 2 * t.sf(np.abs(difference) / error, degrees)
    adjusted = holm(p)
    reach = t.isf(FAMILY_ERROR / 2 / len(lines), degrees) * error
    low, high = np.exp(difference - reach), np.exp(np.minimum(difference + reach, 700))
    ratio = np.exp(difference)
    for i, line in enumerate(lines):
        line.test = Test(
            ratio=float(ratio[i]),
            low=float(low[i]),
            high=float(high[i]),
            p=float(p[i]),
            p_adjusted=float(adjusted[i]),
            relative_error=float(error[i]),
            spread=spreads[i],
        )


def holm(p: np.ndarray) -> np.ndarray:
    """P values that hold the family-wise error, by Holm's (1979) step-down procedure.

    Parameters
    ----------
    p : shape (comparisons,)
    """
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(stepped)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def judge(line: Line, hindrance: str, quality_tolerance: float) -> tuple[str, str]:
    """The verdict of a line, and why."""
    there, here = line.there, line.here
    if here is None or there is None:
        return ("only_there", "not in the run here") if here is None else ("only_here", "not in that run")
    if line.is_measured:
        falls = quality_falls(there, here, quality_tolerance)
        verdict, pace = judge_pace(line.test) if line.test else ("cannot_tell", hindrance)
        return ("worse", "; ".join([*falls, pace])) if falls else (verdict, pace)
    said = f"was {told(there)}; is {told(here)}"
    if there.status == "ok" and is_failure(here):
        return "worse", said
    if here.status == "ok" and is_failure(there):
        return "better", said
    return "cannot_tell", said


def judge_pace(found: Test) -> tuple[str, str]:
    """The verdict of a test, and the words for it."""
    said = f"{as_change(found.ratio)} time, 95% interval {as_change(found.low)} to {as_change(found.high)}"
    if found.p_adjusted > FAMILY_ERROR:
        return "no_difference", said
    return ("worse" if found.ratio > 1 else "better"), f"{said}, adjusted p {found.p_adjusted:.2g}"


def quality_falls(there: Row, here: Row, tolerance: float) -> list[str]:
    """What fell by more than is tolerated."""
    falls = []
    for name in QUALITIES:
        before, after = metric(there, name), metric(here, name)
        if before is not None and after is not None and before - after > tolerance + ROUNDING:
            falls.append(f"{name} fell from {before:.4g} to {after:.4g}, tolerated {tolerance:g}")
    return falls


def notes_of(line: Line) -> list[str]:
    """What should be known beside the verdict of a line that both sides have."""
    if not line.is_measured:
        return []
    there, here = line.sides
    notes = []
    if fingerprints(there, "subject") != fingerprints(here, "subject"):
        notes.append("not the same subject: weights, inputs or the model's code differ")
    for name in QUALITIES:
        if metric(there, name) is not None and metric(here, name) is None:
            notes.append(f"{name} is known there and not here")
    return notes


def is_failure(row: Row) -> bool:
    """Whether a row failed by itself: a device that is absent, a combination that was excluded, and a record
    that is not there say nothing of it.
    """
    if row.status == "skipped":
        return row.reason.startswith("implied by")
    return row.status in FAILURES and not (row.status == "crashed" and row.first is None)


def told(row: Row) -> str:
    """A row's status with its reason."""
    return f"{row.status} ({row.reason})" if row.reason else row.status


def fingerprints(row: Row, kind: str) -> set[str | None]:
    """A fingerprint of the rounds that speak for a row: one, where they are of one kind."""
    return {profile.fingerprints.get(kind) for profile in row.rounds}


def metric(row: Row | None, name: str) -> float | None:
    """A figure of a row's first round, which settles what does not change from process to process."""
    return row.first.metrics.get(name) if row and row.first else None


def as_change(ratio: float) -> str:
    """A ratio as a change: 1.05 is +5.0%."""
    return f"{(ratio - 1) * 100:+.3g}%"


def badness(line: Line) -> tuple[int, float, str]:
    """Orders lines: by verdict, then the slower first."""
    ratio = line.test.ratio if line.test else math.inf
    return VERDICTS.index(line.verdict), -ratio, line.name
