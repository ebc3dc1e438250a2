"""What a user may say of a model's inputs: where they come from, and how files become arrays."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hwfit import catalog
from hwfit.section_types import PATH_REST, PATH_START, PLAIN_PATH, FilePath, Section, text

# Inputs made from what an ONNX file says of them.
SIGNATURE = "signature"

_PATH = PATH_START + PATH_REST + "{0,399}"
DATA_MEANING = (
    f"one of {', '.join(catalog.DATASETS)}; {SIGNATURE}; or the path of a .npz or .txt file, of an IDX file "
    "(its name ends in ubyte or ubyte.gz), or of a folder of images or IDX files (with a / in it), "
    f"{PLAIN_PATH}"
)
DataPath = Annotated[
    str,
    text(
        rf"^({'|'.join((*catalog.DATASETS, SIGNATURE))}|"
        rf"{_PATH}\.(npz|txt)|{_PATH}ubyte(\.gz)?|{_PATH}/{PATH_REST}{{0,399}}|/{PATH_REST}{{1,399}})$",
        DATA_MEANING,
        400,
    ),
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, le=1_000_000_000)]


def data_kind(data: str) -> str:
    """What the value of `data` means: `named`, `signature`, `npz`, `text`, `idx` or `folder`."""
    if data in catalog.DATASETS:
        return "named"
    if data == SIGNATURE:
        return "signature"
    ends = {".npz": "npz", ".txt": "text", "ubyte": "idx", "ubyte.gz": "idx"}
    return next((kind for end, kind in ends.items() if data.endswith(end)), "folder")


class Input(Section):
    """One input of an ONNX file, where its signature and the data do not say all."""

    shape: Annotated[list[Size], Field(max_length=16)] | None = Field(
        default=None,
        description="of one sample, without the batch; needed where data are generated and axes open",
    )
    batch_axis: Annotated[int, Field(ge=0, le=15)] | Literal["none"] = Field(
        default=0, description="where the batch stands in the model's layout; none: the input has no batch"
    )
    value: int | Number | list[Number] | list[list[Number]] | None = Field(
        default=None,
        description="a constant, the same for every sample, such as a sampling rate or a first state",
    )
    range: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="least and largest value where data: signature generates them; absent: normally "
        "distributed numbers, and 0 or 1 for whole ones",
    )


class Image(Section):
    """How images become arrays of floats: resized to cover, the middle cut out, (x * scale - mean) / std."""

    size: (
        Annotated[int, Field(ge=1, le=16384)]
        | (Annotated[list[Annotated[int, Field(ge=1, le=16384)]], Field(min_length=2, max_length=2)])
    ) = Field(default=224, description="pixels to a side, or [height, width]")
    crop: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=1.0,
        description="the share of each side that the middle is cut out of; ImageNet's habit: 0.875",
    )
    channels: Literal[1, 3] = Field(default=3, description="1: grey, 3: red, green, blue")
    scale: Number = Field(default=1 / 255, description="what each value, 0 to 255, is multiplied by")
    mean: Annotated[list[Number], Field(min_length=1, max_length=3)] = Field(
        default=[0.0], description="subtracted from each channel after that; one number, or one a channel"
    )
    std: Annotated[
        list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1, max_length=3)
    ] = Field(default=[1.0], description="what each channel is then divided by")
    layout: Literal["channels_first", "channels_last"] = Field(
        default="channels_first", description="the order of a sample's axes"
    )


class Text(Section):
    """How a text file becomes passages, and these token numbers."""

    window: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="words of a passage; absent: each line that is not empty is one"
    )
    tokenizer: FilePath | None = Field(
        default=None,
        description="a local Hugging Face folder whose tokenizer makes input_ids and attention_mask; "
        "not for a model that brings its own",
    )
    length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=128, description="tokens of a passage: longer ones are cut, shorter ones filled up"
    )
