"""Energy by counters that the hardware keeps: read on entering and on leaving, with nothing in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hwfit.records import Flag
from hwfit.worker.meters import Reading, SensorFault


@dataclass(frozen=True)
class Counter:
    """A figure that grows by what is used.

    Attributes
    ----------
    name : of what, e.g. `package-0`
    read_j : joules since some moment in the past; raises SensorFault
    range_j : where it starts again at zero; None where it does not within a lifetime
    most_w : a power that is never exceeded over seconds, which says how soon `range_j` may be passed
    """

    name: str
    read_j: Callable[[], float]
    range_j: float | None = None
    most_w: float | None = None


class CounterMeter:
    """The sum of counters.

    Parameters
    ----------
    source, scope, resolution_s : as in `hwfit.worker.meters.Meter`
    details : what every reading keeps
    """

    def __init__(
        self,
        source: str,
        scope: str,
        resolution_s: float,
        counters: Sequence[Counter],
        details: dict[str, Any] | None = None,
    ) -> None:
        self.source = source
        self.scope = scope
        self.resolution_s = resolution_s
        self.counters = counters
        self.details = details or {}
        self.now_s = time.perf_counter

    def __enter__(self) -> CounterMeter:
        self.start, self.fault = read_all(self.counters)
        self.started_s = self.now_s()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = self.now_s() - self.started_s
        self.end, fault = read_all(self.counters)
        self.fault = self.fault or fault

    def reading(self) -> Reading:
        """The joules by which the counters grew."""
        details = self.details | {"resolution_s": self.resolution_s, "start_j": self.start, "end_j": self.end}
        try:
            if self.fault is not None:
                raise self.fault
            joules = self.joules()
        except SensorFault as fault:
            flag = Flag(fault.code, str(fault), fault.value)
            return Reading(self.source, self.scope, None, self.seconds, (flag,), details)
        energy_j = sum(joules.values())
        return Reading(self.source, self.scope, energy_j, self.seconds, (), details | {"joules": joules})

    def joules(self) -> dict[str, float]:
        """By how much each counter grew. Raises SensorFault where that cannot be told."""
        if self.seconds < self.resolution_s:
            said = f"{self.seconds:.3g} s were metered; {self.source} needs {self.resolution_s:g} s"
            raise SensorFault("energy_too_short", said, self.seconds)
        return {each.name: self.grown_j(each) for each in self.counters}

    def grown_j(self, counter: Counter) -> float:
        """By how much one counter grew. Raises SensorFault."""
        name = counter.name
        grown = self.end[name] - self.start[name]
        most = math.inf if counter.most_w is None else counter.most_w * self.seconds
        if counter.range_j is not None:
            if most >= counter.range_j:
                said = f"{name} may have passed its range of {counter.range_j:.0f} J more than once"
                raise SensorFault("energy_wrapped", f"{said} in {self.seconds:.0f} s", self.seconds)
            grown %= counter.range_j
        if grown < 0:
            raise SensorFault("energy_reset", f"{name} went back by {-grown:.1f} J: it was reset", grown)
        if grown > most:
            said = f"{name} grew by {grown:.0f} J in {self.seconds:.3g} s, which cannot be: it was reset"
            raise SensorFault("energy_jump", said, grown)
        if grown == 0:
            raise SensorFault("energy_frozen", f"{name} stood still for {self.seconds:.3g} s", 0)
        return grown


def read_all(counters: Sequence[Counter]) -> tuple[dict[str, float], SensorFault | None]:
    """Joules by name, and the fault that ended the reading, if one did."""
    joules: dict[str, float] = {}
    for counter in counters:
        try:
            joules[counter.name] = counter.read_j()
        except SensorFault as fault:
            return joules, fault
    return joules, None
