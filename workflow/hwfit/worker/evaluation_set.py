"""The real inputs on which a cell is evaluated and timed, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hwfit.memory_prediction import buffer_count

Batch = dict[str, np.ndarray]


class EvaluationSet:
    """What `prepare` wrote: inputs by name, first axis the samples; labels and the fp32 outputs, or None."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        self.labels = arrays.pop("labels", None)
        self.reference = arrays.pop("reference", None)
        self.inputs = arrays
        self.samples = len(next(iter(arrays.values())))

    def batches(self, batch_size: int) -> Iterator[tuple[np.ndarray, Batch]]:
        """Every sample once, in whole batches with their rows: the last is filled from the first."""
        for start in range(0, self.samples, batch_size):
            rows = np.arange(start, start + batch_size) % self.samples
            yield rows, self.rows(rows)

    def buffers(self, batch_size: int) -> list[Batch]:
        """Distinct batches to rotate over, as many as there are and memory sensibly holds, two or more.

        The first of them are those of `batches`, so that evaluating gives their outputs; where one batch
        holds all samples, the next begins one later.
        """
        count = buffer_count(
            self.samples, batch_size, sum(array[:1].nbytes for array in self.inputs.values())
        )
        step = batch_size if self.samples > batch_size else 1
        return [self.rows((np.arange(batch_size) + k * step) % self.samples) for k in range(count)]

    def recombined(self, batch_size: int, shift: int, count: int) -> Iterator[Batch]:
        """Batches that no call has seen: along the last axis, one half of a sample and the other of another.

        So each value stays where it may stand, token ids and categories too. What has no such axis is left.
        """
        for k in range(count):
            rows = (np.arange(batch_size) + k) % self.samples
            left, right = self.rows(rows), self.rows((rows + shift) % self.samples)
            for name, array in left.items():
                if array.ndim > 1:
                    half = array.shape[-1] // 2
                    array[..., half:] = right[name][..., half:]
            yield left

    def rows(self, rows: np.ndarray) -> Batch:
        """Some samples, copied."""
        return {name: array[rows] for name, array in self.inputs.items()}
