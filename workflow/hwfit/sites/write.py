"""Packing what a site has measured into one file, for others to merge it or to measure the same weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from hwfit import __version__
from hwfit.archive import members_of, write_zip
from hwfit.collect import read_rows
from hwfit.layout import (
    RESULTS,
    checkpoint_directory,
    confirmation_file,
    model_directory,
    probe_file,
    site_of,
)
from hwfit.matrix import Plan
from hwfit.records import SCHEMA_VERSION, file_sha256
from hwfit.search.records import with_given_up
from hwfit.sections import HERE, Study
from hwfit.sites.read import CARD, EXPORT_VERSION, MANIFEST, PLAN, ExportError


def write_export(
    plan: Mapping[str, Any], output: Path, with_artifacts: bool = False, directory: Path | str = "."
) -> int:
    """Write the export of what a plan's own devices have measured, atomically. Returns how many records it
    holds, of measurements and of training.

    It has what `archive` puts into an archive, and the probes, the confirming rounds and the cards of models
    and artifacts; `export.json` names the site and each member's SHA-256. The same records give the same
    bytes.

    Parameters
    ----------
    with_artifacts : put in the checkpoints, evaluation sets and artifacts too

    Raises
    ------
    ExportError : the site has no name, or nothing was measured
    """
    directory = Path(directory)
    own = own_part(with_given_up(plan, directory), directory)
    site = own["study"]["config"].get("site", HERE)
    if site == HERE:
        raise ExportError(
            f"site: is {HERE!r}, as every site is called that has no name; name this one, "
            "`site: gpu-box` in the config or `--config site=gpu-box`, and export again"
        )
    members = dict(members_to_pack(own, with_artifacts, directory))
    measured = [name for name in members if name.startswith(("profiles/", "training/"))]
    count = sum(name.endswith(".json") for name in measured)
    if not count:
        raise ExportError("nothing was measured here yet: `snakemake --cores all` does it")
    manifest = {
        "schema_version": EXPORT_VERSION,
        "record_schema_version": SCHEMA_VERSION,
        "hwfit_version": __version__,
        "site": site,
        "artifacts": with_artifacts,
        "members": {name: described(content) for name, content in members.items()},
    }
    write_zip(output, [(MANIFEST, as_json(manifest)), *members.items()])
    return count


def own_part(plan: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """A plan without what was merged into it: each site exports what it has measured itself.

    Why a combination has no record, as one that a search gave up, is said in it: elsewhere nobody could tell.
    """
    study = plan["study"]
    devices = {name: device for name, device in study["devices"].items() if not site_of(name)}
    config = study["config"] | {"sites": [], "artifacts_from": None}
    entries = [entry for entry in plan["combinations"] if not site_of(entry["device"])]
    own = {
        "study": study | {"devices": devices, "config": config},
        "combinations": entries,
        "training": [run for run in plan.get("training", []) if not site_of(run["device"])],
    }
    rows = read_rows(own, directory)
    own["combinations"] = [
        entry if row.first else entry | {"status": row.status, "reason": row.reason}
        for entry, row in zip(entries, rows, strict=True)
    ]
    return own


def members_to_pack(
    own: Mapping[str, Any], with_artifacts: bool, directory: Path
) -> Iterator[tuple[str, Path | bytes]]:
    """The members of an export but for its manifest, by their names below results/."""
    yield PLAN, as_json(own)
    yield from ((name, content) for name, content in members_of(own, directory).items() if name != PLAN)
    for device in dict.fromkeys(entry["device"] for entry in own["combinations"]):
        told = [directory / probe_file(device), directory / confirmation_file(device)]
        yield from existing(told, directory)
    for place in weights_places(own):
        folder = directory / place
        files = sorted(path for path in folder.rglob("*") if not path.name.startswith("."))
        yield from existing(files if with_artifacts else [folder / CARD], directory)


def existing(paths: list[Path], directory: Path) -> Iterator[tuple[str, Path]]:
    """Those of some files that are there, with their names below results/."""
    for path in paths:
        if path.is_file():
            yield path.relative_to(directory / RESULTS).as_posix(), path


def weights_places(own: Mapping[str, Any]) -> list[str]:
    """Where the models and artifacts lie that a plan's cells run."""
    plan = Plan(Study.model_validate(own["study"]))
    found: dict[str, None] = {}
    for cell in plan.cells:
        for each in plan.member_cells(cell) or [cell]:
            found[model_directory(each.model)] = None
            found[checkpoint_directory(each.model, plan.artifact(each.optimization))] = None
            found[plan.weights_directory(each)] = None
    return list(found)


def described(content: Path | bytes) -> dict[str, Any]:
    """What the manifest says of a member."""
    if isinstance(content, bytes):
        return {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
    return {"sha256": file_sha256(content), "bytes": content.stat().st_size}


def as_json(data: Any) -> bytes:
    """Plain data as a member."""
    return (json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
