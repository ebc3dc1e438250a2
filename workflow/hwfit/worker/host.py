"""What the kernel says of this process and its host: memory, cores, clocks."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
from pathlib import Path


def give_memory_back() -> None:
    """Return freed memory to the kernel (glibc: malloc_trim), so that it is not taken for the model's."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def reset_process_peak() -> None:
    """Set the process's peak resident memory to what it is now (Linux: proc(5), clear_refs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def process_peak_bytes() -> float:
    """Peak resident memory of this process since the reset, in bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def page_faults() -> int:
    """How often a page of this process had to be mapped that needed no disk: memory taken anew."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def numa_nodes() -> list[int]:
    """The memory nodes of the cores this process may use, where the kernel tells."""
    cores = os.sched_getaffinity(0)
    nodes = (path for core in cores for path in Path(f"/sys/devices/system/cpu/cpu{core}").glob("node[0-9]*"))
    return sorted({int(path.name.removeprefix("node")) for path in nodes})


def governor() -> str | None:
    """The frequency governor of the first core, where the kernel tells."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None
