"""Checkpoints of a training run: two files in turn, each with its checksum, so that one is always whole.

A file is a line of JSON (the checksum and the length of what follows, and the meta data) and a .npz archive.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.records import write_bytes

NAMES = ("checkpoint.0", "checkpoint.1")


class DamagedCheckpoint(Exception):
    """A checkpoint that is cut short or changed: the message says which, and how."""


@dataclass
class Checkpoint:
    """The arrays of a trainer, and what the loop keeps, as plain data with a `step` and a `trajectory`."""

    arrays: Mapping[str, np.ndarray]
    meta: dict[str, Any]


def write(directory: Path, checkpoint: Checkpoint) -> Path:
    """Write over the older of the two. Raises OSError, with the newer one as it was."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **checkpoint.arrays)
    body = content.getvalue()
    meta = json.dumps(checkpoint.meta, allow_nan=False)
    head = {"sha256": digest(meta, body), "bytes": len(body), "meta": meta}
    path = min((directory / name for name in NAMES), key=step_of)
    write_bytes(path, json.dumps(head).encode() + b"\n" + body)
    return path


def newest(directory: Path, trajectory: str, last_step: int) -> tuple[Checkpoint | None, list[str]]:
    """The latest whole checkpoint of a trajectory up to a step, or None; and what is said of the others.

    Those are removed: what is written next must replace the older of two that are whole.
    """
    found: list[Checkpoint] = []
    said = []
    for path in (directory / name for name in NAMES if (directory / name).exists()):
        try:
            checkpoint = read(path)
            if checkpoint.meta["trajectory"] != trajectory:
                said.append(f"{path} was of another run (data, settings, machine or packages): removed")
            elif checkpoint.meta["step"] > last_step:
                said.append(f"{path} was of a later rung than this one, which begins anew: removed")
            else:
                found.append(checkpoint)
                continue
        except DamagedCheckpoint as error:
            said.append(f"{error}: removed")
        path.unlink()
    return max(found, key=lambda each: each.meta["step"], default=None), said


def read(path: Path) -> Checkpoint:
    """Read one. Raises DamagedCheckpoint."""
    head_line, _, body = path.read_bytes().partition(b"\n")
    try:
        head = json.loads(head_line)
        meta, wanted, size = head["meta"], head["sha256"], head["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"{path} is no checkpoint, or cut short within its head") from error
    if len(body) != size:
        raise DamagedCheckpoint(f"{path} is cut short: {len(body)} of {size} bytes")
    if digest(meta, body) != wanted:
        raise DamagedCheckpoint(f"{path} has another checksum than when it was written")
    with np.load(io.BytesIO(body), allow_pickle=False) as stored:
        return Checkpoint({name: stored[name] for name in stored.files}, json.loads(meta))


def step_of(path: Path) -> int:
    """The step that a file says it is of; -1 where there is none, or none to be read."""
    try:
        with path.open("rb") as stream:
            return int(json.loads(json.loads(stream.readline())["meta"])["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def digest(meta: str, body: bytes) -> str:
    """The SHA-256 of both, in hex."""
    found = hashlib.sha256(meta.encode())
    found.update(body)
    return found.hexdigest()
