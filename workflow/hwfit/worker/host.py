"""What the kernel says of this process and its host: memory, cores, clocks."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


def give_memory_back() -> None:
    """Return freed memory to the kernel (glibc: malloc_trim), so that it is not taken for the model's."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(frozen=True)
class ProcessMemory:
    """What a process takes of the host's memory.

    Attributes
    ----------
    peak_bytes : at most since `reset_process_peak`
    now_bytes : now
    measure : "pss", or "rss" where the kernel does not tell what is shared: pages that several processes have
        mapped then count in each of them
    """

    peak_bytes: float
    now_bytes: float
    measure: str


def reset_process_peak() -> None:
    """Set the process's peak resident memory to what it is now (Linux: proc(5), clear_refs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def process_memory() -> ProcessMemory:
    """The memory of this process, by its proportional set size (PSS): a page that n processes have mapped
    counts as an n-th in each.

    The kernel keeps a peak of the resident set (VmHWM) alone. What of it is others' share is read now, and
    taken to have been so at the peak: libraries and forked pages stay mapped while a model runs.
    """
    peak = resident_peak_bytes()
    now = kilobytes("/proc/self/smaps_rollup", ("Rss", "Pss"))
    if len(now) == 2:
        others = now["Rss"] - now["Pss"]
        return ProcessMemory(max(peak - others, now["Pss"]), now["Pss"], "pss")
    resident = kilobytes("/proc/self/status", ("VmRSS",)).get("VmRSS", peak)
    return ProcessMemory(peak, resident, "rss")


def resident_peak_bytes() -> float:
    """Peak resident memory of this process since the reset."""
    told = kilobytes("/proc/self/status", ("VmHWM",))
    return told.get("VmHWM", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0)


def kilobytes(path: str, names: Collection[str]) -> dict[str, float]:
    """Some lines of a file of /proc that are given in kB, as bytes by name; without those not there."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for line in Path(path).read_text().splitlines():
            name, _, value = line.partition(":")
            if name in names:
                found[name] = float(value.split()[0]) * 1024
    return found


def page_faults() -> int:
    """How often a page of this process had to be mapped that needed no disk: memory taken anew."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def numa_nodes() -> list[int]:
    """The memory nodes of the cores this process may use, where the kernel tells."""
    cores = os.sched_getaffinity(0)
    nodes = (path for core in cores for path in Path(f"/sys/devices/system/cpu/cpu{core}").glob("node[0-9]*"))
    return sorted({int(path.name.removeprefix("node")) for path in nodes})


def last_cache_bytes(root: Path = Path("/sys/devices/system/cpu")) -> int | None:
    """The last-level caches of the cores this process may use, added up, where the kernel tells.

    A cache that several cores share counts once; one that they share with others counts whole.
    """
    found: dict[tuple[int, str], int] = {}
    for core in os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ():
        for cache in root.glob(f"cpu{core}/cache/index[0-9]*"):
            try:
                kind, size, level, shared = (
                    (cache / name).read_text().strip()
                    for name in ("type", "size", "level", "shared_cpu_list")
                )
                if kind != "Instruction":
                    found[int(level), shared] = int(size.removesuffix("K")) * 1024
            except (OSError, ValueError):
                continue
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last) or None


def available_bytes() -> int | None:
    """Memory that can be had without swapping, where the kernel tells (proc(5), MemAvailable)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def governor() -> str | None:
    """The frequency governor of the first core, where the kernel tells."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None
