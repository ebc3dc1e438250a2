"""What a run is trained on, and the messages where that is not possible."""

from __future__ import annotations

import numpy as np
import pytest

from hwfit.worker.errors import Unavailable, Unsupported
from hwfit.worker.training import data
from training import SAMPLES, write_samples

SOURCE = {"zoo": "lenet-300-100"}


def read(directory, **changes):
    return data.read(write_samples(directory / "data.npz", **changes), "classification", SOURCE)


def test_a_tenth_is_held_out_of_each_class_and_the_test_data_are_apart(tmp_path):
    found = read(tmp_path)
    assert [len(pair[1]) for pair in (found.train, found.validation, found.test)] == [288, 32, 40]
    assert np.bincount(found.validation[1]).tolist() == [8] * 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"y_train": np.zeros(SAMPLES, int)},
            "all 288 training labels are 0: there is nothing to tell apart",
        ),
        ({"y_train": np.arange(SAMPLES) % 12}, "labels are outside of 0 to 9, the network's outputs"),
        ({"y_train": np.arange(SAMPLES) % 4 - 1}, "the first is -1"),
        ({"y_train": np.arange(SAMPLES) % 4 / 2}, "y_train is float64 .320,.; a whole number is needed"),
        ({"y_train": np.zeros(5, int)}, r"a whole number is needed for each of the 320 samples"),
        ({"y_train": None}, "training needs x_train and y_train; the data have x_train, x_test, y_test"),
        ({"x_train": np.zeros((3, 1, 28, 28)), "y_train": np.arange(3)}, "six of a class are needed"),
    ],
)
def test_labels_that_teach_nothing_are_named(tmp_path, changes, says):
    with pytest.raises(Unsupported, match=says):
        read(tmp_path, **changes).require_labels(10, "data.npz")


def test_fewer_samples_than_a_batch_are_named(tmp_path):
    with pytest.raises(Unsupported, match="a batch takes 289 samples, and there are 288 to train on"):
        read(tmp_path).require_batch(289)


def test_inputs_that_are_no_numbers_are_named(tmp_path):
    broken = np.full((SAMPLES, 1, 28, 28), np.nan, np.float32)
    with pytest.raises(Unavailable, match="of x_train are NaN"):
        read(tmp_path, x_train=broken)


@pytest.mark.parametrize("task", ["features", "embedding"])
def test_tasks_without_labels_are_not_trained(tmp_path, task):
    with pytest.raises(Unsupported, match=f"this one's task is {task}"):
        data.read(write_samples(tmp_path / "data.npz"), task, SOURCE)


def test_a_text_is_read_in_windows_of_which_the_last_are_held_out(tmp_path):
    text = "".join(chr(ord("a") + number % 26) for number in range(128 * 20 + 1))
    np.savez(tmp_path / "text.npz", texts=np.array([text]))
    found = data.read(tmp_path / "text.npz", "generation", {"zoo": "byte-decoder"})
    inputs, following = found.train
    assert inputs.shape == following.shape == (18, 128)
    assert (inputs[0, 1:] == following[0, :-1]).all()
    assert inputs[1, 0] == following[0, -1]
    assert len(found.validation[0]) == 2


def test_a_text_too_short_is_named(tmp_path):
    np.savez(tmp_path / "text.npz", texts=np.array(["too short"]))
    with pytest.raises(Unsupported, match="the text has 9 tokens, too few for two windows of 128"):
        data.read(tmp_path / "text.npz", "generation", {"zoo": "byte-decoder"})
