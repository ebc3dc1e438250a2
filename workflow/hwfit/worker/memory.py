"""Where a session's memory went: on the host, on the device, and what of it was there before the model."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from hwfit.memory_prediction import MEGABYTE
from hwfit.worker import host
from hwfit.worker.nvml_monitor import Unreadable, device

if TYPE_CHECKING:
    from hwfit.worker.runtimes import Session


@dataclass(frozen=True)
class SessionMemory:
    """Bytes of one process, or of the processes of a composite together.

    Attributes
    ----------
    peak : of the process where the device is a CPU, of the device elsewhere; None: the runtime does not count
    host : peak of the process on the host, whatever the device
    reserved : what the runtime's allocator held at most on the device; None: not told
    share : of the device's memory, what the driver counts for this process now; None: not told
    framework : of `peak`, what the process took before it had a model; None on an accelerator
    measure : how the host's memory was counted, see `hwfit.worker.host.ProcessMemory`
    """

    peak: float | None
    host: float
    reserved: float | None
    share: float | None
    framework: float | None
    measure: str

    def metrics(self, model_size_bytes: float) -> dict[str, float | None]:
        """The columns of `hwfit.records.COLUMNS` that speak of memory, in MB."""
        known = None if self.peak is None else self.peak - model_size_bytes - (self.framework or 0.0)
        taken = {
            "peak_memory_mb": self.peak,
            "host_peak_memory_mb": self.host,
            "peak_reserved_mb": self.reserved,
            "process_device_mb": self.share,
            "framework_memory_mb": self.framework,
            # A file that is mapped may be read in part, and an offloaded model is not on the device.
            "working_memory_mb": None if known is None or known < 0 else known,
        }
        return {name: None if value is None else value / MEGABYTE for name, value in taken.items()}


def session_memory(
    session: Session, accelerator: str, identity: str | None, framework_bytes: float
) -> SessionMemory:
    """What this process took since the session's peaks were reset, and the session's members with it.

    Parameters
    ----------
    identity : the device's, as its probe gave it
    framework_bytes : what the process took before the session was opened
    """
    taken = host.process_memory()
    on_host = accelerator in ("cpu", "composite")
    counted = session.peak_memory_bytes()
    share = None if on_host else driver_share(identity, os.getpid())
    own = SessionMemory(
        peak=taken.peak_bytes if on_host else share if counted is None else float(counted),
        host=taken.peak_bytes,
        reserved=session.peak_reserved_bytes(),
        share=share,
        framework=framework_bytes if on_host else None,
        measure=taken.measure,
    )
    return together([own, *session.members_memory()])


def together(parts: Iterable[SessionMemory]) -> SessionMemory:
    """The sums over some processes: of a peak only where all have one, of the rest over those that have."""
    parts = list(parts)
    found: dict[str, float | None] = {}
    for name in (field.name for field in fields(SessionMemory) if field.name != "measure"):
        values = [getattr(part, name) for part in parts]
        known = [value for value in values if value is not None]
        is_whole = len(known) == len(parts) or (known and name != "peak")
        found[name] = sum(known) if is_whole else None
    measure = "pss" if all(part.measure == "pss" for part in parts) else "rss"
    return SessionMemory(**found, measure=measure)  # type: ignore[arg-type]


def driver_share(identity: str | None, pid: int) -> float | None:
    """What an NVIDIA driver counts for a process on a GPU, in bytes; None where it does not tell.

    In a container the driver numbers processes by the host. One that is alone on the GPU is then this one;
    of several nobody can tell which.
    """
    kind, _, uuid = (identity or "").partition(":")
    if kind != "cuda":
        return None
    try:
        nvml, handle = device(uuid)
    except Unreadable:
        return None
    try:
        listed = {p.pid: p.usedGpuMemory for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    except nvml.NVMLError:
        return None
    taken = listed.get(pid, next(iter(listed.values())) if len(listed) == 1 else None)
    return None if taken is None else float(taken)
