"""From a batch of samples to what an ONNX file takes: constants added, the batch where the model has it.

An entry of a card's `inputs` has `name`, `dtype` and `shape` (of one sample), and where that is not all:
`batch_axis`, where the batch stands in the model's layout (default 0; None: nowhere), and `value`, a
constant in place of data. The card's `batch_size` is the only one that the file takes, where it has one;
`output` names the output that is compared, and `output_axis` says where its batch stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwfit.worker.errors import Unsupported

Batch = Mapping[str, np.ndarray]
Entry = Mapping[str, Any]


def arranged(batch: Batch, card: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that the model takes, by name and in its order.

    Parameters
    ----------
    batch : arrays by name, first axis the samples; constants are not in it

    Raises Unsupported where the file takes batches of another size alone.
    """
    size = len(next(iter(batch.values())))
    fixed = card.get("batch_size")
    if fixed not in (None, size):
        raise Unsupported(
            f"the ONNX file takes batches of {fixed} alone, since that is written in its inputs"
        )
    return {entry["name"]: arranged_input(batch, entry, size) for entry in card["inputs"]}


def arranged_input(batch: Batch, entry: Entry, size: int) -> np.ndarray:
    """One input as the model takes it."""
    axis, dtype = entry.get("batch_axis", 0), entry["dtype"]
    if "value" in entry:
        shape = list(entry["shape"])
        if axis is not None:
            shape.insert(axis, size)
        return np.array(np.broadcast_to(np.array(entry["value"], dtype), shape), order="C")
    # Not ascontiguousarray, which makes a vector of a scalar.
    return np.asarray(np.moveaxis(batch[entry["name"]], 0, axis), dtype, order="C")


def samples_first(output: np.ndarray, card: Mapping[str, Any]) -> np.ndarray:
    """An output with the samples on its first axis."""
    return np.moveaxis(output, card.get("output_axis", 0), 0)


def with_data(entries: Sequence[Entry]) -> list[Entry]:
    """The inputs that are no constants."""
    return [entry for entry in entries if "value" not in entry]
