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


class ChannelsLast(Section):
    """Images and filters with their channels last in memory."""

    name: Literal["channels_last"] = Field(alias="pass", description="a session pass: torch")


class Compile(Section):
    """Fused kernels made at the first call: torch.compile, XLA."""

    name: Literal["compile"] = Field(alias="pass", description="a session pass: torch, tensorflow")


class Eager(Section):
    """Operator by operator, without a graph; torch's baseline is that."""

    name: Literal["eager"] = Field(alias="pass", description="a session pass: tensorflow, mindspore")


class GraphLevel(Section):
    """How far the graph is rewritten before it runs: operators fused, constants folded, layouts changed."""

    name: Literal["graph_level"] = Field(alias="pass", description="a session pass: onnxruntime")
    level: Literal["none", "basic", "extended", "all"] = Field(description="how far; the baseline has all")


class PerformanceHint(Section):
    """What the plugin arranges a device for: one call as soon as possible, or many at a time."""

    name: Literal["performance_hint"] = Field(alias="pass", description="a session pass: openvino")
    hint: Literal["latency", "throughput"] = Field(
        description="the baseline has latency; throughput pays where calls overlap (scenario offline)"
    )


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
    Cast
    | ChannelsLast
    | Compile
    | Eager
    | GraphLevel
    | PerformanceHint
    | Prune
    | QuantizeDynamic
    | QuantizeStatic
    | Threads,
    Field(discriminator="name"),
]


class Optimization(Section):
    """An ordered list of passes; an empty list is the baseline."""

    passes: Annotated[list[Pass], Field(max_length=16)] = Field(
        default=[], description="what is done, in order"
    )
