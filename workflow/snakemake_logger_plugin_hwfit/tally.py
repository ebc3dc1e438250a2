"""What is known of a run of Snakemake while it goes: jobs done, running and left, rows that are not ok, and
when it will be over, as far as what was seen tells. Plain data, without Snakemake and without a clock.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

# The range of an estimate is to hold in 8 of 10 cases, and never looks better known than to a fifth.
QUANTILE = 1.28
LEAST_SPREAD = 0.2
# How far one job is off, where no second one of its kind has told.
SPREAD_OF_ONE = 0.5
# Of the jobs left, how many must be of a kind that was seen, so that there is something to go by.
LEAST_KNOWN = 0.5
# Of a time: its name, its seconds, and the digits after the point that are said.
UNITS = (("s", 1, 0), ("min", 60, 0), ("h", 3600, 1))


@dataclass(frozen=True)
class Job:
    """A job that runs: its rule, what it is about in words, and since when, in seconds of some clock."""

    rule: str
    about: str
    since_s: float


@dataclass(frozen=True)
class Estimate:
    """Seconds left, with a range, and the kinds of jobs that are not in them, since none was seen yet."""

    seconds: float
    low_s: float
    high_s: float
    without: tuple[str, ...] = ()


@dataclass
class Tally:
    """Counts of a run. Times are seconds of one clock, whichever."""

    planned: dict[str, int] = field(default_factory=dict)
    total: int = 0
    done: int = 0
    running: dict[int, Job] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    durations_s: dict[str, list[float]] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    began_s: float | None = None

    def plan(self, jobs: Mapping[str, int]) -> None:
        """Take in how many jobs of each rule are to be done."""
        self.planned = dict(jobs)
        self.total = sum(jobs.values())

    def set_total(self, total: int) -> None:
        """Take in how many there are by now: a checkpoint adds some."""
        self.total = total

    def start(self, number: int, job: Job) -> None:
        """A job began, perhaps again."""
        self.began_s = job.since_s if self.began_s is None else self.began_s
        self.failed.pop(number, None)
        self.running[number] = job

    def finish(self, number: int, now_s: float) -> tuple[Job, float] | None:
        """A job is done. Returns it with its seconds; None where nobody saw it begin."""
        self.done += 1
        job = self.running.pop(number, None)
        if job is None:
            return None
        seconds = now_s - job.since_s
        self.durations_s.setdefault(job.rule, []).append(seconds)
        return job, seconds

    def fail(self, number: int) -> Job | None:
        """A job failed; it may begin again."""
        job = self.running.pop(number, None)
        if job is not None:
            self.failed[number] = job.about
        return job

    @property
    def left(self) -> int:
        """Jobs that neither are done nor run."""
        return max(self.total - self.done - len(self.running) - len(self.failed), 0)

    @property
    def not_ok(self) -> dict[str, int]:
        """The rows that were written and are neither ok nor left out on purpose, by their status."""
        return {
            status: count for status, count in sorted(self.rows.items()) if status not in ("ok", "skipped")
        }

    def left_of(self) -> dict[str, int]:
        """Jobs to be done or running, by their rule; under an empty name what a checkpoint has added."""
        active = Counter(job.rule for job in self.running.values())
        left = {}
        for rule in dict.fromkeys([*self.planned, *active]):
            count = self.planned.get(rule, 0) - len(self.durations_s.get(rule, ()))
            left[rule] = max(count, active[rule])
        more = self.left + len(self.running) - sum(left.values())
        return {rule: count for rule, count in (left | {"": more}).items() if count > 0}

    def estimate(self, now_s: float) -> Estimate | None:
        """How long it will take, by the jobs that are done; None where they tell too little.

        What is left of each rule takes the mean of those done, or of those of its kind; as many run beside
        each other as did so far.
        """
        left = self.left_of()
        known = {rule: found for rule in left if (found := self.seen_of(rule))}
        if self.began_s is None or sum(left[rule] for rule in known) < LEAST_KNOWN * max(
            sum(left.values()), 1
        ):
            return None
        work_s = variance = 0.0
        for rule, found in known.items():
            mean = statistics.fmean(found)
            spread = statistics.stdev(found) if len(found) > 1 else SPREAD_OF_ONE * mean
            count = left[rule]
            work_s += count * mean
            variance += count * spread**2 + (count * spread) ** 2 / len(found)
            running = (job for job in self.running.values() if job.rule == rule)
            work_s -= sum(min(now_s - job.since_s, mean) for job in running)
        beside = self.busy_s(now_s) / max(now_s - self.began_s, 1e-9) or 1.0
        seconds = max(work_s, 0.0) / beside
        spread_s = max(QUANTILE * math.sqrt(variance) / beside, LEAST_SPREAD * seconds)
        without = dict.fromkeys(kind_of(rule) for rule in left if rule not in known)
        return Estimate(seconds, max(seconds - spread_s, 0.0), seconds + spread_s, tuple(without))

    def seen_of(self, rule: str) -> list[float]:
        """The durations that tell of a rule: its own, else its kind's; of one not known, all."""
        if rule in self.durations_s:
            return self.durations_s[rule]
        kind = kind_of(rule)
        alike = [found for name, found in self.durations_s.items() if not rule or kind_of(name) == kind]
        return [seconds for found in alike for seconds in found]

    def busy_s(self, now_s: float) -> float:
        """Seconds of all jobs together so far."""
        ended = sum(sum(found) for found in self.durations_s.values())
        return ended + sum(now_s - job.since_s for job in self.running.values())


def kind_of(rule: str) -> str:
    """What a rule's name begins with, the same for all devices and runtimes: `profile`, `confirm`, …"""
    return rule.partition("_")[0]


def in_words(tally: Tally, now_s: float, clock: datetime.datetime) -> str:
    """The state of a run in one line.

    Parameters
    ----------
    clock : the time of day at `now_s`
    """
    parts = [f"{tally.done} of {tally.total} jobs done, {len(tally.running)} running, {tally.left} left"]
    estimate = tally.estimate(now_s) if tally.left or tally.running else None
    if estimate:
        parts.append(left_in_words(estimate, clock))
    if tally.not_ok:
        parts.append(f"rows not ok so far: {counted(tally.not_ok)}")
    if tally.failed:
        parts.append(f"jobs that failed: {len(tally.failed)}")
    return "; ".join(parts)


def left_in_words(estimate: Estimate, clock: datetime.datetime) -> str:
    """An estimate as it can be said: rounded, with its range and the time of day."""
    seconds = estimate.seconds
    unit, size, digits = next(each for each in UNITS if seconds < 90 * each[1] or each == UNITS[-1])
    about, low, high = (f"{value / size:.{digits}f}" for value in (seconds, estimate.low_s, estimate.high_s))
    end = clock + datetime.timedelta(seconds=seconds)
    when = f"{end:%H:%M}" if end.date() == clock.date() else f"{end:%H:%M on %-d %B}"
    without = f", and {', '.join(estimate.without)} after that" if estimate.without else ""
    return f"about {about} {unit} left ({low} to {high}), until about {when}{without}"


def counted(counts: Mapping[str, int]) -> str:
    """`2 oom, 1 unsupported`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())
