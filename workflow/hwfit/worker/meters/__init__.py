"""Power meters: one small module a sensor, one interface, found by a device's identity.

A meter is a context manager around work: entering starts it, leaving ends it, and then `reading` says how
much energy went by, or why that cannot be told. Counters are read before and after and cost nothing. Power
that has to be sampled takes a thread or a process beside the work, so it belongs in a pass of its own.

A module has `meter(address) -> Meter` for the identity without its first part (`cuda:GPU-…` gives
`GPU-…`); it raises `Unmetered` where its sensor is not there or may not be read. `METERS` names the module
for what an identity begins with.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hwfit.records import Flag

# What an identity begins with, and the module; the first that fits. ROCm's GPUs are `cuda` to torch, and
# their UUID begins with no word.
METERS = {
    "cpu:": "rapl",
    "cuda:GPU-": "nvml",
    "cuda:MIG-": "nvml",
    "cuda:": "amd_smi",
    "npu:": "npu_smi",
}
NO_METER = (
    "hwfit reads no power sensor of this kind of device: name an external meter (power_command), see "
    "docs/energy.md"
)


@dataclass(frozen=True)
class Reading:
    """What a meter saw between entering and leaving.

    Attributes
    ----------
    source : how it was read, and of what: `counter:nvml`, `sampled:npu-smi`, …
    scope : what the energy is that of: `board`, `package` or `node`; of several devices joined by "+"
    energy_j : joules, gross; None where it could not be told, and `flags` say why
    seconds : the time that `energy_j` speaks of
    flags : doubts, with codes that begin with "energy_"
    details : what the record keeps beside: samples, interval, largest gap, each counter's joules, …
    """

    source: str
    scope: str
    energy_j: float | None
    seconds: float
    flags: tuple[Flag, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


class Meter(Protocol):
    """A sensor around work. It may be entered again and again; no fault of the sensor ever raises.

    Attributes
    ----------
    source, scope : as in `Reading`
    resolution_s : the least time between entering and leaving of which the sensor can tell the energy
    """

    source: str
    scope: str
    resolution_s: float

    def __enter__(self) -> Meter:
        """Start. The work should run already: some sensors tell the average of the last second."""

    def __exit__(self, *exception: object) -> None:
        """End."""

    def reading(self) -> Reading:
        """What was seen the last time, after it has ended."""


@dataclass(frozen=True)
class Absence:
    """Why a source of energy figures cannot be used, with the remedy; forbidden is one that is there and may
    not be read.
    """

    source: str
    reason: str
    is_forbidden: bool = False


@dataclass(frozen=True)
class Command:
    """An external meter: a command that prints watts, one number a line, continuously or once a call.

    Attributes
    ----------
    argv_or_shell : a line for the shell, or the command and its arguments
    scope : what the watts are those of: `board`, `package` or `node`
    interval_s : a command that prints once and ends is called again so often; one that goes on printing
        should print no more seldom
    """

    argv_or_shell: str | Sequence[str]
    scope: str = "node"
    interval_s: float = 1.0


class Unmetered(Exception):
    """A sensor is not there or may not be read: the message says why, and what to do about it."""


class Forbidden(Unmetered):
    """A sensor is there, and this user may not read it."""


class SensorFault(Exception):
    """A sensor failed while it was read: the flag's code, what happened, and the figure that shows it."""

    def __init__(self, code: str, message: str, value: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.value = value


def find(identity: str | None, *, command: Command | None = None) -> tuple[list[Meter], list[Absence]]:
    """The meter of a device, and why other sources were passed over.

    Parameters
    ----------
    identity : as the device's probe gave it, those of a composite's members joined by " + "; None for a
        device that is not there
    command : an external meter, which is then used instead of what the machine has

    Returns
    -------
    a list of the one meter, or of none, and what is missing for one. A composite has a meter, the sum of its
    members', where each of them has one.
    """
    if command is not None:
        return [importlib.import_module(f"{__name__}.command").meter(command)], []
    meters: list[Meter] = []
    absences: list[Absence] = []
    for each in dict.fromkeys(map(metered_part, identity.split(" + ") if identity else [])):
        name = next((module for start, module in METERS.items() if each.startswith(start)), None)
        accelerator, _, address = each.partition(":")
        if name is None:
            absences.append(Absence(accelerator, NO_METER))
            continue
        try:
            meters.append(importlib.import_module(f"{__name__}.{name}").meter(address))
        except Unmetered as absent:
            is_forbidden = isinstance(absent, Forbidden)
            absences.append(Absence(name.replace("_", "-"), str(absent), is_forbidden))
    if absences:
        return [], absences
    if len(meters) > 1:
        return [importlib.import_module(f"{__name__}.joined").JoinedMeter(meters)], []
    return meters, []


def metered_part(identity: str) -> str:
    """What of an identity tells sensors apart: all cores of a host are metered together."""
    return "cpu:" if identity.startswith("cpu:") else identity
