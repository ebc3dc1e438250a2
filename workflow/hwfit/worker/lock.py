"""One measurement at a time on a device, whoever asks: a file lock keyed by the device's identity.

Snakemake and SLURM keep the jobs of one workflow apart; this keeps two workflows on one host apart.
The kernel drops the lock with its holder, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def device_lock(*identities: str) -> Iterator[float]:
    """Hold a device, or a composite's several; yields the seconds that were waited for them.

    They are taken in one order everywhere, so that two who want the same ones never wait for each other.
    """
    with contextlib.ExitStack() as held:
        yield sum(held.enter_context(one_lock(identity)) for identity in sorted(set(identities)))


def locks_of(probe: Mapping[str, Any]) -> list[str]:
    """The identities to lock for a device that was probed."""
    return list(probe.get("locks") or [probe["identity"]])


@contextlib.contextmanager
def one_lock(identity: str) -> Iterator[float]:
    """Hold one; yields the seconds that were waited for it. Waiting is said on stderr."""
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"hwfit-device-{name}.lock"
    # Opened for reading: a lock needs no more, and another user's file can be locked too.
    handle = open_lock_file(path)
    started = time.monotonic()
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"waiting for {identity}: another hwfit measures on it ({path})", file=sys.stderr, flush=True
            )
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield time.monotonic() - started
    finally:
        os.close(handle)


def open_lock_file(path: Path) -> int:
    """A handle on the file, made where it is not there."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
