"""A SQLite store's way to write: a log ahead of the database, where the file system allows it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

# Of one host. SQLite's write-ahead log needs memory that all who open the database share.
LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "overlay", "tmpfs")


def write_ahead(database: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Have a database, new or not, written ahead from now on; whether it is.

    MLflow commits several times a run, and each commit then waits for the disk once in place of three or four
    times. Who reads it in the UI does not hold up who writes. It is as safe as before: nothing that was
    committed is lost when the power goes.
    """
    if file_system(database.parent, mounts) not in LOCAL:
        return False
    try:
        with closing(sqlite3.connect(database, timeout=1)) as connection:
            return connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    except sqlite3.Error:
        # Somebody else writes just now: this time as it was.
        return False


def unescaped(place: str) -> str:
    """A path as /proc/mounts writes it, where blanks stand in octal (fstab(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)


def file_system(directory: Path, mounts: Path) -> str:
    """The type of the file system that a directory is on; empty where the host does not tell."""
    try:
        lines = [line.split(" ") for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    here = directory.resolve()
    # The last of those on one path hides the others.
    found = [
        (len(place), number, kind)
        for number, (_, place, kind, *_) in enumerate(lines)
        if here.is_relative_to(unescaped(place))
    ]
    return max(found)[2] if found else ""
