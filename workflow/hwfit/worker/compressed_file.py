"""A network's weights in few bytes: sparse layers of shared weights, entropy-coded; other arrays as they are.

The file, little-endian:

| part | what it is |
|---|---|
| magic, 8 bytes | `HWFITDC` and the version |
| header's length, 4 bytes | |
| header | JSON, deflated: each array's name, shape and kind, in order; counts of the symbols |
| arrays | those kept as they are, and codebooks; in float16 where that holds each value exactly |
| words of 32 bits | a range coder's stream: for each sparse layer where its weights are, then which |
| checksum, 8 bytes | the beginning of SHA-256 over all that comes before |

A layer is coded as a matrix of its first axis and the rest. First come the rows' classes, about the logarithm
of how many weights each has; then each place holds a weight or not, with a probability from its row's class
and from how many weights the column, and perhaps its neighbours, had in the rows above: an input that few
units look at is looked at by few others. Every probability comes from counts, in integers, and is a multiple
of 2^-16, so that each machine decodes alike.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import constriction
import numpy as np

MAGIC = b"HWFITDC\x01"
CHECKSUM_BYTES = 8
SCALE = 1 << 16
# What makes a place of a row probable: its column's count times this, and what all columns start with.
OWN, START = 16, 16
# The same for the counts of the columns on both sides, whichever takes less: those of pixels are alike,
# those of units are not.
NEIGHBOURS = (0, 4)
CERTAIN = SCALE - SCALE // 64

BIT = constriction.stream.model.Bernoulli(perfect=False)


class CompressedFileError(ValueError):
    """The bytes are no compressed file, or not all of one as it was written."""


def encode(arrays: Mapping[str, np.ndarray], shared: Collection[str]) -> bytes:
    """The file's bytes.

    Parameters
    ----------
    arrays : by name; those that are not shared come back byte by byte
    shared : names of floating arrays of two axes or more, mostly zero, whose other values are few. Their
        negative zeros come back as zeros
    """
    header: list[dict[str, Any]] = []
    plain: list[bytes] = []
    encoder = constriction.stream.queue.RangeEncoder()
    for name, array in arrays.items():
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
        values = array
        if name in shared:
            values, symbols = np.unique(array[array != 0], return_inverse=True)
            entry["counts"] = np.bincount(symbols, minlength=len(values)).tolist()
            mask = as_matrix(array != 0)
            entry["neighbour"] = min(NEIGHBOURS, key=lambda weight: bits_of_places(mask, weight))
            entry["classes"] = encode_places(encoder, mask, entry["neighbour"])
            if len(values) > 1:
                encoder.encode(symbols.astype(np.int32), table(entry["counts"]))
        kept, entry["kept"] = narrowest(values)
        plain.append(kept)
        header.append(entry)
    head = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    words = encoder.get_compressed().astype("<u4").tobytes()
    content = b"".join([MAGIC, struct.pack("<I", len(head)), head, *plain, words])
    return content + checksum(content)


def decode(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file. Raises CompressedFileError where its bytes are not those that were written."""
    header, start = read_header(content)
    plain = []
    for entry in header:
        count = len(entry["counts"]) if "counts" in entry else math.prod(entry["shape"])
        values = np.frombuffer(content, np.dtype(entry["kept"]).newbyteorder("<"), count, start)
        plain.append(values.astype(entry["dtype"]))
        start += values.nbytes
    words = np.frombuffer(content[start:-CHECKSUM_BYTES], "<u4").astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)
    arrays = {}
    for entry, values in zip(header, plain, strict=True):
        if "counts" not in entry:
            arrays[entry["name"]] = values.reshape(entry["shape"])
            continue
        array = np.zeros(entry["shape"], entry["dtype"])
        shape = as_matrix(array).shape
        places = decode_places(decoder, shape, entry["classes"], entry["neighbour"]).reshape(array.shape)
        symbols = np.zeros(places.sum(), np.int32)
        if len(values) > 1:
            symbols = decoder.decode(table(entry["counts"]), len(symbols))
        array[places] = values[symbols]
        arrays[entry["name"]] = array
    return arrays


def read_header(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """The header of a file whose bytes are as they were written, and where it ends."""
    if content[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise CompressedFileError("this is no compressed file of hwfit's: it does not begin with HWFITDC")
    if content[len(MAGIC) - 1 : len(MAGIC)] != MAGIC[-1:]:
        raise CompressedFileError(f"the file is not of version {MAGIC[-1]}, which is read here")
    if content[-CHECKSUM_BYTES:] != checksum(content[:-CHECKSUM_BYTES]):
        raise CompressedFileError("the file is damaged or cut short: its checksum is not that of its bytes")
    start = len(MAGIC) + 4
    end = start + struct.unpack_from("<I", content, len(MAGIC))[0]
    return json.loads(zlib.decompress(content[start:end])), end


def checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:CHECKSUM_BYTES]


def narrowest(values: np.ndarray) -> tuple[bytes, str]:
    """The values' bytes, in float16 where all of them survive it, and the name of their type."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            half = values.astype(np.float16)
        if half.astype(values.dtype).tobytes() == values.tobytes():
            values = half
    return values.astype(values.dtype.newbyteorder("<")).tobytes(), values.dtype.name


def as_matrix(array: np.ndarray) -> np.ndarray:
    return array.reshape(array.shape[0], -1)


def table(counts: list[int]) -> Any:
    """A model of symbols that came so often each."""
    return constriction.stream.model.Categorical(np.array(counts, np.float64), perfect=False)


def bits_of_places(mask: np.ndarray, neighbour: int) -> int:
    encoder = constriction.stream.queue.RangeEncoder()
    encode_places(encoder, mask, neighbour)
    return int(encoder.num_bits())


def encode_places(encoder: Any, mask: np.ndarray, neighbour: int) -> list[int]:
    """Code where a matrix has weights; returns how many rows there are of each class."""
    classes = np.array([class_of(int(count)) for count in mask.sum(1)], np.int32)
    counts: list[int] = np.bincount(classes).tolist()
    if len(counts) > 1:
        encoder.encode(classes, table(counts))
    seen = np.zeros(mask.shape[1], np.int64)
    for row, row_class in zip(mask, classes, strict=True):
        if row_class:
            encoder.encode(row.astype(np.int32), BIT, probabilities(seen, int(row_class), neighbour))
            seen += row
    return counts


def decode_places(decoder: Any, shape: tuple[int, int], counts: list[int], neighbour: int) -> np.ndarray:
    """The mask (rows, columns) that `encode_places` coded."""
    classes = decoder.decode(table(counts), shape[0]) if len(counts) > 1 else np.zeros(shape[0], int)
    mask = np.zeros(shape, bool)
    seen = np.zeros(shape[1], np.int64)
    for row, row_class in zip(mask, classes, strict=True):
        if row_class:
            row[:] = decoder.decode(BIT, probabilities(seen, int(row_class), neighbour))
            seen += row
    return mask


def class_of(count: int) -> int:
    """0 for none; then two classes for each doubling: 1, 2, 3, 4-5, 6-7, 8-11, 12-15, …"""
    if count < 2:
        return count
    doublings = count.bit_length() - 1
    return 2 * doublings + (count >> (doublings - 1) & 1)


def doubled_mean(row_class: int) -> int:
    """Twice the mean of a class's smallest and largest counts."""
    if row_class < 2:
        return 2 * row_class
    doublings, upper = divmod(row_class, 2)
    half = 1 << (doublings - 1)
    smallest = (2 + upper) * half
    return 2 * smallest + half - 1


def probabilities(seen: np.ndarray, row_class: int, neighbour: int) -> np.ndarray:
    """How probable a weight is at each place of a row, given the counts of the rows above (columns,)."""
    neighbours = np.zeros_like(seen)
    neighbours[1:] += seen[:-1]
    neighbours[:-1] += seen[1:]
    weights = OWN * seen + neighbour * neighbours + START
    scaled = doubled_mean(row_class) * weights * SCALE // (2 * int(weights.sum()))
    found: np.ndarray = np.clip(scaled, 1, CERTAIN) / SCALE
    return found
