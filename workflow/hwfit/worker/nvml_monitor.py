"""Under what conditions an NVIDIA GPU measured: who else used it, clocks, heat, what held it back.

Through NVML, by nvidia-ml-py: counters that the driver keeps anyway, read before and after. What this GPU
or this driver does not tell is absent, with what the driver said instead; no reading stops a measurement.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hwfit.records import Flag
from hwfit.worker.gpu_processes import foreign_load, foreign_processes
from hwfit.worker.load_monitor import FOREIGN_LOAD_LIMIT

# Share of the measured time that the clock may be held down before it is said.
HELD_SHARE_LIMIT = 0.05
# Reasons for a lower clock (nvmlClocksEventReasons of nvml.h), as the record names them.
REASONS = {
    "idle": "nvmlClocksEventReasonGpuIdle",
    "application_clocks": "nvmlClocksEventReasonApplicationsClocksSetting",
    "power_cap": "nvmlClocksEventReasonSwPowerCap",
    "hardware_slowdown": "nvmlClocksEventReasonHwSlowdown",
    "sync_boost": "nvmlClocksEventReasonSyncBoost",
    "thermal_slowdown": "nvmlClocksEventReasonSwThermalSlowdown",
    "hardware_thermal_slowdown": "nvmlClocksEventReasonHwThermalSlowdown",
    "power_brake": "nvmlClocksEventReasonHwPowerBrakeSlowdown",
}
THROTTLING = {"hardware_slowdown", "thermal_slowdown", "hardware_thermal_slowdown", "power_brake"}


class NvmlMonitor:
    """Context manager: one GPU's counters and sensors before and after.

    Parameters
    ----------
    uuid : the GPU's, or that of a MIG instance, as nvidia-smi -L prints it
    """

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.unread: dict[str, str] = {}

    def __enter__(self) -> NvmlMonitor:
        self.since_us = time.time_ns() // 1000
        self.started_ns = time.monotonic_ns()
        self.before = self.read()
        return self

    def __exit__(self, *exception: object) -> None:
        self.after = self.read()
        nanoseconds = time.monotonic_ns() - self.started_ns
        self.throttled = self.held_share("thermal_violation_ns", nanoseconds)
        self.power_capped = self.held_share("power_violation_ns", nanoseconds)
        self.others = foreign_processes(self.after.get("processes", ()))
        samples = self.ask("process_utilization", "nvmlDeviceGetProcessUtilization", self.since_us) or ()
        self.foreign = foreign_load([(entry.pid, entry.smUtil / 100) for entry in samples], os.getpid())

    def read(self) -> dict[str, Any]:
        """What the driver tells now; without what it does not tell."""
        try:
            nvml, _ = device(self.uuid)
        except Unreadable as error:
            self.unread["nvml"] = str(error)
            return {}
        ask = self.ask
        read = {
            "sm_clock_mhz": ask("sm_clock_mhz", "nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            "sm_clock_max_mhz": ask("sm_clock_max_mhz", "nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": ask("memory_clock_mhz", "nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            "celsius": ask("celsius", "nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            "power_limit_w": ask("power_limit_w", "nvmlDeviceGetEnforcedPowerLimit", unit=1e-3),
            "power_limit_default_w": ask(
                "power_limit_default_w", "nvmlDeviceGetPowerManagementDefaultLimit", unit=1e-3
            ),
        }
        processes = ask("processes", "nvmlDeviceGetComputeRunningProcesses")
        if processes is not None:
            read["processes"] = sorted(entry.pid for entry in processes)
        rates = ask("utilization", "nvmlDeviceGetUtilizationRates")
        if rates is not None:
            read["utilization"] = rates.gpu / 100
        mask = ask("clock_reasons", "nvmlDeviceGetCurrentClocksEventReasons")
        if mask is not None:
            read["clock_reasons"] = [name for name, bit in REASONS.items() if mask & getattr(nvml, bit, 0)]
        for what in ("thermal", "power"):
            policy = getattr(nvml, f"NVML_PERF_POLICY_{what.upper()}")
            violations = ask(f"{what}_violation_ns", "nvmlDeviceGetViolationStatus", policy)
            if violations is not None:
                read[f"{what}_violation_ns"] = violations.violationTime
        return {name: value for name, value in read.items() if value is not None}

    def ask(self, name: str, function: str, *arguments: Any, unit: float | None = None) -> Any:
        """What an NVML function of this GPU returns; None where it fails, and `unread` says why."""
        try:
            nvml, handle = device(self.uuid)
        except Unreadable:
            return None
        try:
            value = getattr(nvml, function)(handle, *arguments)
        except (nvml.NVMLError, AttributeError) as error:
            # An older nvidia-ml-py lacks some of these functions.
            self.unread[name] = str(error)
            return None
        return value if unit is None else value * unit

    def held_share(self, counter: str, nanoseconds: int) -> float | None:
        """Share of the time that a counter of violations grew by; None where it is not told, or was reset."""
        if counter not in self.before or counter not in self.after:
            return None
        grown = self.after[counter] - self.before[counter]
        return min(1.0, grown / max(nanoseconds, 1)) if grown >= 0 else None

    def flags(self) -> list[Flag]:
        """What breaks trust (others at work, heat), and what only informs (others there, a power limit)."""
        flags = []
        reasons = set(self.after.get("clock_reasons", ()))
        if self.foreign is not None and self.foreign > FOREIGN_LOAD_LIMIT:
            said = f"others used the GPU's cores {self.foreign:.0%} of the time while this was measured"
            flags.append(Flag("foreign_load", said, self.foreign))
        elif self.others:
            flags.append(
                Flag("foreign_process", f"others had {self.others} processes on the GPU", self.others)
            )
        if is_held(self.throttled):
            said = f"the GPU slowed down for heat in {self.throttled:.0%} of the time"
            flags.append(Flag("throttled", said, self.throttled))
        elif reasons & THROTTLING:
            said = f"the GPU's clock was held down at the end: {', '.join(sorted(reasons & THROTTLING))}"
            flags.append(Flag("throttled", said, self.after.get("sm_clock_mhz")))
        limit, usual = (self.after.get(name) for name in ("power_limit_w", "power_limit_default_w"))
        if is_held(self.power_capped):
            said = f"the GPU ran into its power limit in {self.power_capped:.0%} of the time"
            flags.append(Flag("power_capped", said, self.power_capped))
        elif "power_cap" in reasons:
            flags.append(Flag("power_capped", "the GPU ran into its power limit at the end", limit))
        elif limit and usual and limit < 0.99 * usual:
            said = f"the GPU's power limit is {limit:.0f} W, by default it is {usual:.0f} W"
            flags.append(Flag("power_capped", said, limit))
        return flags

    def figures(self) -> dict[str, Any]:
        """All that was read, and what was not, with the driver's word."""
        return {
            "gpu_before": self.before,
            "gpu_after": self.after,
            "gpu_foreign_processes": self.others,
            "gpu_foreign_load": self.foreign,
            "gpu_throttled": self.throttled,
            "gpu_power_capped": self.power_capped,
            "gpu_unread": self.unread,
        }


class Unreadable(Exception):
    """NVML cannot be asked about this GPU: the message says why."""


@functools.cache
def device(uuid: str) -> tuple[ModuleType, Any]:
    """The library, open for the rest of the process, and its handle of a GPU. Raises Unreadable."""
    try:
        import pynvml
    except ImportError:
        raise Unreadable("nvidia-ml-py is not installed in this environment") from None
    steps: list[Callable[[], Any]] = [
        pynvml.nvmlInit,
        lambda: pynvml.nvmlDeviceGetHandleByUUID(uuid.encode()),
    ]
    try:
        return pynvml, [step() for step in steps][-1]
    except pynvml.NVMLError as error:
        raise Unreadable(str(error)) from None


def is_held(share: float | None) -> bool:
    """Whether a share of the time is more than a passing moment."""
    return share is not None and share > HELD_SHARE_LIMIT
