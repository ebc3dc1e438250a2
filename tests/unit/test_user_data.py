"""Arrays of a user's own are read without pickles, and what is wrong with them is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwfit.worker import user_data
from hwfit.worker.errors import Unavailable
from hwfit.worker.prepare import evaluation_set, require_classes

X = np.random.default_rng(0).random((6, 3), np.float32)


def test_a_file_that_is_cut_short_or_of_another_kind_is_named(tmp_path: Path) -> None:
    whole, cut, other = tmp_path / "whole.npz", tmp_path / "cut.npz", tmp_path / "other.npz"
    np.savez(whole, x=X)
    assert np.array_equal(user_data.read(whole)["x"], X)
    cut.write_bytes(whole.read_bytes()[:-40])
    other.write_text("hello")
    for path in (cut, other):
        with pytest.raises(Unavailable, match=rf"{path.name} is cut short, or no \.npz file"):
            user_data.read(path)
    with other.open("wb") as stream:
        np.save(stream, X)
    with pytest.raises(Unavailable, match=r"holds one array without a name"):
        user_data.read(other)


def test_an_array_whose_bytes_are_cut_short_is_named(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        np.savez(tmp_path / "good.npz", x=X)
        content = zipfile.ZipFile(tmp_path / "good.npz").read("x.npy")
        archive.writestr("x.npy", content[:-8])
    with pytest.raises(Unavailable, match="is cut short"):
        user_data.read(path)


class Bomb:
    """Pickled, it leaves a trace where it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


def test_a_pickle_is_refused_and_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", allow_pickle=True, x=np.array([Bomb(tmp_path / "trace")], object))
    with pytest.raises(Unavailable, match="x holds Python objects, which are pickles"):
        user_data.read(tmp_path / "x.npz")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[1, np.nan], [np.inf, 0]], np.float32), "2 of the 4 values of x are NaN or infinite"),
        (np.array(["a", "b"]), "x is text, and the model takes numbers; name a tokenizer"),
        (np.array([1j]), "x is complex128"),
    ],
)
def test_inputs_are_finite_numbers(array: np.ndarray, expected: str) -> None:
    with pytest.raises(Unavailable, match=f"^mine: .*{expected}" if "NaN" in expected else expected):
        user_data.require_sound({"x": array}, "mine")


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({}, "holds no input array"),
        ({"labels": np.zeros(3)}, "holds no input array"),
        ({"x": X, "labels": np.zeros(3, int)}, "differ in length, or are empty: {'x': 6, 'labels': 3}"),
        ({"x": X[:0]}, "differ in length, or are empty: {'x': 0}"),
        ({"x": np.array(3.0)}, "differ in length, or are empty: {'x': 0}"),
        ({"reference": X}, "cannot be called reference"),
    ],
)
def test_arrays_have_samples_and_equally_many(dataset: dict[str, np.ndarray], expected: str) -> None:
    with pytest.raises(Unavailable) as caught:
        evaluation_set(dataset, None, None, "net", "mine.npz")
    assert expected in str(caught.value)


def test_the_test_part_of_a_data_set_is_what_a_model_of_ones_own_is_measured_on() -> None:
    parts = {"x_train": X, "y_train": np.zeros(6), "x_test": X[:2], "y_test": np.array([1, 0])}
    inputs, labels = evaluation_set(parts, None, None, "net", "digits")
    assert list(inputs) == ["x"] and len(inputs["x"]) == 2
    assert labels is not None and labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([0, 1, 2, 0, 1, 3]), "labels go from 0 to 3, the model has 3 classes"),
        (np.array([0.0] * 6), "labels are float64, expected whole numbers"),
        (np.zeros((6, 3), int), r"labels have shape \(6, 3\), expected \(6,\)"),
    ],
)
def test_labels_are_the_models_classes(labels: np.ndarray, expected: str) -> None:
    with pytest.raises(Unavailable, match=f"mine.npz: {expected}"):
        require_classes(X, labels, "mine.npz")
