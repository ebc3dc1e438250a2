"""Two of every four weights in a row become zero, the smaller two, and nothing else does."""

import numpy as np

from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.passes import prune_2_4

GENERATOR = np.random.default_rng(0)


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


def apply(**arrays):
    checkpoint = Checkpoint(arrays, {}, None, None, None)
    prune_2_4.apply(checkpoint)
    return checkpoint


def test_of_every_four_the_larger_two_stay():
    weights = normal(10, 24)
    got = prune_2_4.pruned(weights).reshape(-1, 4)
    fours = weights.reshape(-1, 4)
    assert ((got != 0).sum(axis=1) == 2).all()
    assert np.array_equal(got[got != 0], fours[got != 0])
    assert (np.where(got == 0, np.abs(fours), 0).max(1) <= np.where(got, np.abs(fours), np.inf).min(1)).all()


def test_equal_weights_do_not_blur_the_pattern():
    assert (prune_2_4.pruned(np.ones((3, 8), np.float32)).sum(axis=1) == 4).all()


def test_filters_count_as_rows_of_all_their_inputs():
    filters = normal(6, 4, 3, 3)
    got = apply(**{"conv.weight": filters}).arrays["conv.weight"]
    assert got.shape == filters.shape
    assert ((got.reshape(6, -1, 4) != 0).sum(axis=2) == 2).all()


def test_what_is_no_matrix_or_has_no_whole_fours_stays_and_is_named():
    arrays = {"a.weight": normal(8, 25), "a.bias": normal(8), "embed_tokens.weight": normal(8, 8)}
    checkpoint = apply(**arrays, **{"b.weight": normal(8, 8)})
    for name, array in arrays.items():
        assert np.array_equal(checkpoint.arrays[name], array)
    assert checkpoint.facts == {"skipped": ["a.weight"]}


def test_the_dtype_stays():
    assert prune_2_4.pruned(normal(4, 8).astype(np.float16)).dtype == np.float16
