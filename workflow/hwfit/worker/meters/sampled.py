"""Energy by sampling power: a thread beside the work that asks a sensor again and again."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from hwfit.records import Flag
from hwfit.worker.meters import Reading, SensorFault
from hwfit.worker.meters.trace import Demands, energy_of

# How long to wait for a sensor's first answer, and for its last.
PATIENCE_S = 15.0


class Clock:
    """The time by which samples are taken."""

    def now(self) -> float:
        """Seconds that only grow."""
        return time.perf_counter()

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Until so much time has passed, or the event is set."""
        event.wait(max(0.0, seconds))


class SampledMeter(ABC):
    """Power sampled from the moment before the work to its end.

    Parameters
    ----------
    source, scope : as in `hwfit.worker.meters.Meter`
    interval_s : between two samples
    demands : what the trace has to keep
    details : what every reading keeps
    """

    def __init__(
        self,
        source: str,
        scope: str,
        interval_s: float,
        demands: Demands,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.source = source
        self.scope = scope
        self.resolution_s = demands.resolution_s
        self.interval_s = interval_s
        self.demands = demands
        self.details = details or {}
        self.clock = Clock()

    def __enter__(self) -> SampledMeter:
        self.samples: list[tuple[float, float]] = []
        self.fault: SensorFault | None = None
        self.has_begun = threading.Event()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.sample_until_over, name=self.source, daemon=True)
        self.thread.start()
        self.has_begun.wait(PATIENCE_S)
        self.started_s = self.clock.now()
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended_s = self.clock.now()
        self.is_over.set()
        self.interrupt()
        self.thread.join(PATIENCE_S)
        if self.thread.is_alive() and self.fault is None:
            self.fault = SensorFault("energy_lost", f"the sensor gave no answer within {PATIENCE_S:.0f} s")

    def sample_until_over(self) -> None:
        """What the thread does; no fault leaves it."""
        try:
            self.sample()
        except SensorFault as fault:
            self.fault = fault
        except Exception as error:  # whatever a vendor's library raises: the sensor's fault, not the work's
            self.fault = SensorFault("energy_lost", f"{type(error).__name__}: {error}")
        self.has_begun.set()

    @abstractmethod
    def sample(self) -> None:
        """Add samples until `is_over`. Raises SensorFault."""

    def interrupt(self) -> None:  # noqa: B027
        """Let go of a sensor that is waited for, now that the work has ended."""

    def add(self, at_s: float, watts: float) -> None:
        """Keep a sample."""
        self.samples.append((at_s, watts))
        self.has_begun.set()

    def reading(self) -> Reading:
        """The energy under the samples."""
        samples = list(self.samples)
        seconds = self.ended_s - self.started_s
        energy_j, flags, gap_s = energy_of(samples, self.started_s, self.ended_s, self.demands)
        if self.fault is not None:
            energy_j, flags = None, (Flag(self.fault.code, str(self.fault)),)
        details = self.details | {
            "resolution_s": self.resolution_s,
            "interval_s": self.interval_s,
            "samples": len(samples),
            "largest_gap_s": gap_s,
            "most_gap_s": self.demands.most_gap_s,
        }
        return Reading(self.source, self.scope, energy_j, seconds, flags, details)


class PolledMeter(SampledMeter):
    """A sensor that is asked at an interval.

    Parameters
    ----------
    read_w : the power now, in watts; raises SensorFault
    others : as in `SampledMeter`
    """

    def __init__(self, source: str, scope: str, read_w: Callable[[], float], *others: Any) -> None:
        super().__init__(source, scope, *others)
        self.read_w = read_w

    def sample(self) -> None:
        """Ask the sensor until the work is over, and once more. Raises SensorFault."""
        was_over = False
        while not was_over:
            was_over = self.is_over.is_set()
            before_s = self.clock.now()
            watts = self.read_w()
            after_s = self.clock.now()
            self.add((before_s + after_s) / 2, watts)
            self.clock.wait(self.is_over, self.interval_s - (after_s - before_s))
