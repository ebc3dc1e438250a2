"""Batches of real inputs: every sample once, distinct buffers, and inputs that no call has seen."""

import numpy as np
import pytest

from hwfit.worker.evaluation_set import EvaluationSet

GENERATOR = np.random.default_rng(0)


@pytest.fixture
def make_set(tmp_path):
    def make(samples, **inputs):
        inputs = inputs or {"x": GENERATOR.random((samples, 3, 8), np.float32)}
        np.savez(tmp_path / "evaluation.npz", labels=np.arange(samples), **inputs)
        return EvaluationSet(tmp_path / "evaluation.npz")

    return make


@pytest.mark.parametrize(("samples", "batch_size"), [(10, 1), (10, 4), (10, 10), (3, 8), (1, 4)])
def test_every_sample_is_evaluated_once_in_whole_batches(make_set, samples, batch_size):
    data = make_set(samples)
    seen = []
    for rows, batch in data.batches(batch_size):
        assert len(batch["x"]) == batch_size
        assert np.array_equal(batch["x"], data.inputs["x"][rows])
        seen += list(rows[: min(batch_size, samples - rows[0])])
    assert seen == list(range(samples))


@pytest.mark.parametrize(("samples", "batch_size"), [(10, 1), (10, 4), (10, 10), (3, 8)])
def test_buffers_differ_and_are_those_of_the_evaluation(make_set, samples, batch_size):
    data = make_set(samples)
    buffers = data.buffers(batch_size)
    assert 2 <= len(buffers) <= 4
    assert len({buffer["x"].tobytes() for buffer in buffers}) == len(buffers)
    for (_, batch), buffer in zip(data.batches(batch_size), buffers, strict=False):
        assert np.array_equal(batch["x"], buffer["x"])


def test_recombined_inputs_are_new_and_each_value_stays_in_its_column(make_set):
    """Columns of different vocabularies, as a table of categories has them."""
    sizes = (1000, 10, 5, 3)
    x = np.stack([GENERATOR.integers(0, size, 50) for size in sizes], axis=1)
    data = make_set(50, x=x)
    known = {row.tobytes() for row in x}
    new = [batch["x"] for batch in data.recombined(1, 1, 8)]
    assert sum(batch[0].tobytes() not in known for batch in new) >= 7
    for batch in new:
        assert all(batch[0, column] in x[:, column] for column in range(len(sizes)))
    assert np.array_equal(data.inputs["x"], x)


def test_inputs_of_several_arrays_are_recombined_together(make_set):
    ids = GENERATOR.integers(1, 100, (20, 6))
    mask = np.tile([1, 1, 1, 1, 0, 0], (20, 1))
    data = make_set(20, ids=ids * mask, mask=mask)
    for batch in data.recombined(4, 1, 3):
        assert np.array_equal(batch["ids"] > 0, batch["mask"] > 0)
