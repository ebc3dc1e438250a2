"""Other load on the host while a measurement runs: counters read before and after, nothing in between."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from hwfit.records import Flag
from hwfit.worker.probe import usable_cores

# Share of the usable cores' time that others may take before a measurement is not trusted.
FOREIGN_LOAD_LIMIT = 0.15


class LoadMonitor:
    """Context manager: the CPU time of all processes, less one's own, over the time that passed.

    Parameters
    ----------
    processes : numbers of those that work for this one, and are no others
    """

    def __init__(self, processes: Sequence[int] = ()) -> None:
        self.processes = processes

    def __enter__(self) -> LoadMonitor:
        self.started = time.monotonic()
        self.busy, self.steal = host_cpu_seconds()
        self.own = self.own_seconds()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = time.monotonic() - self.started
        busy, steal = host_cpu_seconds()
        core_seconds = max(self.seconds * usable_cores(), 1e-9)
        own = self.own_seconds() - self.own
        # The host's counters tick in hundredths of a second; a short run cannot tell less than that.
        self.foreign = max(0.0, busy - self.busy - own) / core_seconds
        self.stolen = max(0.0, steal - self.steal) / core_seconds

    def own_seconds(self) -> float:
        """User and system time of this process and of those that work for it."""
        return own_cpu_seconds() + sum(process_cpu_seconds(number) for number in self.processes)

    def figures(self) -> dict[str, float]:
        """Shares of the usable cores' time."""
        return {"foreign_load": self.foreign, "steal": self.stolen}

    def flags(self) -> list[Flag]:
        """What of it breaks trust."""
        share = self.foreign + self.stolen
        if share <= FOREIGN_LOAD_LIMIT:
            return []
        return [Flag("foreign_load", f"others used {share:.0%} of the cores while this was measured", share)]


def own_cpu_seconds() -> float:
    """User and system time of this process, all threads."""
    times = os.times()
    return times.user + times.system


def process_cpu_seconds(number: int) -> float:
    """User and system time of another process, all threads (proc(5), stat); zero where it is gone."""
    try:
        # Behind the name, which may hold spaces and parentheses: the state is the first field.
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def host_cpu_seconds() -> tuple[float, float]:
    """Seconds that the usable cores were busy, and that the hypervisor withheld; zeros where not told."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    tick = os.sysconf("SC_CLK_TCK")
    # Those this process may use: what happens on the others is none of its business.
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    busy_s = steal_s = 0.0
    for name, *fields in (line.split() for line in lines if line.startswith("cpu")):
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(f) / tick for f in fields[:8])
            busy_s += user + nice + system + irq + softirq
            steal_s += steal
    return busy_s, steal_s
