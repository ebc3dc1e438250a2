"""Of every four consecutive weights the two smallest become zero (Mishra et al., *Accelerating Sparse Deep
Neural Networks*, 2021).

That is the pattern of NVIDIA's sparse tensor cores, which `sparse_2_4` makes use of; for everything else it
is half of the weights at zero. Fours are counted along the inputs of a matrix (out, in), of filters as
(out, in * height * width).
"""

from __future__ import annotations

import numpy as np

from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.passes.prune import is_prunable

GROUP, KEPT = 4, 2


def apply(checkpoint: Checkpoint) -> None:
    """Set two of every four weights to zero; the card names the matrices whose rows are no whole fours."""
    skipped = []
    for name, array in checkpoint.arrays.items():
        if not is_prunable(name, array):
            continue
        if array[0].size % GROUP:
            skipped.append(name)
        else:
            checkpoint.arrays = checkpoint.arrays | {name: pruned(array)}
    checkpoint.facts["skipped"] = skipped


def pruned(array: np.ndarray) -> np.ndarray:
    """Weights (out, ...) with the smaller two of every four in a row at zero; of equals the first stay."""
    fours = array.reshape(-1, GROUP)
    rank = np.argsort(-np.abs(fours), axis=1, kind="stable").argsort(axis=1, kind="stable")
    return np.where(rank < KEPT, fours, fours.dtype.type(0)).reshape(array.shape)
