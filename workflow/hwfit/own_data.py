"""A user's own images, texts and IDX files, written as .npz files of inputs.

| data | what becomes of it |
|---|---|
| a folder of class folders | `x` and `labels`: the folders numbered by their sorted names |
| a folder of images | `x` alone |
| a folder of the four IDX files of the MNIST family | their test part; for a zoo model all |
| an IDX file of images | `x`, and `labels` where the file of labels lies beside it |
| a text file, UTF-8 | `texts`, a passage a line, or windows of words; `prepare` makes token numbers of them |

Where all names of class folders are whole numbers, they are the labels. A zoo model makes its inputs itself:
for one, images stay bytes, as `images`. `provenance` says what was taken.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.catalog import SAMPLES
from hwfit.data import IDX_FILES, DataError, read_idx, read_idx_files
from hwfit.input_sections import Image, Text, data_kind
from hwfit.records import fingerprint, write_bytes

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
# More than any tokenizer's longest input.
LONGEST_PASSAGE = 100_000

Arrays = dict[str, np.ndarray]


def write_own_data(asked: Mapping[str, Any], path: Path) -> None:
    """Write a user's data as arrays.

    Parameters
    ----------
    asked : `data`, and where they are given `image`, `text` and `samples`, as models.yaml has them;
        `is_zoo`, whether a zoo model takes them

    Raises DataError that names the file and what is wrong with it.
    """
    source, kind = Path(asked["data"]), data_kind(asked["data"])
    samples = asked.get("samples") or SAMPLES
    options = Image.model_validate(asked.get("image") or {})
    if kind == "text":
        arrays = read_text(source, Text.model_validate(asked.get("text") or {}), samples)
    elif kind == "idx":
        arrays = read_idx_images(source, options, samples)
    elif is_idx_folder(source):
        test = next(p for p in idx_paths(source, "x_test") if p.exists())
        arrays = read_idx_files(source) if asked.get("is_zoo") else read_idx_images(test, options, samples)
    else:
        arrays = read_images(source, options, samples, bool(asked.get("is_zoo")))
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_bytes(path, content.getvalue())


def files_read(data: str) -> list[str]:
    """The files that a user's text or IDX data are read from; a folder's are told by `folder_state`."""
    match data_kind(data):
        case "text":
            return [data]
        case "idx":
            labels = labels_beside(Path(data))
            return [data, *([str(labels)] if labels else [])]
    return []


def folder_state(data: str) -> str:
    """Changes when a file of a user's folder comes, goes or changes; empty for other data.

    Not the files themselves: there may be very many, under names that Snakemake takes for patterns.
    """
    if data_kind(data) != "folder":
        return ""
    state = []
    for folder, folders, files in os.walk(data):
        folders.sort()
        for name in sorted(files):
            found = Path(folder, name).stat()
            state.append((folder, name, found.st_size, found.st_mtime_ns))
    return fingerprint(state)


def read_images(folder: Path, options: Image, samples: int, keep_bytes: bool = False) -> Arrays:
    """The images of a folder, with labels where they lie in class folders; what is no image is skipped."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    classes = [p for p in classes if any(is_image(file) for file in p.rglob("*"))]
    inside = [(file, number) for number, kind in enumerate(classes) for file in sorted(kind.rglob("*"))]
    found = [(f, n) for f, n in inside or [(f, 0) for f in sorted(folder.iterdir())] if is_image(f)]
    others = sum(file.is_file() for file in folder.rglob("*")) - len(found)
    images, labels, unread = [], [], []
    for file, number in spread(found, samples):
        try:
            images.append(read_image(file, options))
        except (OSError, ValueError, SyntaxError) as error:
            unread.append(f"{file.name} ({error})")
            continue
        labels.append(number)
    skipped = f"{others + len(unread)} files skipped that are no images Pillow reads"
    if not images:
        raise DataError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}): {skipped}")
    print(skipped, *unread[:20], sep="\n")
    stacked = np.stack(images)
    arrays = {"images": stacked} if keep_bytes else {"x": as_floats(stacked, options)}
    if classes:
        names = [kind.name for kind in classes]
        numbers = [int(n) for n in names] if all(n.isdecimal() for n in names) else list(range(len(names)))
        arrays["labels"] = np.array([numbers[number] for number in labels], np.int64)
    told = f"{folder}: {len(images)} of {len(found)} images" + (
        f" in {len(classes)} classes" if classes else ""
    )
    return arrays | {"provenance": np.array(f"{told}, {skipped}")}


def is_image(file: Path) -> bool:
    """Whether a path looks like an image that a user means: not hidden, with such a suffix."""
    is_hidden = file.name.startswith(".")
    return not is_hidden and file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()


def read_image(file: Path, options: Image) -> np.ndarray:
    """An image that covers the size, its middle cut out: uint8 (height, width, channels)."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    height, width = (options.size, options.size) if isinstance(options.size, int) else options.size
    try:
        with Pillow.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):
                # 16 bits a pixel: Pillow would cut them off at 255.
                image = Pillow.fromarray((np.asarray(image) // 256).astype(np.uint8))
            image = image.convert("L" if options.channels == 1 else "RGB")
    except Pillow.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    cut = (1 - options.crop) / 2
    image = ImageOps.fit(image, (width, height), Pillow.Resampling.BICUBIC, bleed=cut)
    return np.asarray(image, np.uint8).reshape(height, width, options.channels)


def as_floats(images: np.ndarray, options: Image) -> np.ndarray:
    """Bytes (n, height, width, channels) as floats, (x * scale - mean) / std, in the layout asked for."""
    mean, std = (np.array(numbers, np.float32) for numbers in (options.mean, options.std))
    values = (images.astype(np.float32) * np.float32(options.scale) - mean) / std
    return np.ascontiguousarray(
        values.transpose(0, 3, 1, 2) if options.layout == "channels_first" else values
    )


def read_idx_images(path: Path, options: Image, samples: int) -> Arrays:
    """The images of an IDX file, as they are but for their scale, with labels where they lie beside it."""
    images = read_idx(decompressed(path), path)
    if images.ndim != 3:
        raise DataError(f"{path} has {images.ndim} axes; an IDX file of images has three")
    labels = labels_beside(path)
    numbers = read_idx(decompressed(labels), labels) if labels else None
    if numbers is not None and numbers.shape != images.shape[:1]:
        raise DataError(f"{path} has {len(images)} images, {labels} labels of shape {numbers.shape}")
    if not len(images):
        raise DataError(f"{path} holds no images")
    rows = spread(range(len(images)), samples)
    arrays = {"x": as_floats(images[rows][..., None], options)}
    if numbers is not None:
        arrays["labels"] = numbers[rows].astype(np.int64)
    return arrays | {"provenance": np.array(f"{path}: {len(rows)} of {len(images)} images")}


def labels_beside(path: Path) -> Path | None:
    """The file of labels that belongs to an IDX file of images, gzipped or not."""
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    found = (path.with_name(name + end) for end in ("", ".gz"))
    return next((p for p in found if p.is_file() and p.name != path.name), None)


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds IDX files of the MNIST family."""
    return any(path.exists() for path in idx_paths(folder, "x_test"))


def idx_paths(folder: Path, part: str) -> list[Path]:
    """Where a part of a data set may lie, gzipped or not."""
    return [folder / (IDX_FILES[part] + end) for end in ("", ".gz")]


def decompressed(path: Path) -> bytes:
    """A file's content, gunzipped where it is called so. Raises DataError where that fails."""
    content = path.read_bytes()
    try:
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is cut short, or no gzip file: {error}") from error


def read_text(path: Path, options: Text, samples: int) -> Arrays:
    """Passages of a UTF-8 file: its lines, or windows of words."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no UTF-8 text: byte {error.start} is {error.object[error.start]:#x}"
        ) from error
    if options.window:
        words = content.split()
        starts = range(0, max(len(words) - options.window, 0) + 1, options.window)
        passages = [" ".join(words[start : start + options.window]) for start in starts]
    else:
        passages = [line.strip() for line in content.splitlines()]
    passages = [passage[:LONGEST_PASSAGE] for passage in passages if passage]
    if not passages:
        raise DataError(f"{path} holds no text")
    taken = spread(passages, samples)
    told = f"{path}: {len(taken)} of {len(passages)} passages"
    return {"texts": np.array(taken), "provenance": np.array(told)}


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spread over them."""
    count = min(most, len(items))
    return [items[k * len(items) // count] for k in range(count)]
