"""The energy of a session of training, by the device's energy counter around all of it.

A power that has to be sampled is left out: its thread or process would run beside steps that are timed, and
what was trained is not trained again. The counter is read at the end of epochs and at checkpoints, once
enough time for the sensor has gone by, so that a run that is killed loses little of it. Evaluation and
checkpoints are in it: a meter knows no difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from hwfit.records import Flag
from hwfit.worker.energy import external_meter, failure
from hwfit.worker.meters import Absence, Meter, find
from hwfit.worker.training.job import TrainingJob

# Of a sensor's resolution, how long a stretch is at least: each end is off by up to one.
STRETCH = 20.0
SAMPLED = "sampled:"
NO_COUNTER = (
    "power that has to be sampled would be so beside steps that are timed: training reads counters alone"
)


class Metering:
    """Joules since `start`; None where there is no meter, or it failed.

    Parameters
    ----------
    identity : of the device, as its probe gave it
    """

    def __init__(
        self, job: TrainingJob, identity: str | None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.clock = clock
        self.meter: Meter | None = None
        self.flags: list[Flag] = []
        self.absences: list[dict[str, Any]] = []
        self.total_j: float | None = None
        self.is_running = False
        if not job.energy.get("seconds"):
            return
        try:
            meters, absences = find(identity, command=external_meter(job))
        except Exception as error:
            # A sensor's library may fail in ways of its own.
            self.flags.append(failure(error))
            return
        absences += [Absence(each.source, NO_COUNTER) for each in meters if SAMPLED in each.source]
        self.meter = next((each for each in meters if SAMPLED not in each.source), None)
        self.absences = [asdict(each) for each in absences]
        self.flags += [Flag("energy_permission", each.reason) for each in absences if each.is_forbidden]

    @property
    def source(self) -> str:
        return self.meter.source if self.meter else ""

    @property
    def scope(self) -> str:
        return self.meter.scope if self.meter else ""

    def start(self) -> None:
        """Begin to meter."""
        if self.meter:
            self.total_j = 0.0
            self.meter.__enter__()
            self.began, self.is_running = self.clock(), True

    def energy_j(self, is_last: bool = False) -> float | None:
        """Joules up to the last look, which is now where it is the last or long enough ago."""
        if self.meter and self.is_running and self.total_j is not None:
            is_due = self.clock() - self.began >= STRETCH * self.meter.resolution_s
            if is_last or is_due:
                self.meter.__exit__()
                reading = self.meter.reading()
                self.flags += reading.flags
                known = reading.energy_j is not None
                self.total_j = self.total_j + (reading.energy_j or 0.0) if known else None
                self.is_running = self.total_j is not None and not is_last
                if self.is_running:
                    self.meter.__enter__()
                    self.began = self.clock()
        return self.total_j
