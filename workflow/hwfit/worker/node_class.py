"""A device that stands for a class of nodes of a cluster: which of them a job has come to.

The scheduler gives each job a node, or a GPU of one, so that the probe that was written once speaks of
another piece of hardware. A job looks again, with the standard library alone. Where it meets an identity that
it has not met before, the probe goes to `results/devices/<device>/identities/<hash>/probe.json`, and the
inventory, which is taken in the job, beside it: peaks and memory of one identity are never another's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwfit.records import RecordError, fingerprint, read_json, write_json
from hwfit.worker.lock import device_lock
from hwfit.worker.probe import probe

# Munge, by which SLURM's daemons trust each other, bears 300 s; NTP keeps clocks within far less than this.
CLOCK_TOLERANCE_S = 5.0


def met_hardware(job: Any) -> Any:
    """A job of a class of nodes with the probe of the hardware that it has come to; others as they are."""
    if not job.device_class:
        return job
    directory = Path(job.device_class["directory"])
    found = probe_again(job.probe_file, directory, job.accelerator, job.index, job.cores)
    return dataclasses.replace(job, probe_file=found)


def probe_again(
    file: Path,
    directory: Path,
    accelerator: str | None = None,
    index: int = 0,
    cores: Sequence[int] = (),
) -> Path:
    """Look at the hardware that is here.

    Parameters
    ----------
    file : the probe of the class, which says what to look for where `accelerator` does not
    directory : of the identities of the class

    Returns
    -------
    `file` where that is what it speaks of, else a probe below `directory`
    """
    known = read_json(file)
    if accelerator is None:
        accelerator, index = known["accelerator"], known["index"]
        cores = known.get("pinned_cores") or ()
    found = probe(accelerator, index, cores)
    if found["status"] != "ok":
        found["reason"] += f" (on {platform.node()})"
    if same(found, known):
        return file
    place = directory / key_of(found) / "probe.json"
    with contextlib.suppress(RecordError):
        if read_json(place) == found:
            return place
    write_json(place, found)
    return place


def same(found: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether two probes speak of the same hardware, driven by the same driver."""
    return all(found[name] == known.get(name) for name in ("status", "reason", "identity", "driver"))


def key_of(found: Mapping[str, Any]) -> str:
    """The name of an identity's directory; of hardware that is not there, the node's."""
    return fingerprint(found["identity"] or ["absent", platform.node()])


def with_inventory(job: Any) -> Any:
    """A job of a class of nodes with the inventory of its identity, taken where there is none yet."""
    if not job.device_class:
        return job
    identity = read_json(job.probe_file)["identity"]
    if identity_of(job.inventory_file) == identity:
        return job
    place = Path(job.device_class["directory"]) / fingerprint(identity) / "inventory.json"
    # Two jobs may have come to one node at once: the second waits for the first one's.
    with device_lock(f"inventory of {identity}"):
        if identity_of(place) != identity:
            take_inventory(job, place)
    return dataclasses.replace(job, inventory_file=place)


def identity_of(inventory: Path | None) -> str | None:
    """Of what an inventory speaks; None where there is none that can be read."""
    try:
        return read_json(inventory).get("identity") if inventory else None
    except (RecordError, AttributeError):
        return None


def take_inventory(job: Any, place: Path) -> None:
    """Take an inventory by a process of its own; without one, peaks and predictions are empty."""
    command = [sys.executable, "-m", "hwfit.worker", "inventory", "--device", job.cell.device]
    command += ["--probe", str(job.probe_file), "--output", str(place)]
    command += ["--environments", json.dumps(job.device_class["environments"])]
    print(f"{platform.node()} is met for the first time: taking its inventory", flush=True)
    done = subprocess.run(command)
    if done.returncode:
        print(f"the inventory ended with exit status {done.returncode}", file=sys.stderr, flush=True)


def comparable(context: Mapping[str, Any]) -> dict[str, Any]:
    """What of a context must be the same for a record of a class of nodes to stay true: not which of its
    nodes it was, which the record says and the report shows.
    """
    return dict(context) | {"device": {"status": context["device"]["status"]}}


def clock_ahead_s(directory: Path) -> float:
    """How far this host's clock is ahead of the one of the storage that a directory is on, in s.

    A file server stamps what is written with its own time; a local disk has the host's, and the answer is 0
    but for the kernel's tick. 0 where nothing can be written there, too: whoever wants to write says so.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".clock.") as file:
            before = time.time()
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
            after, stamped = time.time(), Path(file.name).stat().st_mtime
    except OSError:
        return 0.0
    return before - stamped if stamped < before else min(0.0, after - stamped)
