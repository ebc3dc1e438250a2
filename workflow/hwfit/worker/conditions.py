"""Under what conditions a measurement ran: what others did on the host, clocks, heat, and whether the
machine itself was the same at the end.

Counters and sensors are read before and after; nothing runs in between. What is looked at here never
includes the model's own times, so that a measurement may be repeated on these grounds without choosing
the times one likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.records import Flag
from hwfit.worker.load_monitor import LoadMonitor
from hwfit.worker.nvml_monitor import NvmlMonitor

WINDOW_SECONDS = 0.03
MOST_WINDOWS = 8
WINDOWS_AGREE = 0.1
# Seconds apart, the shortest times of one kernel differ by a few percent on a machine that did not change.
CHANGE_LIMIT = 0.1


class Conditions:
    """Context manager around the timed calls.

    Parameters
    ----------
    make_reference : gives a kernel of the runtime on the device, run to its end; independent of the model.
        Called before and after, so that what it holds of the device's memory is not there in between
    window_s : how long to run it at a time, before and after
    identity : the device's, as its probe gave it, those of a composite's members joined by " + "; an
        NVIDIA GPU is watched beside the host
    processes : numbers of the processes that work for this one
    """

    def __init__(
        self,
        make_reference: Callable[[], Callable[[], Any]],
        window_s: float = WINDOW_SECONDS,
        *,
        identity: str | None = None,
        processes: Sequence[int] = (),
    ) -> None:
        self.make_reference = make_reference
        self.window_s = window_s
        self.load = LoadMonitor(processes)
        self.monitors: list[LoadMonitor | NvmlMonitor] = [self.load]
        for each in (identity or "").split(" + "):
            kind, _, uuid = each.partition(":")
            if kind == "cuda":
                self.monitors.append(NvmlMonitor(uuid))

    def __enter__(self) -> Conditions:
        self.sensors_before = read_sensors()
        self.before_s = reference_seconds(self.make_reference(), self.window_s)
        for monitor in self.monitors:
            monitor.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        for monitor in reversed(self.monitors):
            monitor.__exit__(*exception)
        self.after_s = reference_seconds(self.make_reference(), self.window_s)
        self.sensors_after = read_sensors()

    @property
    def change(self) -> float:
        """By what share the reference kernel took longer after than before."""
        return self.after_s / self.before_s - 1

    def flags_so_far(self) -> list[Flag]:
        """What breaks trust up to now, by counters alone: the reference kernel would take time itself."""
        for monitor in self.monitors:
            monitor.__exit__(None, None, None)
        return [flag for monitor in self.monitors for flag in monitor.flags()]

    def flags(self) -> list[Flag]:
        """What breaks trust, and what is said of a GPU beside."""
        flags = [flag for monitor in self.monitors for flag in monitor.flags()]
        if not 1 / (1 + CHANGE_LIMIT) <= 1 + self.change <= 1 + CHANGE_LIMIT:
            said = f"the reference kernel took {self.change:+.0%} after the measurement against before"
            flags.append(Flag("machine_changed", said, self.change))
        return flags

    def figures(self) -> dict[str, Any]:
        """All that was read."""
        figures: dict[str, Any] = {
            "reference_ms": [self.before_s * 1e3, self.after_s * 1e3],
            "sensors_before": self.sensors_before,
            "sensors_after": self.sensors_after,
        }
        for monitor in self.monitors:
            figures |= monitor.figures()
        return figures


def cpu_kernel() -> Callable[[], None]:
    """Arithmetic of one thread in its core's own cache, some 0.2 ms: its time is the core's clock.

    Of one thread, since the time of several says where the scheduler put them, which it changes within
    a second (a product of matrices took 1 or 10 ms on two cores that nobody else used).
    """
    values = np.linspace(1, 2, 16_384)
    result = np.empty_like(values)

    def run() -> None:
        for _ in range(10):
            np.sqrt(values, out=result)
            np.multiply(result, values, out=result)

    return run


def reference_seconds(kernel: Callable[[], Any], window_s: float) -> float:
    """The shortest time of a kernel, in seconds, once two short windows in a row agree on it.

    Of the shortest time, since that is what a slower clock or a lost core changes; of windows that
    agree, since a busy neighbour takes a few of them whole (for tens of milliseconds, as seen on small
    virtual machines) and is gone again.
    """
    last = quickest(kernel, window_s)
    for _ in range(MOST_WINDOWS - 1):
        this = quickest(kernel, window_s)
        if abs(this / last - 1) <= WINDOWS_AGREE:
            return min(this, last)
        last = this
    return last


def quickest(kernel: Callable[[], Any], window_s: float) -> float:
    """The shortest of the runs that fit into a window, at least five."""
    return min(run_for(kernel, window_s))


def run_for(kernel: Callable[[], Any], seconds: float) -> list[float]:
    """The times of a kernel, run again and again for a while and at least five times, in seconds."""
    durations: list[float] = []
    end = time.perf_counter() + seconds
    while len(durations) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        kernel()
        durations.append(time.perf_counter() - start)
    return durations


def read_sensors() -> dict[str, float]:
    """Clocks in MHz and temperatures in degrees Celsius, as far as the kernel tells."""
    found = {}
    for path in sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")):
        value = read_number(path)
        if value is not None:
            found[f"{path.parents[1].name}_mhz"] = value / 1e3
    for path in sorted(Path("/sys/class/thermal").glob("thermal_zone*/temp")):
        value = read_number(path)
        if value is not None:
            found[f"{path.parent.name}_celsius"] = value / 1e3
    return found


def read_number(path: Path) -> float | None:
    """The number in a file of /sys; None where it cannot be read."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None
