"""What single values of a model's inputs cannot show: keys that its sources or its data have no use for.

Each check takes a section that is valid by itself and yields `(key path, message)` for what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hwfit.config_errors import shown
from hwfit.input_sections import SIGNATURE, data_kind
from hwfit.key_path import KeyPath
from hwfit.sections import Model

Finding = tuple[KeyPath, str]

# The keys that speak of data, and the kinds of data that they speak of.
KEYS_OF_DATA = {
    "image": ("folder", "idx"),
    "text": ("text",),
    "samples": ("folder", "idx", "text", "signature"),
}
WORDS = {
    "folder": "a folder of images",
    "idx": "IDX files",
    "text": "a .txt file",
    "signature": f"data: {SIGNATURE}",
}


def check_inputs(name: str, model: Model) -> Iterator[Finding]:
    """Data are there, and what is said of inputs has a use."""
    yield from _check_data(name, model)
    is_onnx = all(source.onnx for source in model.sources.values())
    for key in ("inputs", "output"):
        if getattr(model, key) is not None and not is_onnx:
            yield (name, key), "is for models whose every source is an ONNX file"
    files = {runtime: source.onnx for runtime, source in model.sources.items() if source.onnx}
    for runtime, file in files.items():
        first = next(iter(files.items()))
        if file != first[1]:
            message = f"is {shown(file)}, and {first[0]} has {shown(first[1])}: one model is one file"
            yield (name, "sources", runtime, "onnx"), f"{message}; make the other a model of its own"
    for entry, told in (model.inputs or {}).items():
        path: KeyPath = (name, "inputs", entry)
        if told.batch_axis == "none" and told.value is None:
            yield path, "has batch_axis: none and no value; an input that has no batch is a constant"
        if told.value is not None and told.range is not None:
            yield path, "has both value and range; allowed: one of the two"
        if told.range is not None and not told.range[0] <= told.range[1]:
            yield (*path, "range"), f"is [{told.range[0]:g}, {told.range[1]:g}]; write the least value first"
    if model.image is not None:
        zoo = next((source.zoo for source in model.sources.values() if source.zoo), None)
        if zoo and (unused := model.image.model_fields_set - {"size", "crop"}):
            message = f"has {', '.join(sorted(unused))}, and {zoo} makes floats of pixels itself"
            yield (name, "image"), f"{message}; allowed: size, crop"
        for key in ("mean", "std"):
            given = len(getattr(model.image, key))
            if given not in (1, model.image.channels):
                message = (
                    f"has {given} numbers for {model.image.channels} channels; allowed: one, or one each"
                )
                yield (name, "image", key), message


def _check_data(name: str, model: Model) -> Iterator[Finding]:
    kind = data_kind(model.data)
    path = (name, "data")
    if kind == "signature":
        if not all(source.onnx for source in model.sources.values()):
            if "data" not in model.model_fields_set:
                yield (name,), "lacks `data`; only ONNX files tell what their inputs are"
            else:
                yield (
                    path,
                    f"is {SIGNATURE}, which only ONNX files have; name a data set, or data of your own",
                )
    elif kind != "named":
        found = Path(model.data)
        is_there = found.is_dir() if kind == "folder" else found.is_file()
        if not is_there:
            yield path, f"is {shown(model.data)}, looked for at {found.absolute()}: not there"
    for key, kinds in KEYS_OF_DATA.items():
        if getattr(model, key) is not None and kind not in kinds:
            words = " or ".join(WORDS[kind] for kind in kinds)
            yield (name, key), f"is for {words}, and data is {shown(model.data)}"
