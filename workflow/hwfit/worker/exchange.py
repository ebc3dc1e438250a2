"""How a composite's worker and its members talk: two pipes that wake each other, and memory that both see.

A message is a header of 24 bytes, which a pipe passes on whole, and perhaps JSON behind it. Arrays go
through a file in memory (memfd_create(2)) without a name, so that nothing is left behind whoever dies.
Whoever waits sleeps in read(2) or poll(2).
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# What it is, a slot, seconds, the length of the JSON behind it.
HEADER = struct.Struct("<4sIdQ")
ALIGNMENT = 64

# What a member is told.
OPEN, PLACE, RUN, FETCH = b"open", b"plac", b"run ", b"fetc"
TELL, FORGET, RESET, PING = b"tell", b"forg", b"rese", b"ping"
# What it answers.
DONE, FAILED = b"done", b"fail"


@dataclass(frozen=True)
class Message:
    """One message; `seconds` is how long a member computed."""

    what: bytes
    slot: int
    seconds: float
    body: Any


class Closed(Exception):
    """The other side is gone."""


class Channel:
    """One side's ends: where it reads, where it writes, and the shared memory."""

    def __init__(self, reader: int, writer: int, memory: int) -> None:
        self.reader = reader
        self.writer = writer
        self.memory = memory
        self.map: mmap.mmap | None = None

    def send(self, what: bytes, slot: int = 0, seconds: float = 0.0, body: Any = None) -> None:
        """Write a message. Raises Closed where nobody reads any more."""
        behind = b"" if body is None else json.dumps(body).encode()
        content = HEADER.pack(what, slot, seconds, len(behind)) + behind
        try:
            while content:
                content = content[os.write(self.writer, content) :]
        except BrokenPipeError as error:
            raise Closed from error

    def receive(self) -> Message:
        """Wait for a message. Raises Closed where none can come any more."""
        what, slot, seconds, length = HEADER.unpack(self._read(HEADER.size))
        return Message(what, slot, seconds, json.loads(self._read(length)) if length else None)

    def _read(self, length: int) -> bytes:
        content = b""
        while len(content) < length:
            more = os.read(self.reader, length - len(content))
            if not more:
                raise Closed
            content += more
        return content

    def write_arrays(self, arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        """Copy arrays to the shared memory; returns where each lies, for `read_arrays` on the other side."""
        layout, end = [], 0
        for name, array in arrays.items():
            entry = {"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "offset": end}
            layout.append(entry)
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        for entry, (name, view) in zip(layout, self._views(layout, end), strict=True):
            view[...] = arrays[name]
            entry["end"] = end
        return layout

    def read_arrays(self, layout: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Copies of the arrays that the other side wrote."""
        return {name: view.copy() for name, view in self._views(layout, layout[0]["end"])}

    def _views(self, layout: Iterable[Mapping[str, Any]], end: int) -> Iterable[tuple[str, np.ndarray]]:
        if self.map is None or len(self.map) < end:
            size = max(os.fstat(self.memory).st_size, 1 << max(end - 1, 4095).bit_length())
            os.ftruncate(self.memory, size)
            self.map = mmap.mmap(self.memory, size)
        for entry in layout:
            count = int(np.prod(entry["shape"]))
            flat = np.frombuffer(self.map, np.dtype(entry["dtype"]), count, entry["offset"])
            yield entry["name"], flat.reshape(entry["shape"])
