"""Reading a user's arrays, and what makes them useless for a measurement."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker.errors import Unavailable, Unsupported


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file. Raises Unavailable where it cannot be read, or holds pickled objects."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise Unavailable(f"{path} holds one array without a name; write it by numpy.savez")
        with loaded as stored:
            found = {}
            for name in stored.files:
                try:
                    found[name] = stored[name]
                except ValueError as error:
                    if "allow_pickle" not in str(error):
                        raise
                    raise Unavailable(
                        f"{path}: {name} holds Python objects, which are pickles, and these may run code: "
                        "never loaded; write arrays of numbers"
                    ) from error
            return found
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError) as error:
        raise Unavailable(f"{path} is cut short, or no .npz file: {error}") from error


def require_sound(inputs: Mapping[str, np.ndarray], where: str) -> None:
    """Raises Unavailable where inputs are no numbers, or not finite."""
    for name, array in inputs.items():
        if array.dtype.kind in "US":
            raise Unavailable(
                f"{where}: {name} is text, and the model takes numbers; name a tokenizer in models.yaml, "
                "text: {tokenizer: <folder>}"
            )
        if array.dtype.kind not in "fiub":
            raise Unavailable(f"{where}: {name} is {array.dtype}, and models take real numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise Unavailable(f"{where}: {count} of the {array.size} values of {name} are NaN or infinite")


def tokenised(dataset: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Texts as token numbers and their mask, int64 (n, length), by a tokenizer that lies on disk.

    Raises Unsupported where transformers is not there, Unavailable where the folder has no tokenizer.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise Unsupported(f"a tokenizer needs transformers in the environment: {error}") from error
    folder = options["tokenizer"]
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever a broken folder leads it to
        raise Unavailable(f"{folder} has no tokenizer: {str(error).splitlines()[0]}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    encoded = tokenizer(
        [str(text) for text in dataset["texts"]],
        padding="max_length",
        truncation=True,
        max_length=options.get("length", 128),
        return_tensors="np",
    )
    names = ("input_ids", "attention_mask")
    arrays = {name: encoded[name].astype(np.int64) for name in names}
    return arrays | {key: value for key, value in dataset.items() if key == "labels"}


def require_fit(given: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], where: str) -> None:
    """Raises Unavailable where arrays cannot stand for a model's inputs: a name or a shape differs."""
    for name, array in inputs.items():
        if name not in given:
            has = ", ".join(given) or "none"
            raise Unavailable(f"{where} has no array {name}, which the model takes; it has {has}")
        found = given[name]
        if not found.ndim or not len(found):
            raise Unavailable(f"{where}: {name} has no samples")
        if found.shape[1:] != array.shape[1:]:
            raise Unavailable(
                f"{where}: {name} has shape {found.shape[1:]} a sample, the model's input {array.shape[1:]}"
            )
        if found.dtype.kind != array.dtype.kind:
            raise Unavailable(f"{where}: {name} is {found.dtype}, the model's input {array.dtype}")
    if len({len(given[name]) for name in inputs}) > 1:
        raise Unavailable(f"{where}: the arrays differ in length")
    require_sound({name: given[name] for name in inputs}, where)
