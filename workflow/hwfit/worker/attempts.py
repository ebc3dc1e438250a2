"""What was begun, and what came of it: the log by which a job that is killed again and again is known."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from hwfit.worker.child import now
from hwfit.worker.errors import NotWritten, writing


class Attempts:
    """The log of a job's attempts: one JSON line when a batch size begins, one when it has a row.

    Others say that a worker was lost before it began, or that one that began is released: what ended it had
    nothing to do with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.length_before_begin = 0

    def append(self, event: str, batch_size: int, **more: Any) -> None:
        line = {"at": now(), "event": event, "batch_size": batch_size, "pid": os.getpid()} | more
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            length = self.write(json.dumps(line).encode())
        if event == "begin":
            self.length_before_begin = length

    def write(self, line: bytes) -> int:
        """Add a line, on one of its own even where the one before was cut short; returns where it begins."""
        with self.path.open("ab+") as stream:
            length = stream.seek(0, os.SEEK_END)
            is_cut_short = length and os.pread(stream.fileno(), 1, length - 1) != b"\n"
            stream.write((b"\n" if is_cut_short else b"") + line + b"\n")
        return length

    def release(self, batch_size: int, subject: str) -> None:
        """Take back that a batch size began: what ended it has nothing to do with it."""
        try:
            self.append("released", batch_size, subject=subject)
        except NotWritten:
            # On a full disk there is always room for less.
            os.truncate(self.path, self.length_before_begin)

    def interrupted(self, batch_size: int, subject: str) -> int:
        """How often this batch size began and has neither a row nor a worker that is accounted for."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return 0
        count = 0
        for text in lines:
            with contextlib.suppress(ValueError, AttributeError, KeyError, RecursionError, TypeError):
                line = json.loads(text)
                if line.get("batch_size") == batch_size and line.get("subject") == subject:
                    after = {"begin": count + 1, "lost": count + 1, "released": max(count - 1, 0)}
                    count = after.get(line["event"], 0)
        return count
