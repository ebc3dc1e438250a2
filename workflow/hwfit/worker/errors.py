"""What a worker raises when a combination cannot be measured, by the status it becomes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


class Unsupported(Exception):
    """The runtime or the device cannot do what was asked: the message says what and why."""


class Unavailable(Exception):
    """What has to be fetched, or what a user has to provide, cannot be used: the message says why."""


class Incorrect(Exception):
    """The outputs are not those of the model: the message says by how much."""


def lacking(error: BaseException) -> str | None:
    """What to say of an error that is a package missing in this Python; None of any other."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or name in ("", "hwfit"):
        return None
    return (
        f"the Python of this environment has no module {name}: install its package, "
        "as the environment's file in envs/ pins it (`environments: host` installs nothing)"
    )


# How systems and libraries say that a disk, or a quota of it, is full.
DISK_FULL = ("no space left on device", "disk quota exceeded", "file too large")


class NotWritten(BaseException):
    """A file of a run could not be written: the message says which, why, and what to do.

    It says nothing of the combination and becomes no row; so that nobody makes one of it, it is no Exception.
    """


@contextlib.contextmanager
def writing(path: Path, remedy: str = "free some space, and run again") -> Iterator[None]:
    """Turns what the system says of a write into NotWritten."""
    try:
        yield
    except OSError as error:
        raise NotWritten(f"{path} could not be written ({error.strerror or error}): {remedy}") from error


def require_space(error: BaseException | str) -> None:
    """Raises NotWritten where an error, or what a process said of one, is that of a full disk.

    That is no fault of what was under way: nothing is recorded of it, and another run makes it.
    """
    text = str(error)
    if any(phrase in text.lower() for phrase in DISK_FULL):
        raise NotWritten(f"{text.strip().splitlines()[0]}: free some space, and run again")
