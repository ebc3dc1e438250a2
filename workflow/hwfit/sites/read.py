"""Reading an export, which comes from elsewhere: nothing in it is trusted before it is checked.

Names lead nowhere but below a directory, sizes are those that the manifest names and no more, and every
member has the checksum that stands there.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hwfit.catalog import RUNTIMES, SCENARIOS, SPLIT, generation_lengths
from hwfit.layout import site_of
from hwfit.records import SCHEMA_VERSION, STATUSES, Cell, fingerprint, parse_json
from hwfit.section_types import Name
from hwfit.sections import Study
from hwfit.training.records import OPTIMIZERS, PRECISIONS, SCHEDULES, run_of

MANIFEST, PLAN, CARD = "export.json", "plan.json", "card.json"
# Raised when what is written now could not be read by an older hwfit.
EXPORT_VERSION = 1
# Folders of weights, of which a site that merges needs the cards alone.
WEIGHTS = ("models", "artifacts", "onnx", "files")
# Leads nowhere but below the directory that it is joined to.
_PART = r"(?!\.{1,2}(?:/|\Z))[^/\\\x00-\x1f\x7f]{1,255}"
SAFE_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
# Of a manifest, a plan or a record: no real one comes near, and a larger one would fill the memory.
MOST_BYTES = 2**28
CHUNK_BYTES = 2**20
# What zipfile raises for a file that is none, was cut short, or is packed in a way that it does not know.
UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
REMEDY = "copy the file again, or export again at the other site"


class ExportError(Exception):
    """An export that cannot be used: the message says why, and what to do."""


@dataclass(frozen=True)
class Export:
    """A file that `snakemake export` wrote."""

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Export:
        """Read a file's manifest. Raises ExportError where it is no export that this hwfit can read."""
        path = Path(path)
        if not path.is_file():
            said = "not there; copy it from the other site, where `snakemake export` writes it"
            raise ExportError(f"looked for at {path.absolute()}: {said}")
        state = path.stat()
        return cls.read_manifest(path, state.st_mtime_ns, state.st_size)

    @classmethod
    @cache
    def read_manifest(cls, path: Path, changed_ns: int, size: int) -> Export:
        """The same of a file in one state, in which every check of a config asks for it again."""
        try:
            with zipfile.ZipFile(path) as archive, archive.open(MANIFEST) as stream:
                content = stream.read(MOST_BYTES + 1)
            manifest = parse_json(content)
        except KeyError:
            # A file of samples lies in the export as it is: cut short behind one, the whole reads as that.
            said = f"no export that `snakemake export` wrote, or a part of one: it has no {MANIFEST}"
            raise ExportError(f"{said}; {REMEDY}") from None
        except UNREADABLE as error:
            raise ExportError(f"no export that can be read ({error}); {REMEDY}") from None
        require_manifest(manifest)
        return cls(path, manifest)

    @property
    def site(self) -> str:
        return self.manifest["site"]

    @property
    def has_artifacts(self) -> bool:
        return self.manifest["artifacts"]

    @property
    def members(self) -> Mapping[str, Mapping[str, Any]]:
        """Each member's "sha256" and "bytes"."""
        return self.manifest["members"]

    @property
    def digest(self) -> str:
        """Of all that it holds."""
        return fingerprint(self.manifest)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The plan of the site. Raises ExportError where it does not hold together."""
        wrote = f"it was written by hwfit {self.manifest.get('hwfit_version')}"
        try:
            plan = parse_json(self.read(PLAN))
            study = Study.model_validate(plan["study"])
            require_combinations(plan["combinations"], study)
            require_runs(plan.get("training", []), study)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            said = f"a plan that this hwfit does not know ({where}: {first['msg']})"
            raise ExportError(f"{said}; {wrote}") from None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ExportError(f"a plan that does not hold together ({error}); {wrote}") from None
        return plan

    @cached_property
    def study(self) -> Study:
        return Study.model_validate(self.plan["study"])

    @cached_property
    def devices(self) -> list[str]:
        """The devices of its combinations and of what it trained."""
        return list(dict.fromkeys(entry["device"] for entry in [*self.plan["combinations"], *self.runs]))

    @cached_property
    def models(self) -> list[str]:
        """The models of its combinations."""
        return list(dict.fromkeys(entry["model"] for entry in self.plan["combinations"]))

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Its runs of training, as a plan has them."""
        return list(self.plan.get("training", []))

    def read(self, name: str) -> bytes:
        """A member of ordinary size. Raises ExportError where it is not there, or damaged."""
        ((_, content),) = self.read_all([name])
        return content

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Members of ordinary size, each with its name."""
        for name, chunks in self.opened(names):
            if self.members[name]["bytes"] > MOST_BYTES:
                raise ExportError(f"{name} would take {self.members[name]['bytes']} bytes; {REMEDY}")
            yield name, b"".join(chunks)

    def copy(self, names: Iterable[str], targets: Mapping[str, Path]) -> None:
        """Write members of any size to files."""
        for name, chunks in self.opened(names):
            targets[name].parent.mkdir(parents=True, exist_ok=True)
            with targets[name].open("wb") as stream:
                stream.writelines(chunks)

    def require_intact(self, names: Iterable[str]) -> None:
        """Raises ExportError where one of some members is not there, or damaged."""
        for _, chunks in self.opened(names):
            for _ in chunks:
                pass

    def opened(self, names: Iterable[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Members by their names, each in chunks that have been read to their end before the next."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                for name in names:
                    yield name, self.chunks(archive, name)
        except UNREADABLE as error:
            raise ExportError(f"no export that can be read ({error}); {REMEDY}") from None

    def chunks(self, archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
        """The content of a member. Raises ExportError where it is not what the manifest says."""
        told = self.members.get(name)
        if told is None:
            raise ExportError(f"{name} is not in it; {REMEDY}")
        digest, left = sha256(), told["bytes"]
        try:
            with archive.open(name) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        break
                    digest.update(chunk)
                    yield chunk
        except (KeyError, *UNREADABLE) as error:
            raise ExportError(f"{name} cannot be read ({error}); {REMEDY}") from None
        if left or digest.hexdigest() != told["sha256"]:
            raise ExportError(f"{name} is damaged: its checksum is not the one that was written; {REMEDY}")


def require_manifest(manifest: Any) -> None:
    """Raises ExportError where a manifest is of another version, or does not hold together."""
    if not isinstance(manifest, Mapping):
        raise ExportError(f"no export: {MANIFEST} is a {type(manifest).__name__}, not a mapping")
    for key, wanted in (("schema_version", EXPORT_VERSION), ("record_schema_version", SCHEMA_VERSION)):
        if manifest.get(key) != wanted:
            raise ExportError(
                f"{key} is {manifest.get(key)!r}, and this hwfit reads {wanted}; export again at the other "
                f"site with the hwfit of here (it was written by {manifest.get('hwfit_version')!r})"
            )
    try:
        TypeAdapter(Name).validate_python(manifest.get("site"))
    except ValidationError:
        raise ExportError(f"site is {manifest.get('site')!r}, which is no name; export again there") from None
    members = manifest.get("members")
    if not isinstance(manifest.get("artifacts"), bool) or not isinstance(members, Mapping):
        raise ExportError(f"{MANIFEST} lacks `artifacts` or `members`; {REMEDY}")
    for name, told in members.items():
        if not SAFE_NAME.fullmatch(name):
            raise ExportError(f"a member is called {name!r}, as none of an export is; do not trust the file")
        size = told.get("bytes") if isinstance(told, Mapping) else None
        if not isinstance(size, int) or size < 0 or not isinstance(told.get("sha256"), str):
            raise ExportError(f"{MANIFEST} says {told!r} of {name}; {REMEDY}")


def require_combinations(combinations: Any, study: Study) -> None:
    """Raises ValueError where a combination names what its study does not have: names become paths."""
    for entry in combinations:
        cell = Cell(**{name: entry[name] for name in Cell.__dataclass_fields__})
        is_known = (
            cell.model in study.models
            and cell.device in study.devices
            and not site_of(cell.device)
            and cell.runtime in (*RUNTIMES, SPLIT)
            and cell.optimization in study.optimizations
            and (cell.scenario in SCENARIOS or generation_lengths(cell.scenario))
        )
        if not is_known:
            raise ValueError(f"it has a combination of what it does not define: {cell}")
        size, status = entry["batch_size"], entry["status"]
        # What was measured has its status in its record.
        is_told = status in STATUSES and status != "ok" and isinstance(entry["reason"], str)
        if not isinstance(size, int) or not (status == "" or is_told):
            raise ValueError(f"{cell}: batch size {size!r}, status {status!r}")


def require_runs(runs: Any, study: Study) -> None:
    """Raises ValueError where a run of training names what its study does not have, or is told otherwise than
    a plan tells it.
    """
    for entry in runs:
        run = run_of(entry)
        is_known = (
            run.model in study.models
            and run.device in study.devices
            and not site_of(run.device)
            and run.runtime in RUNTIMES
            and run.optimizer in OPTIMIZERS
            and run.schedule in SCHEDULES
            and run.precision in PRECISIONS
            and isinstance(run.learning_rate, float | int)
        )
        if not is_known:
            raise ValueError(f"it has a run of training of what it does not define: {run}")
        rungs, status = entry["rung_epochs"], entry["status"]
        is_told = status in (*STATUSES, "") and status != "ok" and isinstance(entry["reason"], str)
        numbers = [entry["target_accuracy"], entry["eta"], *rungs]
        if not is_told or not rungs or not all(isinstance(number, float | int) for number in numbers):
            raise ValueError(f"{run}: rung_epochs {rungs!r}, status {status!r}")
