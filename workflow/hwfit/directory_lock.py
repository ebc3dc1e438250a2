"""One workflow at a time in a directory, and who that is.

Snakemake's own lock does not say whose it is, and stays when its Snakemake is killed. This one is the
kernel's, which drops it with its holder however that ends; the file says who holds it, and is empty when
nobody does. What it says while nobody holds it was left by one that was killed.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hwfit.config_errors import mask_credentials

FILE = Path(".snakemake/hwfit.lock")
# Differs from start to start of a machine, and is the same in all of its containers.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Holder:
    """Who holds a directory: a process, its host and which start of that, since when, and by what command."""

    pid: int
    host: str
    boot: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}: {self.command}"

    @property
    def is_out_of_sight(self) -> bool:
        """Whether it may live where this kernel does not see it: some shared file systems keep locks to one
        node.
        """
        return self.host != socket.gethostname() and self.boot != boot_id()


class Held(Exception):
    """Another workflow has the directory: the message says which."""


@contextlib.contextmanager
def hold(file: Path = FILE) -> Iterator[Holder | None]:
    """Hold the directory that a lock file stands for; yields who was killed while it held it, or None.

    Where the file system knows no locks, nothing is held, and Snakemake's own lock is all there is.

    Raises Held.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(explain(holder_in(handle))) from None
        except OSError:
            yield None
            return
        before = holder_in(handle)
        if before and before.is_out_of_sight and any(locks_beside(file)):
            raise Held(
                f"{before}\nheld this directory and did not let go. Whether it still runs cannot be told"
                f" from {socket.gethostname()}: if it does not, run `make unlock` (snakemake --unlock)."
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(this_process())).encode(), 0)
        try:
            yield before
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def holder_of(file: Path = FILE) -> Holder | None:
    """Who holds a directory now; None where nobody does."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder_in(handle) or Holder(0, "an unknown host", "", "a moment ago", "unknown")
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def require_alone(file: Path = FILE) -> None:
    """Raises Held where a workflow runs in the directory."""
    if holder := holder_of(file):
        raise Held(explain(holder))


def explain(holder: Holder | None) -> str:
    """What somebody is told who comes second."""
    who = f"{holder}" if holder else "a process that has just begun"
    where = f"Another workflow runs in this directory ({Path.cwd()})"
    return f"{where}:\n{who}\nWait until it is done, or end it first."


def locks_beside(file: Path) -> list[Path]:
    """The locks of Snakemake's own."""
    return sorted((file.parent / "locks").glob("*.lock"))


def this_process() -> Holder:
    """Who writes this."""
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return Holder(os.getpid(), socket.gethostname(), boot_id(), since, shown(sys.argv))


def shown(command: Sequence[str]) -> str:
    """A command as it can be told: short, and without credentials of an address in it."""
    path, *arguments = Path(command[0]), *command[1:]
    # `python -m snakemake` is called by a file of its package.
    name = path.parent.name if path.name == "__main__.py" else path.name
    told = [mask_credentials(each) if "@" in each else each for each in arguments]
    text = shlex.join([name, *told])
    return text if len(text) <= 200 else text[:199] + "…"


def boot_id() -> str:
    """Which start of this machine's kernel this is; empty where it does not tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def holder_in(handle: int) -> Holder | None:
    """Who an open lock file says holds it."""
    try:
        return Holder(**json.loads(os.pread(handle, 4096, 0)))
    except (ValueError, TypeError):
        return None
