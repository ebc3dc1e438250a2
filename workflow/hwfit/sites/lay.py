"""Laying down what an export holds: records beside the study's own, or artifacts in place of making them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hwfit.layout import RESULTS, confirmation_file, device_at, site_file
from hwfit.records import Cell, RecordError, parse_json, read_json, read_profile, sealed, write_record
from hwfit.sites.read import CARD, WEIGHTS, Export, ExportError
from hwfit.training.records import read_training_record

# Folders of an export that have a folder for each device.
BY_DEVICE = ("profiles", "attempts", "devices", "training", "halving")

# Of folders whose records are read where the table is made.
READERS: dict[str, Callable[[Path], Any]] = {"profiles": read_profile, "training": read_training_record}


def places_of(export: Export) -> list[str]:
    """The folders that the records of an export come to: those of its devices."""
    return [
        f"{RESULTS}/{folder}/{device_at(device, export.site)}"
        for folder in BY_DEVICE
        for device in export.devices
    ]


def confirmations_of(export: Export) -> list[str]:
    """The files that name its confirming rounds."""
    return [confirmation_file(device_at(device, export.site)) for device in export.devices]


def records_of(export: Export) -> list[str]:
    """The members that are laid down: what was measured and trained, and what was found of devices."""
    return members_in(export, *BY_DEVICE)


def merged_members(export: Export) -> list[str]:
    """All that is taken over where a site is merged, but for its plan."""
    return [*records_of(export), *cards_of(export), *members_in(export, "confirmations")]


def members_in(export: Export, *folders: str) -> list[str]:
    return [name for name in export.members if name.startswith(tuple(f"{folder}/" for folder in folders))]


def cards_of(export: Export) -> list[str]:
    """The members that say what was measured: the cards of models, and of what artifact passes made."""
    return [name for name in members_in(export, "models", "artifacts") if is_card(name)]


def is_card(name: str) -> bool:
    return name.endswith(f"/{CARD}")


def import_site(path: Path, directory: Path | str = ".") -> dict[str, Any]:
    """Lay the records of an export below a directory, each under the name that its device has here.

    Writes and returns, last, what the plan is merged from: {"site", "file", "digest", "hwfit_version",
    "study", "combinations", "training", "cards", "protocols"}; protocols are those that each row was
    measured by.

    Raises
    ------
    ExportError : the file is none that can be read, or is damaged
    """
    export, directory = Export.open(path), Path(directory)
    for place in places_of(export):
        shutil.rmtree(directory / place, ignore_errors=True)
        (directory / place).mkdir(parents=True)
    protocols = lay_records(export, directory)
    for device in export.devices:
        told = {"contenders": confirming_rounds(export, device)}
        write_record(directory / confirmation_file(device_at(device, export.site)), told)
    found = {
        "site": export.site,
        "file": str(path),
        "digest": export.digest,
        "hwfit_version": export.manifest.get("hwfit_version"),
        "study": export.plan["study"],
        "combinations": export.plan["combinations"],
        "training": export.runs,
        "cards": {
            name.removesuffix(f"/{CARD}"): card
            for name, content in export.read_all(cards_of(export))
            if (card := mapping_in(content))
        },
        "protocols": protocols,
    }
    write_record(directory / site_file(export.site), found)
    return found


def lay_records(export: Export, directory: Path) -> dict[str, str]:
    """Write the records of an export's devices; returns the protocol by which each row was measured."""
    protocols: dict[str, str] = {}
    for name, content in export.read_all(sorted(records_of(export))):
        folder, device, *rest = name.split("/")
        if device not in export.devices or not rest:
            continue
        target = directory / RESULTS / folder / device_at(device, export.site) / "/".join(rest)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if target.suffix != ".json":
            continue
        record = renamed(target, export, folder)
        is_profile = folder == "profiles"
        if is_profile and record and (protocol := record.get("fingerprints", {}).get("protocol")):
            # A row's rounds lie in folders beside each other.
            *cell, _, row = (device, *rest)
            protocols.setdefault("/".join([*cell, Path(row).stem]), protocol)
    return protocols


def confirming_rounds(export: Export, device: str) -> list[dict[str, Any]]:
    """Which rounds confirm a device's combinations, by the name that it has here; those that are not told in
    the form that they are written in, or are of another device, confirm nothing.
    """
    name = f"confirmations/{device}.json"
    told = mapping_in(export.read(name)) if name in export.members else None
    found = []
    entries = (told or {}).get("contenders")
    for entry in entries if isinstance(entries, list) else []:
        try:
            cell = Cell(**entry["cell"])
            if cell.device == device:
                here = replace(cell, device=device_at(device, export.site))
                rounds = [int(round) for round in entry["rounds"]]
                found.append({"cell": asdict(here), "batch_size": int(entry["batch_size"]), "rounds": rounds})
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return found


def renamed(path: Path, export: Export, folder: str) -> Any:
    """Give a record the name that its device has here; returns it. One that was damaged at its site is
    removed, and its row says that there is none.
    """
    try:
        record = read_json(path)
        if folder in READERS:
            READERS[folder](path)
        changed = in_names_of_here(record, folder, export.site)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        said = error if isinstance(error, RecordError) else f"{path}: no verdict on a rung ({error!r})"
        print(f"left out, since it was damaged at {export.site}: {said}", file=sys.stderr)
        path.unlink()
        return None
    if changed != record:
        # Not each synced to the disk: the job that lays them down counts as a whole.
        path.write_bytes(sealed(changed))
    return changed


def in_names_of_here(record: Any, folder: str, site: str) -> Any:
    """A record with the name that its device has here. Raises KeyError and the like for half a verdict."""
    if folder == "halving":
        return verdict_here(record, site)
    if folder == "training":
        return {**record, "run": in_names_of_here(record["run"], "", site)}
    if isinstance(record, dict) and isinstance(record.get("device"), str):
        return {**record, "device": device_at(record["device"], site)}
    return record


def verdict_here(verdict: Any, site: str) -> dict[str, Any]:
    """A verdict on a rung by the names that its runs have here, whose paths begin with their device."""

    def here(path: str) -> str:
        device, _, rest = path.partition("/")
        return f"{device_at(device, site)}/{rest}"

    device, *group = verdict["group"]
    return {
        **verdict,
        "group": [device_at(device, site), *group],
        "go_on": [here(path) for path in verdict["go_on"]],
        "finished": {here(path): rung for path, rung in verdict["finished"].items()},
        "stopped": [
            {
                **each,
                "configuration": here(each["configuration"]),
                "runs": [here(path) for path in each["runs"]],
            }
            for each in verdict["stopped"]
        ],
    }


def mapping_in(content: bytes) -> dict[str, Any] | None:
    """A JSON mapping; None where it is something else."""
    try:
        found = parse_json(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def artifacts_in(export: Export) -> list[str]:
    """The models and artifacts that an export has whole, as folders below results/; not what failed there.

    Raises ExportError where a card is damaged.
    """
    names = [name for name in members_in(export, *WEIGHTS) if is_card(name)]
    cards = ((name, mapping_in(content) or {}) for name, content in export.read_all(names))
    return [name.removesuffix(f"/{CARD}") for name, card in cards if card.get("status") == "ok"]


def files_of(export: Export, place: str) -> list[str]:
    """The members of an artifact, its card last: when that is there, so is all else."""
    return sorted(members_in(export, place), key=lambda name: (name == f"{place}/{CARD}", name))


def take_artifact(path: Path, place: str, directory: Path | str = ".") -> None:
    """Lay the files of a model or an artifact where they would be made, in place of those that are there.

    Raises
    ------
    ExportError : the file is none that can be read, is damaged, or has no such artifact
    """
    export, results = Export.open(path), Path(directory) / RESULTS
    names = files_of(export, place)
    if not export.has_artifacts or not names:
        remedy = f"`snakemake export --config artifacts=true` at {export.site} packs it"
        raise ExportError(f"has no {place}; {remedy}")
    shutil.rmtree(results / place, ignore_errors=True)
    export.copy(names, {name: results / name for name in names})
