"""A user's images, texts and IDX files become arrays, or the message names what is wrong with which file."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from test_data import write_idx

from hwfit.__main__ import main
from hwfit.data import DataError
from hwfit.input_sections import Image, Text
from hwfit.own_data import as_floats, files_read, folder_state, read_images, read_text, spread, write_own_data


def write_image(path: Path, value: int, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new(mode, size, value if mode == "L" else (value, 0, 0)).save(path)


def written(tmp_path: Path, **asked: object) -> dict[str, np.ndarray]:
    write_own_data({"is_zoo": False} | asked, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as stored:
        return {name: stored[name] for name in stored.files}


def test_class_folders_are_labels_by_their_sorted_names(tmp_path: Path) -> None:
    for value, kind in enumerate(("zebra", "ant", "my cat")):
        for number in range(2):
            write_image(tmp_path / "photos" / kind / f"picture {number}.png", 100 * value)
    arrays = written(tmp_path, data=f"{tmp_path}/photos", image={"size": [8, 10]})
    assert arrays["x"].shape == (6, 3, 8, 10)
    assert arrays["labels"].tolist() == [0, 0, 1, 1, 2, 2]
    # ant, my cat, zebra
    assert np.allclose(arrays["x"][:, 0].mean(axis=(1, 2)) * 255, [100, 100, 200, 200, 0, 0], atol=1)
    assert arrays["x"][:, 1:].max() == 0


def test_class_folders_that_are_numbers_are_the_labels(tmp_path: Path) -> None:
    for kind in ("10", "9", "207"):
        write_image(tmp_path / "photos" / kind / "a.jpg", 0)
    assert sorted(read_images(tmp_path / "photos", Image(size=4), 9)["labels"]) == [9, 10, 207]


def test_a_flat_folder_has_no_labels_and_what_is_no_image_is_skipped_with_a_count(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{{odd}} *{number}.png", 9)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.png").write_bytes(b"")
    arrays = read_images(tmp_path, Image(size=4), 100)
    assert set(arrays) == {"x", "provenance"}
    assert len(arrays["x"]) == 3
    assert "3 of 4 images, 3 files skipped" in str(arrays["provenance"])


@pytest.mark.parametrize("name", ["notes.txt", "broken.png", None])
def test_a_folder_without_images_is_named(tmp_path: Path, name: str | None) -> None:
    if name:
        (tmp_path / name).write_text("hello")
    with pytest.raises(DataError, match=rf"{tmp_path} holds no images .*{1 if name else 0} files skipped"):
        read_images(tmp_path, Image(), 10)


def test_images_keep_their_proportions_and_lose_their_edges(tmp_path: Path) -> None:
    """A white image with a black frame: a crop of half the side is white alone."""
    pixels = np.zeros((40, 80), np.uint8)
    pixels[5:-5, 5:-5] = 255
    Pillow.fromarray(pixels).save(tmp_path / "frame.png")
    whole = read_images(tmp_path, Image(size=20, channels=1), 1)["x"][0, 0]
    middle = read_images(tmp_path, Image(size=20, channels=1, crop=0.5), 1)["x"][0, 0]
    # The square middle of the width: black above and below, not at the sides.
    assert whole[0].max() < 0.1 and whole[10, 0] > 0.9
    assert middle.min() > 0.9


def test_sixteen_bits_a_pixel_are_not_cut_off(tmp_path: Path) -> None:
    Pillow.fromarray(np.full((4, 4), 128 * 256, np.uint16)).save(tmp_path / "deep.png")
    assert np.allclose(read_images(tmp_path, Image(size=4), 1)["x"], 128 / 255)


def test_bytes_become_floats_by_scale_mean_and_std() -> None:
    images = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    options = Image(size=2, scale=1.0, mean=[127.0], std=[128.0], layout="channels_last")
    assert np.allclose(as_floats(images, options), (images.astype(float) - 127) / 128)
    each = as_floats(images, Image(size=2, mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 4.0]))
    assert each.shape == (2, 3, 2, 2)
    assert np.allclose(each[:, 2], (images[..., 2] / 255 - 0.3) / 4)


def test_samples_are_spread_evenly_over_a_folder(tmp_path: Path) -> None:
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread(range(3), 4) == [0, 1, 2]
    for kind in ("a", "b"):
        for number in range(6):
            write_image(tmp_path / kind / f"{number}.png", number)
    assert read_images(tmp_path, Image(size=2), 4)["labels"].tolist() == [0, 0, 1, 1]


def test_a_zoo_model_gets_images_as_bytes(tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "a.png", 200)
    arrays = written(tmp_path, data=f"{tmp_path}/photos", is_zoo=True)
    assert arrays["images"].shape == (1, 224, 224, 3)
    assert arrays["images"].dtype == np.uint8


def test_a_folder_changes_when_one_of_its_files_does(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "0.png", 1)
    states = [folder_state(f"{tmp_path}/")]
    os.utime(tmp_path / "a" / "0.png", ns=(1, 1))
    states.append(folder_state(f"{tmp_path}/"))
    write_image(tmp_path / "a" / "1.png", 1)
    states.append(folder_state(f"{tmp_path}/"))
    assert len(set(states)) == 3
    assert folder_state(f"{tmp_path}/") == states[-1]
    assert folder_state("digits") == folder_state("text.txt") == ""


def test_lines_are_passages_or_windows_of_words_are(tmp_path: Path) -> None:
    path = tmp_path / "a text.txt"
    path.write_text("\ufeffone two\n\n  three four five  \nsechs sieben\n", encoding="utf-8")
    assert read_text(path, Text(), 9)["texts"].tolist() == ["one two", "three four five", "sechs sieben"]
    assert read_text(path, Text(window=3), 9)["texts"].tolist() == ["one two three", "four five sechs"]
    assert read_text(path, Text(window=99), 9)["texts"].tolist() == ["one two three four five sechs sieben"]
    assert files_read(str(path)) == [str(path)]


def test_a_text_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt is no UTF-8 text: byte 2 is 0xef"):
        read_text(tmp_path / "latin.txt", Text(), 9)
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(DataError, match=r"empty\.txt holds no text"):
        read_text(tmp_path / "empty.txt", Text(), 9)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    images = np.arange(5 * 4 * 4).reshape(5, 4, 4)
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.array([3, 1, 4, 1, 5]))
    return tmp_path / "t10k-images-idx3-ubyte.gz"


def test_an_idx_file_brings_its_labels(tmp_path: Path, digits: Path) -> None:
    arrays = written(tmp_path, data=str(digits), image={"mean": [0.5]})
    assert arrays["x"].shape == (5, 1, 4, 4)
    assert arrays["x"][0, 0, 0, 1] == pytest.approx(1 / 255 - 0.5)
    assert arrays["labels"].tolist() == [3, 1, 4, 1, 5]
    assert files_read(str(digits)) == [str(digits), str(tmp_path / "t10k-labels-idx1-ubyte")]
    assert written(tmp_path, data=f"{digits.parent}/")["labels"].tolist() == [3, 1, 4, 1, 5]


def test_a_bad_idx_file_is_named(tmp_path: Path, digits: Path) -> None:
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.array([3, 1]))
    with pytest.raises(DataError, match=r"has 5 images, .*labels-idx1-ubyte labels of shape"):
        written(tmp_path, data=str(digits))
    with pytest.raises(DataError, match="labels-idx1-ubyte has 1 axes; an IDX file of images has three"):
        written(tmp_path, data=str(tmp_path / "t10k-labels-idx1-ubyte"))
    digits.write_bytes(digits.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"ubyte\.gz is cut short, or no gzip file"):
        written(tmp_path, data=str(digits))
    digits.write_bytes(gzip.compress(b"\x00\x00\x08\x03\x00"))
    with pytest.raises(DataError, match=r"ubyte\.gz is cut short within its head"):
        written(tmp_path, data=str(digits))


def test_data_that_cannot_be_used_are_an_absence_not_a_failed_job(tmp_path: Path) -> None:
    asked = json.dumps({"data": f"{tmp_path}/nothing/", "is_zoo": False})
    (tmp_path / "nothing").mkdir()
    assert main(["dataset", "--own", asked, "--output", str(tmp_path / "out.npz")]) == 0
    with np.load(tmp_path / "out.npz") as stored:
        assert "holds no images" in str(stored["unavailable"])
