"""What a user may configure of an optimization: a model a pass, with its parameters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hwfit.section_types import Section


class Threads(Section):
    """Compute with so many threads, in place of what the device or the runtime would take."""

    name: Literal["threads"] = Field(alias="pass", description="a session pass: every runtime")
    count: Annotated[int, Field(ge=1, le=4096)] = Field(description="threads of one operator (intra-op)")


class Cast(Section):
    """Weights and activations in a narrower float format."""

    name: Literal["cast"] = Field(
        alias="pass", description="a session pass: torch, tensorflow, mindspore, openvino"
    )
    dtype: Literal["bfloat16", "float16"] = Field(description="the format")
    keep_depthwise: bool = Field(
        default=False,
        description="true (torch): depthwise filters, and what lies between layers, stay in fp32",
    )


class ChannelsLast(Section):
    """Images and filters with their channels last in memory."""

    name: Literal["channels_last"] = Field(alias="pass", description="a session pass: torch")


class Compile(Section):
    """Fused kernels made at the first call: torch.compile, XLA."""

    name: Literal["compile"] = Field(alias="pass", description="a session pass: torch, tensorflow")


class Eager(Section):
    """Operator by operator, without a graph; torch's baseline is that."""

    name: Literal["eager"] = Field(alias="pass", description="a session pass: tensorflow, mindspore")


class QuantizeDynamic(Section):
    """Int8 weights, activations quantized as they come (post-training, no calibration)."""

    name: Literal["quantize_dynamic"] = Field(alias="pass", description="a session pass: torch, onnxruntime")
    dtype: Literal["int8"] = Field(default="int8", description="the format")


class Prune(Section):
    """Zero the weights of least magnitude, over all matrices and filters together."""

    name: Literal["prune"] = Field(alias="pass", description="an artifact pass: every runtime")
    amount: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        description="share of the weights that become zero"
    )
    scope: Literal["global", "layer"] = Field(
        default="global", description="the smallest of all layers together, or that share of each layer"
    )


class QuantizeStatic(Section):
    """Int8 weights and activations, their ranges calibrated on real inputs."""

    name: Literal["quantize_static"] = Field(
        alias="pass", description="a file pass: torch, tensorflow, onnxruntime, openvino"
    )
    dtype: Literal["int8"] = Field(default="int8", description="the format")
    samples: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=64, description="most inputs to calibrate on"
    )


Pass = Annotated[
    Cast | ChannelsLast | Compile | Eager | Prune | QuantizeDynamic | QuantizeStatic | Threads,
    Field(discriminator="name"),
]


class Optimization(Section):
    """An ordered list of passes; an empty list is the baseline."""

    passes: Annotated[list[Pass], Field(max_length=16)] = Field(
        default=[], description="what is done, in order"
    )
