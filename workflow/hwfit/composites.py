"""Composite devices in a config: their members, and whether they can work side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hwfit import catalog
from hwfit.config_errors import shown
from hwfit.device_sections import Composite, Device, Member
from hwfit.key_path import KeyPath


def members_of(devices: Mapping[str, Device | Composite], name: str) -> list[tuple[str, str]]:
    """The members of a composite as (device, runtime); empty for a device with a chip of its own.

    Where a member says no runtime, it is the first that its device lists (`config_checks` sees to it
    that it is the only one).
    """
    found = []
    device = devices[name]
    for member in device.members if isinstance(device, Composite) else []:
        asked = Member(device=member) if isinstance(member, str) else member
        found.append((asked.device, asked.runtime or next(iter(devices[asked.device].runtimes))))
    return found


def check_members(
    name: str, composite: Composite, devices: Mapping[str, Device | Composite]
) -> Iterator[tuple[KeyPath, str]]:
    """Each member is one device with one runtime, and no two of them share a chip or a core."""
    members: list[tuple[str, Device]] = []
    for index, entry in enumerate(composite.members):
        path: KeyPath = (name, "members", index)
        member = Member(device=entry) if isinstance(entry, str) else entry
        device = devices[member.device]
        if isinstance(device, Composite):
            yield path, f"is {shown(member.device)}, a composite itself; name its members"
            continue
        if device.slurm is not None:
            advice = "give the composite members without one, and measure it inside of a job of the cluster"
            yield path, f"is {shown(member.device)}, a class of nodes (it has `slurm`); {advice}"
        listed = ", ".join(device.runtimes)
        if member.runtime is None and len(device.runtimes) > 1:
            advice = f"write {{device: {member.device}, runtime: {next(iter(device.runtimes))}}}, or another"
            yield path, f"is {shown(member.device)}, which lists the runtimes {listed}; {advice}"
        elif member.runtime and member.runtime not in device.runtimes:
            said = f"is {shown(member.runtime)}, which device {shown(member.device)} does not list"
            yield (*path, "runtime"), f"{said}; it lists: {listed}"
        for other, before in members:
            shared = _shared_hardware(device, before)
            if shared:
                yield path, f"is {shown(member.device)}, which shares {shared} with {shown(other)}"
        runtime = member.runtime or next(iter(device.runtimes))
        if composite.parallel and runtime != "torch":
            yield path, f"runs {runtime}; allowed with parallel: {composite.parallel}: torch"
        members.append((member.device, device))
    kinds = sorted({device.accelerator for _, device in members})
    if composite.parallel and (len(kinds) > 1 or not set(kinds) <= set(catalog.DISTRIBUTED)):
        able = " or ".join(catalog.DISTRIBUTED)
        message = f"is for members of one kind, {able}; these are {', '.join(kinds)}"
        yield (name, "parallel"), message


def _shared_hardware(one: Device, other: Device) -> str:
    """What two devices both run on, in words; empty where they can work side by side."""
    if one.accelerator != other.accelerator:
        return ""
    if one.accelerator != "cpu":
        return f"{one.accelerator} {one.index}" if one.index == other.index else ""
    if not one.cores or not other.cores:
        return "the cores of the host; give each its own `cores`"
    both = sorted(set(one.cores) & set(other.cores))
    return f"core {', '.join(map(str, both))}" if both else ""
