"""What an ONNX file says of its inputs, put together with what models.yaml says and with the data.

Pure logic: a signature is a list of arguments, whoever read it from the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwfit.worker.arrangement import with_data
from hwfit.worker.errors import Unavailable, Unsupported

Told = Mapping[str, Mapping[str, Any]]
Entry = dict[str, Any]
SEED = 0
# Generated inputs fill no more memory than this.
MOST_BYTES = 500e6


@dataclass(frozen=True)
class Argument:
    """An input of the file: `shape` with None for an axis left open, `dtype` empty where numpy has none."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    type_in_file: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.dtype or self.type_in_file} {shown(self.shape)}"


def described(signature: Sequence[Argument], told: Told) -> tuple[list[Entry], int | None]:
    """The file's inputs as a card has them, and the batch size, where the file fixes it.

    Parameters
    ----------
    told : `inputs` of models.yaml, by name

    Returns entries whose `shape` may still hold None, which the data settle. Raises Unsupported where what
    models.yaml says does not fit the file, or says too little.
    """
    names = [argument.name for argument in signature]
    if unknown := [name for name in told if name not in names]:
        raise Unsupported(
            f"models.yaml describes the input {', '.join(unknown)}; the file takes {listing(signature)}"
        )
    entries, sizes = [], {}
    for argument in signature:
        entry, size = described_input(argument, told.get(argument.name, {}))
        entries.append(entry)
        if size is not None:
            sizes[argument.name] = size
    if not with_data(entries):
        raise Unsupported("every input is a constant; at least one has to have data")
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise Unsupported(
            f"the first axis is the batch unless models.yaml says otherwise, and it differs: {found}; say "
            "where the batch stands, e.g. inputs: {<name>: {batch_axis: 1}}"
        )
    return entries, next(iter(sizes.values()), None)


def described_input(argument: Argument, told: Mapping[str, Any]) -> tuple[Entry, int | None]:
    """One input as a card has it, and the size that its batch axis has in the file."""
    name = argument.name
    if not argument.dtype:
        raise Unsupported(f"its input {argument}: hwfit has no such values")
    axis = told.get("batch_axis", 0)
    # ONNX Runtime tells of an unknown rank as of a scalar.
    is_scalar = not argument.shape and "shape" not in told
    if axis == "none" or is_scalar:
        axis = None
        if "value" not in told:
            said = f"inputs: {{{name}: {{value: …}}}}"
            raise Unsupported(f"its input {argument} has no batch: give it a constant in models.yaml, {said}")
    shape, size = list(argument.shape), None
    if axis is not None and shape:
        if axis >= len(shape):
            raise Unsupported(f"models.yaml has batch_axis {axis} for {argument}, which has no such axis")
        size = shape.pop(axis)
    if "shape" in told:
        given = list(told["shape"])
        fits = len(given) == len(shape) and all(a in (None, b) for a, b in zip(shape, given, strict=True))
        if argument.shape and not fits:
            raise Unsupported(
                f"models.yaml has shape {given} for a sample of {argument}, whose sizes beside the batch are "
                f"{shown(shape)}"
            )
        shape = given
    entry: Entry = {"name": name, "dtype": argument.dtype, "shape": shape}
    if axis != 0:
        entry["batch_axis"] = axis
    if "value" in told:
        sizes = settled(name, shape)
        try:
            value = np.array(told["value"], argument.dtype)
            np.broadcast_to(value, sizes)
            if value.dtype.kind in "iub" and not np.array_equal(value, np.array(told["value"])):
                raise ValueError(f"{told['value']} is no {argument.dtype}")
        except (ValueError, OverflowError) as error:
            raise Unsupported(f"the value of {argument} in models.yaml does not fit: {error}") from error
        entry["value"] = told["value"]
    return entry, size


def settled(name: str, shape: Sequence[int | None]) -> list[int]:
    """The sizes of a sample. Raises Unsupported where one is still open."""
    sizes = [size for size in shape if size is not None]
    if len(sizes) != len(shape):
        raise Unsupported(
            f"a sample of its input {name} has sizes {shown(shape)}: say which in models.yaml, "
            f"e.g. inputs: {{{name}: {{shape: {[size or 16 for size in shape]}}}}}"
        )
    return sizes


def shown(shape: Sequence[int | None]) -> str:
    """Sizes as a message has them."""
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def generated(entries: Sequence[Entry], told: Told, samples: int) -> dict[str, np.ndarray]:
    """Inputs of the kind that the signature describes, the same each time: normally distributed numbers,
    whole numbers of 0 and 1, or numbers of the range that models.yaml gives.
    """
    wanted = with_data(entries)
    sizes = {entry["name"]: settled(entry["name"], entry["shape"]) for entry in wanted}
    one = sum(np.dtype(e["dtype"]).itemsize * math.prod(sizes[e["name"]]) for e in wanted)
    samples = int(max(1, min(samples, MOST_BYTES // one)))
    arrays = {}
    for number, entry in enumerate(wanted):
        random, dtype = np.random.default_rng((SEED, number)), np.dtype(entry["dtype"])
        shape, ends = (samples, *sizes[entry["name"]]), told.get(entry["name"], {}).get("range")
        low, high = ends or (0, 1)
        made: np.ndarray
        if dtype.kind != "f":
            made = random.integers(round(low), round(high), size=shape, endpoint=True)
        else:
            made = (
                random.uniform(low, high, size=shape) if ends else random.standard_normal(shape, np.float32)
            )
        arrays[entry["name"]] = made.astype(dtype)
    return arrays


def matched(entries: Sequence[Entry], arrays: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """The arrays of a user's data that the model takes, in its order and in its number formats.

    A single array fits a single input, whatever they are called. Raises Unavailable that says what the model
    takes and what the data have.
    """
    wanted = with_data(entries)
    names = [entry["name"] for entry in wanted]
    if len(wanted) == len(arrays) == 1:
        arrays = dict(zip(names, arrays.values(), strict=True))
    if missing := [name for name in names if name not in arrays]:
        takes = "; ".join(f"{e['name']} {e['dtype']} {shown(e['shape'])} a sample" for e in wanted)
        has = "; ".join(f"{k} {v.dtype} {list(v.shape[1:])}" for k, v in arrays.items()) or "none"
        raise Unavailable(f"{where} lacks {', '.join(missing)}: the model takes {takes}; the data have {has}")
    taken = {}
    for entry in wanted:
        name, array = entry["name"], arrays[entry["name"]]
        sizes, shape = list(array.shape[1:]), entry["shape"]
        unknown = not shape and bool(sizes)
        fits = len(sizes) == len(shape) and all(a in (None, b) for a, b in zip(shape, sizes, strict=True))
        if not fits and not unknown:
            raise Unavailable(
                f"{where}: a sample of {name} has shape {sizes}, the model takes {shown(shape)}"
            )
        taken[name] = converted(array, np.dtype(entry["dtype"]), f"{where}: {name}")
    return taken


def converted(array: np.ndarray, dtype: np.dtype, where: str) -> np.ndarray:
    """The array in another number format. Raises Unavailable where that would change what it says."""
    if dtype.kind == "f" and array.dtype.kind in "fiub":
        return array.astype(dtype)
    with np.errstate(invalid="ignore"):
        done = array.astype(dtype) if array.dtype.kind in "fiub" else None
    if done is None or not np.array_equal(done, array):
        raise Unavailable(f"{where} is {array.dtype}, and the model takes {dtype}: its values do not fit")
    return done


def listing(signature: Sequence[Argument]) -> str:
    """The inputs in one line."""
    return "; ".join(str(argument) for argument in signature) or "none"
