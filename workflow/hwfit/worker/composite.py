"""What a composite device is, made of what was found of its members; standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwfit.catalog import COMPOSITE, SPLIT
from hwfit.records import read_json
from hwfit.worker.lock import locks_of

# (device, runtime)
Member = tuple[str, str]


def unite_probes(members: Sequence[Member], probes: Sequence[Path]) -> dict[str, Any]:
    """A composite's probe; it is there when all of its members are.

    Parameters
    ----------
    probes : the members' probe files, in their order

    Returns
    -------
    as `hwfit.worker.probe.probe`: the identity joins those of the members by " + ", and the locks are all
    of theirs
    """
    found = [read_json(path) for path in probes]
    united: dict[str, Any] = {
        "status": "ok",
        "reason": "",
        "accelerator": COMPOSITE,
        "index": 0,
        "name": None,
        "identity": None,
        "memory_mb": None,
        "driver": None,
        "environment": {},
    }
    for (device, _), probe in zip(members, found, strict=True):
        if probe["status"] != "ok":
            return united | {"status": probe["status"], "reason": f"member {device}: {probe['reason']}"}
    return united | {
        "name": " + ".join(str(probe["name"]) for probe in found),
        "identity": " + ".join(probe["identity"] for probe in found),
        "driver": " + ".join(str(probe["driver"]) for probe in found),
        "locks": sorted({lock for probe in found for lock in locks_of(probe)}),
    }


def unite_inventories(device: str, members: Sequence[Member], files: Sequence[Path]) -> dict[str, Any]:
    """A composite's inventory.

    Parameters
    ----------
    files : the composite's probe, then the members' inventories in their order

    Returns
    -------
    as `hwfit.worker.inventory.take_inventory`, with one runtime, `split`. Its peak is the sum of the
    members' peaks, which were measured one at a time: what they could reach if none slowed another.
    """
    probe, *inventories = [read_json(path) for path in files]
    taken = [
        inventory.get("runtimes", {}).get(runtime, {})
        for (_, runtime), inventory in zip(members, inventories, strict=True)
    ]
    united = probe | {"device": device, "runtimes": {}, "peaks": {}} | united_sensors(inventories)
    if probe["status"] != "ok":
        return united
    for (name, _), state in zip(members, taken, strict=True):
        if state.get("status") != "ok":
            status, reason = state.get("status", "crashed"), state.get("reason", "no inventory")
            return united | {"runtimes": {SPLIT: {"status": status, "reason": f"member {name}: {reason}"}}}
    versions = (
        f"{runtime} {state['runtime_version']}" for (_, runtime), state in zip(members, taken, strict=True)
    )
    split = {"status": "ok", "reason": "", "runtime_version": " + ".join(versions)}
    # Their bandwidths are not: members may share a memory.
    peaks = [inventory["peaks"] for inventory in inventories]
    names = [name for name in peaks[0] if name.startswith("matmul_") and all(name in each for each in peaks)]
    whole = {name: sum(each[name] for each in peaks) for name in names}
    return united | {"runtimes": {SPLIT: split}, "peaks": whole}


def united_sensors(inventories: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The sensors of all members, where each has one: the energy of some is not that of the composite."""
    read = [inventory.get("sensors", []) for inventory in inventories]
    unread = [each for inventory in inventories for each in inventory.get("sensors_unread", [])]
    return {
        "sensors": sorted({sensor for each in read for sensor in each}) if all(read) else [],
        "sensors_unread": [each for place, each in enumerate(unread) if each not in unread[:place]],
    }
