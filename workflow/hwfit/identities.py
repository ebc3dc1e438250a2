"""Of a device that is a class of nodes, the hardware that its rounds met: each row is judged by that one's
inventory, and what was met on several is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hwfit.layout import identities_directory
from hwfit.records import Flag, Profile, RecordError, read_json, require_inventory

# In the inventory of a class of nodes: those of every identity that a job met, by identity.
IDENTITIES = "identities"


def inventory_files(device: str, directory: Path) -> list[Path]:
    """The inventories that jobs of a class of nodes took of other hardware than its first one."""
    return sorted((directory / identities_directory(device)).glob("*/inventory.json"))


def with_identities(inventory: Mapping[str, Any], device: str, directory: Path) -> dict[str, Any]:
    """The inventory of a class of nodes, with those of all its identities in it."""
    met = {inventory["identity"]: dict(inventory)} if inventory.get("identity") else {}
    for path in inventory_files(device, directory):
        try:
            found = read_json(path)
            require_inventory(found)
            met.setdefault(str(found.get("identity")), found)
        except RecordError as error:
            print(error, file=sys.stderr)
    return dict(inventory) | {IDENTITIES: met}


def each_of(inventory: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A device's inventory, or those of every identity of a class of nodes."""
    yield from inventory[IDENTITIES].values() if IDENTITIES in inventory else [inventory]


def each_named(inventories: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every inventory with its device's name; of a class that met several identities, each with that too."""
    for device, inventory in inventories.items():
        several = is_of_several(inventory)
        for each in each_of(inventory) if several else [inventory]:
            yield f"{device} ({each.get('identity')})" if several else device, each


def is_of_several(inventory: Mapping[str, Any]) -> bool:
    """Whether it is of a class of nodes that met several identities, so that no limit holds for all rows."""
    return len(inventory.get(IDENTITIES, {})) > 1


def met_by(profiles: Iterable[Profile]) -> dict[str, str]:
    """The identities that rounds met, with their names."""
    found = {}
    for profile in profiles:
        device = profile.context.get("device")
        if isinstance(device, Mapping) and device.get("identity"):
            found[str(device["identity"])] = str(device.get("name") or device["identity"])
    return found


def inventory_met(profiles: Iterable[Profile], inventory: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inventory that speaks of the hardware which rounds met.

    Of several identities none does: their peaks are left out, their names and the software are told.
    """
    if IDENTITIES not in inventory:
        return inventory
    met = met_by(profiles)
    known = [inventory[IDENTITIES].get(identity) for identity in met]
    if len(met) == 1 and known[0]:
        return known[0]
    if not met:
        return inventory
    software = inventory.get("runtimes", {}).items()
    return {
        "name": "; ".join(dict.fromkeys(met.values())),
        "runtimes": {name: {"runtime_version": told.get("runtime_version")} for name, told in software},
    }


def flags_of(profiles: Iterable[Profile]) -> list[Flag]:
    """What is to be said of rounds that met several identities."""
    met = met_by(profiles)
    if len(met) < 2:
        return []
    return [Flag("several_identities", f"measured on {', '.join(met)}", float(len(met)))]
