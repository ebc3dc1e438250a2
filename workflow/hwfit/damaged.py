"""Files of a run that are no longer what was written: found before it is planned, so that they are made anew.

A kill leaves none, since every file is replaced whole. A full or a failing disk can, a copy that broke
off, or a hand. Records have a seal (`records.write_record`) and the checksum of the samples beside them;
other files at least have to be JSON, or an archive.
"""

from __future__ import annotations

import os
import re
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hwfit.layout import IDENTITIES, PROFILES, RESULTS, site_file, site_of
from hwfit.records import Profile, bytes_sha256, has_true_seal, parse_json
from hwfit.search.records import SCREENING, summary_file

# What MLflow keeps is MLflow's.
NOT_OURS = ("mlartifacts",)
DATA = f"{RESULTS}/data"
RECOMMENDATION = Path("reports/recommendation.json")
SAMPLES_SHA256 = re.compile(rb'"samples_sha256": "([0-9a-f]{64})"')
# What a process that was killed while it wrote leaves of a file, see `records.write_bytes`.
UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")
UNFINISHED_SECONDS = 3600
# Files are small: what takes time, on a shared file system above all, is asking for them.
READERS = 16


def find_damaged(directory: Path | str = ".") -> list[tuple[Path, str]]:
    """The damaged files of a run, relative to its directory, each with what is wrong."""
    directory = Path(directory)
    files = [path for path in files_below(directory / RESULTS) if is_checked(path)]
    files += [path for path in [directory / RECOMMENDATION] if path.exists()]
    with ThreadPoolExecutor(READERS) as readers:
        found = zip(files, readers.map(what_is_wrong, files), strict=True)
        return sorted((path.relative_to(directory), why) for path, why in found if why)


def files_below(directory: Path) -> Iterator[Path]:
    """Every file that hwfit keeps below a directory."""
    for place, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        yield from (Path(place, name) for name in names)


def is_checked(path: Path) -> bool:
    """Whether a file is one that can be looked through."""
    return not path.name.startswith(".") and (path.name.endswith(".json") or is_data(path))


def is_data(path: Path) -> bool:
    return path.name.endswith(".npz") and f"/{DATA}/" in f"/{path}"


def is_profile(path: Path) -> bool:
    return f"/{PROFILES}/" in f"/{path}"


def what_is_wrong(path: Path) -> str:
    """Why a file cannot be what was written; empty where nothing speaks against it."""
    try:
        if is_data(path):
            return "" if zipfile.is_zipfile(path) else "is no archive of arrays, or cut short"
        content = path.read_bytes()
        is_true = has_true_seal(content)
        if is_true is False:
            return "was changed since it was written"
        if is_true is None:
            data = parse_json(content)
            if is_profile(path):
                Profile.from_dict(data)
        return samples_are_wrong(path, content)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


def samples_are_wrong(path: Path, content: bytes) -> str:
    """The same of the samples beside a profile."""
    digest = SAMPLES_SHA256.search(content) if is_profile(path) else None
    if digest is None:
        return ""
    try:
        is_same = bytes_sha256(path.with_suffix(".npz").read_bytes()) == digest[1].decode()
    except FileNotFoundError:
        return "its samples are not there"
    return "" if is_same else "its samples were changed since they were written"


def asked_for(path: Path) -> list[Path]:
    """The files for which Snakemake has to be asked, so that another is made again: itself, and for a profile
    that may be no first look the list of a device's confirming rounds, whose job makes those; for a look of a
    guided search the list of its round. What came from another site is laid down whole. None for what a job
    found of other hardware of its class: another job takes it that meets this.

    Parameters
    ----------
    path : relative to the run's directory
    """
    for part in path.with_suffix("").parts:
        if site := site_of(part):
            return [Path(site_file(site))]
    if is_profile(path) and path.parent.name != "round0":
        confirmation = Path(RESULTS, "confirmations", f"{path.parts[2]}.json")
        return [path, confirmation]
    if path.is_relative_to(SCREENING):
        device, runtime, model = path.parts[2:5]
        return [Path(summary_file(device, runtime, model, path.parent.name.removeprefix("round")))]
    return [] if path.parts[3:4] == (IDENTITIES,) else [path]


def remove_unfinished(directory: Path | str = ".") -> None:
    """Remove what processes that were killed left half written, once nobody can be writing it any more."""
    for path in files_below(Path(directory) / RESULTS):
        if UNFINISHED.fullmatch(path.name) and time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
            path.unlink(missing_ok=True)
