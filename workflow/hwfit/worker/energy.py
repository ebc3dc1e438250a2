"""The energy of a batch size: the same calls once more, under a power meter, in a pass of their own.

Latency and throughput come from the pass before, beside which nothing runs. Energy always has this pass,
counters too: one way for all meters, long enough for the sensor, whatever time it took to know the latency.
Before a cell's first call the meter sees the idle device, with the session open.

Where there is no meter nothing of this is done. Whatever fails here leaves the row as it is: the energy is
then empty, and a flag whose code begins with `energy_` says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hwfit.records import Flag
from hwfit.worker.job import Job
from hwfit.worker.load_monitor import FOREIGN_LOAD_LIMIT, LoadMonitor
from hwfit.worker.meters import Command, Meter, Reading, find
from hwfit.worker.scenarios import Scenario, Series

# The calls run so long before the meter looks: sensors tell the mean of the last second at most (NVML's
# documentation of `nvmlDeviceGetPowerUsage`), and clocks come up. A device that is left alone for as long
# counts as idle.
LEAD_SECONDS = 2.0
# Of the length of a batch size's pass.
IDLE_SHARE = 0.5
# A meter that always says the same has no load below idle.
ROUNDING = 1e-9


@dataclass
class Energy:
    """What a metered pass adds to a profile."""

    figures: dict[str, float | None] = field(default_factory=dict)
    flags: list[Flag] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


class EnergyPass:
    """The power meter of an open session, and what it saw while nothing ran.

    Parameters
    ----------
    identity : of the device, as its probe gave it
    processes : numbers of those that work for this one
    alive : tells the supervisor that work goes on
    """

    def __init__(
        self, job: Job, identity: str | None, processes: Sequence[int], alive: Callable[[], None]
    ) -> None:
        self.job, self.processes, self.alive = job, processes, alive
        self.seconds = float(job.energy.get("seconds", 0.0))
        self.meter: Meter | None = None
        self.absences: list[dict[str, Any]] = []
        self.idle: Reading | None = None
        # Why there is no meter though there could be one.
        self.faults: list[Flag] = []
        if not self.seconds:
            return
        try:
            meters, absences = find(identity, command=external_meter(job))
            self.meter = next(iter(meters), None)
            self.absences = [asdict(each) for each in absences]
            self.faults = [Flag("energy_permission", each.reason) for each in absences if each.is_forbidden]
            self.idle = self.read_idle()
        except Exception as error:
            # A sensor's library may fail in ways of its own; nothing of the model has run yet.
            self.meter, self.faults = None, [failure(error)]

    def read_idle(self) -> Reading | None:
        """What the meter sees while nothing runs; None where there is none."""
        if self.meter is None:
            return None
        self.alive()
        time.sleep(LEAD_SECONDS)
        with self.meter:
            for left_s in self.time_left(max(IDLE_SHARE * self.seconds, self.meter.resolution_s)):
                time.sleep(left_s)
        return self.meter.reading()

    def measure(self, scenario: Scenario, series: Series) -> Energy:
        """Make the calls of a batch size again.

        Parameters
        ----------
        series : what the scenario timed
        """
        if self.meter is None:
            found = Energy(flags=list(self.faults))
        else:
            try:
                found = self.metered(self.meter, scenario, series)
            except Exception as error:
                # The latency was measured before, and what it is will not change.
                found = Energy(flags=[failure(error)])
        if self.absences:
            found.details["absences"] = self.absences
        return found

    def time_left(self, seconds: float) -> Iterator[float]:
        """The seconds that are left of a time, again and again until it is over; in parts so short that the
        supervisor hears between them that work goes on.
        """
        longest_s = self.job.measurement["timeout_seconds"] / 2
        end = time.perf_counter() + seconds
        while (left_s := end - time.perf_counter()) > 0:
            yield min(left_s, longest_s)
            self.alive()

    def metered(self, meter: Meter, scenario: Scenario, series: Series) -> Energy:
        """The figures of one pass."""
        details: dict[str, Any] = {"source": meter.source, "scope": meter.scope}
        if series.throughput is None:
            said = "no rate holds, so that there is none to meter"
            return Energy(flags=[Flag("energy_no_rate", said)], details=details)
        self.alive()
        scenario.repeat(series, LEAD_SECONDS)
        self.alive()
        samples = 0
        with LoadMonitor(self.processes) as load, meter:
            # Requests at random may all have come before the time is over.
            for left_s in self.time_left(max(self.seconds, meter.resolution_s)):
                samples += scenario.repeat(series, left_s)
        reading = meter.reading()
        figures, flags = energy_figures(reading, self.idle, samples, self.job.lengths)
        if load.foreign + load.stolen > FOREIGN_LOAD_LIMIT:
            share = load.foreign + load.stolen
            said = f"others used {share:.0%} of the cores while energy was metered, and may have part in it"
            flags.append(Flag("energy_foreign_load", said, share))
        details |= {
            "gross_j": reading.energy_j,
            "seconds": reading.seconds,
            "samples": samples,
            "idle_w": mean_power_w(self.idle),
            "reading": reading.details,
            "idle": self.idle and {"seconds": self.idle.seconds} | self.idle.details,
        }
        return Energy(figures, flags, details)


def external_meter(job: Any) -> Command | None:
    """The command that prints watts, where the device names one."""
    if not job.energy.get("command"):
        return None
    return Command(job.energy["command"], job.energy["scope"], job.energy["interval_s"])


def failure(error: Exception) -> Flag:
    """What went wrong, as a flag."""
    said = (str(error).strip() or "no message").splitlines()[0]
    return Flag("energy_failed", f"{type(error).__name__}: {said}")


def mean_power_w(reading: Reading | None) -> float | None:
    """Watts; None where the energy is not known."""
    if reading is None or reading.energy_j is None or not reading.seconds:
        return None
    return reading.energy_j / reading.seconds


def energy_figures(
    reading: Reading, idle: Reading | None, samples: int, lengths: tuple[int, int] | None = None
) -> tuple[dict[str, float | None], list[Flag]]:
    """The columns that a reading gives, and what is to be doubted.

    Parameters
    ----------
    idle : what the meter saw while nothing ran
    samples : answered while it was metered
    lengths : tokens of a prompt and of what is written to it, of a language model
    """
    flags = list(reading.flags)
    power_w, idle_w = mean_power_w(reading), mean_power_w(idle)
    figures: dict[str, float | None] = {
        "power_w": power_w,
        "idle_power_w": idle_w,
        "energy_j_per_sample": None,
        "energy_net_j_per_sample": None,
        "energy_j_per_token": None,
    }
    if idle_w is None:
        why = "; ".join(messages(idle.flags)) if idle else "not read"
        flags.append(Flag("energy_no_idle", f"the idle device's power is not known: {why}"))
    if reading.energy_j is None or power_w is None or not samples:
        return figures, flags
    figures["energy_j_per_sample"] = reading.energy_j / samples
    if lengths:
        figures["energy_j_per_token"] = reading.energy_j / samples / lengths[1]
    if idle_w is not None and power_w < idle_w * (1 - ROUNDING):
        said = f"{power_w:.4g} W while it ran, {idle_w:.4g} W while nothing did: idle is no baseline here"
        flags.append(Flag("energy_below_idle", said, power_w - idle_w))
    elif idle_w is not None:
        figures["energy_net_j_per_sample"] = max(power_w - idle_w, 0.0) * reading.seconds / samples
    return figures, flags


def messages(flags: Iterable[Flag]) -> list[str]:
    """What flags say."""
    return [flag.message for flag in flags]
