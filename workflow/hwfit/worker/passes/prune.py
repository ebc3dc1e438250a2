"""Magnitude pruning: zero the smallest weights, over all layers together (Han et al., NeurIPS 2015).

Dense kernels multiply by the zeros all the same: it saves storage once compressed, and time only where a
runtime has sparse kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwfit.worker.checkpoint import Checkpoint


def apply(checkpoint: Checkpoint, amount: float, scope: str = "global") -> None:
    """Set a share of the prunable weights to zero: of all of them together, or of each layer's."""
    names = [name for name, array in checkpoint.arrays.items() if is_prunable(name, array)]
    for group in [names] if scope == "global" else [[name] for name in names]:
        checkpoint.arrays = pruned(checkpoint.arrays, group, amount)


def pruned(arrays: Mapping[str, np.ndarray], names: Sequence[str], amount: float) -> dict[str, np.ndarray]:
    """The arrays, with the given share of those that are named set to zero, the smallest first."""
    magnitudes = np.concatenate([np.abs(arrays[name]).ravel() for name in names] or [np.empty(0)])
    count = round(amount * magnitudes.size)
    if not count:
        return dict(arrays)
    # By rank, not by threshold: where magnitudes are equal the share stays exact.
    zeroed = np.zeros(magnitudes.size, bool)
    zeroed[np.argpartition(magnitudes, count - 1)[:count]] = True
    found, start = dict(arrays), 0
    for name in names:
        size = arrays[name].size
        mask = zeroed[start : start + size].reshape(arrays[name].shape)
        found[name] = np.where(mask, arrays[name].dtype.type(0), arrays[name])
        start += size
    return found


# How embeddings are called: by BERT and its kin, Llama, GPT-2.
EMBEDDINGS = ("embedding", "embed_tokens", "wte.", "wpe.")


def is_prunable(name: str, array: np.ndarray) -> bool:
    """Whether an array of a checkpoint holds the weights of products.

    These are the matrices and filters (two axes or more) that are called weights (`fc.weight`,
    `lstm.weight_ih_l0`), embeddings left out, since a zeroed embedding is a word that lost its meaning, not a
    connection that is not needed.
    """
    is_embedding = any(word in name for word in EMBEDDINGS)
    return array.ndim >= 2 and "weight" in name.rpartition(".")[2] and not is_embedding
