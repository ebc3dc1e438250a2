"""Magnitude pruning takes the smallest, the share that was asked for, and no more."""

import numpy as np
import pytest

from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.passes import prune

GENERATOR = np.random.default_rng(0)
ARRAYS = {
    "a.weight": GENERATOR.standard_normal((40, 30)).astype(np.float32),
    "b.weight": 3 * GENERATOR.standard_normal((8, 4, 3, 3)).astype(np.float32),
    "a.bias": GENERATOR.standard_normal(40).astype(np.float32),
    "norm.weight": GENERATOR.standard_normal(40).astype(np.float32),
    "word_embeddings.weight": GENERATOR.standard_normal((50, 8)).astype(np.float32),
    "model.embed_tokens.weight": GENERATOR.standard_normal((50, 8)).astype(np.float32),
}
PRUNABLE = ("a.weight", "b.weight")


def apply(arrays, amount, scope="global"):
    checkpoint = Checkpoint(arrays, {}, None, None, None)
    prune.apply(checkpoint, amount, scope)
    return checkpoint.arrays


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_share_is_exact_and_the_smallest_go(amount):
    pruned = apply(ARRAYS, amount)
    before = np.concatenate([np.abs(ARRAYS[name]).ravel() for name in PRUNABLE])
    after = np.concatenate([pruned[name].ravel() for name in PRUNABLE])
    gone = after == 0
    assert gone.sum() == round(amount * before.size)
    if 0 < amount < 1:
        assert before[gone].max() <= before[~gone].min()
    kept = np.concatenate([ARRAYS[name].ravel() for name in PRUNABLE])
    assert np.array_equal(after[~gone], kept[~gone])


def test_biases_norms_and_embeddings_are_left_alone():
    pruned = apply(ARRAYS, 0.9)
    for name in set(ARRAYS) - set(PRUNABLE):
        assert np.array_equal(pruned[name], ARRAYS[name])


def test_equal_magnitudes_do_not_blur_the_share():
    pruned = apply({"a.weight": np.ones((10, 10), np.float32)}, 0.37)
    assert (pruned["a.weight"] == 0).sum() == 37


def test_nothing_prunable_is_no_error():
    arrays = {"a.bias": ARRAYS["a.bias"]}
    assert np.array_equal(apply(arrays, 0.5)["a.bias"], ARRAYS["a.bias"])


def test_the_dtype_stays():
    half = {"a.weight": ARRAYS["a.weight"].astype(np.float16)}
    assert apply(half, 0.5)["a.weight"].dtype == np.float16


def test_by_layer_each_loses_its_share():
    pruned = apply(ARRAYS, 0.25, "layer")
    for name in PRUNABLE:
        assert (pruned[name] == 0).mean() == 0.25
    together = apply(ARRAYS, 0.25)
    assert (together["b.weight"] == 0).mean() < 0.25 < (together["a.weight"] == 0).mean()
