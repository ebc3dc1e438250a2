"""Everything that was measured, in one file that lies beside the report: records, samples, attempts, order.

The same records give the same bytes, so that an archive says by its checksum whether anything changed.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwfit.collect import confirmation_rounds
from hwfit.identities import inventory_files as identity_files
from hwfit.layout import PROFILES, RESULTS, attempts_file, inventory_file
from hwfit.records import Cell, Profile, RecordError, read_profile
from hwfit.search.records import SCREENING, SEARCH, is_guided
from hwfit.training.plan import TRAINING, VERDICTS
from hwfit.training.records import run_of

ORDER = "order.csv"
COLUMNS = (
    "started_at",
    "device",
    "runtime",
    "model",
    "optimization",
    "scenario",
    "batch_size",
    "round",
    "role",
    "status",
    "valid",
    "attempts",
    "reason",
    "profile",
)
# Zip knows no earlier day, and a real one would make every archive another.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)
INCOMPRESSIBLE = (".npz", ".safetensors", ".onnx", ".bin", ".data")


@dataclass(frozen=True)
class Found:
    """One profile on disk: the combination and round whose place it has, and what it is there for."""

    path: Path
    cell: Cell
    batch_size: int
    round: int
    role: str

    @property
    def place(self) -> tuple[str, int, int]:
        return self.cell.path, self.round, self.batch_size


def write_archive(plan: Mapping[str, Any], output: Path, directory: Path | str = ".") -> int:
    """Write the archive of a plan's records, atomically. Returns how many profiles it holds.

    It has `order.csv`, a line a profile in the order of measuring; `profiles/` with each record and the
    samples beside it; `attempts/`, what was begun and what came of it; `training/` with each run's records
    and log, `halving/` with the verdicts on its rungs; of a guided search `screening/` with the records of
    its looks, and `search/` with its verdicts; `plan.json` and `devices/`.
    A record that cannot be read goes in as it is, and its line says why.
    """
    directory = Path(directory)
    members = members_of(plan, directory)
    write_zip(output, members.items())
    return sum(name.startswith("profiles/") and name.endswith(".json") for name in members)


def members_of(plan: Mapping[str, Any], directory: Path) -> dict[str, Path | bytes]:
    """What an archive holds, by its name in there: a file, or what stands for one."""
    found = sorted(profiles_of(plan, directory), key=lambda each: each.place)
    files = sorted(set(files_of(plan, found, directory)))
    named = {path.relative_to(directory / RESULTS).as_posix(): path for path in files}
    return {ORDER: order_of(found, directory).encode(), **named}


def write_zip(output: Path, members: Iterable[tuple[str, Path | bytes]]) -> None:
    """Write a zip file, atomically: members in their order, each from a file or as it is."""
    output.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
            for name, content in members:
                add(archive, name, content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(output)
    except BaseException:
        Path(temporary).unlink()
        raise


def profiles_of(plan: Mapping[str, Any], directory: Path) -> Iterator[Found]:
    """Every profile on disk of the plan's combinations, of whatever round."""
    first_looks = plan["study"]["config"]["measurement"]["rounds"]
    confirming = confirmation_rounds(directory)
    for combination in plan["combinations"]:
        cell = Cell(**{name: combination[name] for name in Cell.__dataclass_fields__})
        batch_size = combination["batch_size"]
        for path in (directory / PROFILES / cell.path).glob(f"round*/bs{batch_size}.json"):
            number = path.parent.name.removeprefix("round")
            if not number.isdigit():
                continue
            if int(number) in confirming.get((cell, batch_size), ()):
                role = "confirmation"
            else:
                # A round of an earlier run, of what was a contender then.
                role = "first look" if int(number) < first_looks else "not used"
            yield Found(path, cell, batch_size, int(number), role)


def files_of(plan: Mapping[str, Any], found: Iterable[Found], directory: Path) -> Iterator[Path]:
    """The files of an archive, as far as they are there."""
    wanted = [directory / RESULTS / "plan.json"]
    trained = [planned for planned in plan.get("training", []) if not planned["status"]]
    devices = dict.fromkeys(entry["device"] for entry in [*plan["combinations"], *trained])
    for device in devices:
        wanted += [directory / inventory_file(device), *identity_files(device, directory)]
    for profile in found:
        attempts = directory / attempts_file(profile.cell, profile.round)
        wanted += [profile.path, profile.path.with_suffix(".npz"), attempts]
    for planned in trained:
        place = directory / TRAINING / run_of(planned).path
        wanted += [*place.glob("rung*.json"), place / "log.jsonl"]
    for device in dict.fromkeys(planned["device"] for planned in trained):
        wanted += (directory / VERDICTS / device).glob("*/*/rung*.json")
    if is_guided(plan):
        wanted += (directory / SEARCH).rglob("*.json*")
        wanted += [
            path for path in (directory / SCREENING).rglob("bs*.*") if path.suffix in (".json", ".npz")
        ]
    return (path for path in wanted if path.is_file())


def order_of(found: Iterable[Found], directory: Path) -> str:
    """The table of all profiles in the order in which they were measured; last, what does not say when."""
    lines = [line_of(each, directory) for each in found]
    lines.sort(key=lambda line: (line["started_at"] == "", line["started_at"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def line_of(found: Found, directory: Path) -> dict[str, Any]:
    """What the table says of one profile: who it is by its place, the rest by its content."""
    line: dict[str, Any] = {name: getattr(found.cell, name) for name in Cell.__dataclass_fields__}
    line |= {"batch_size": found.batch_size, "round": found.round, "role": found.role}
    line["profile"] = found.path.relative_to(directory / RESULTS).as_posix()
    try:
        profile: Profile = read_profile(found.path)
    except RecordError as error:
        return line | {"started_at": "", "status": "unreadable", "reason": str(error)}
    names = ("status", "valid", "attempts", "reason")
    return line | {name: getattr(profile, name) for name in names} | {"started_at": str(profile.started_at)}


def add(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> None:
    """Put a file into an archive; samples and weights as they are, since packing makes them no smaller."""
    entry = zipfile.ZipInfo(name, TIMESTAMP)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_STORED if name.endswith(INCOMPRESSIBLE) else zipfile.ZIP_DEFLATED
    if isinstance(content, bytes):
        archive.writestr(entry, content)
        return
    entry.file_size = content.stat().st_size
    with content.open("rb") as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target, 1 << 20)
