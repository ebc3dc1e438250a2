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


class QuantizeDynamic(Section):
    """Int8 weights, activations quantized as they come (post-training, no calibration)."""

    name: Literal["quantize_dynamic"] = Field(alias="pass", description="a session pass: torch, onnxruntime")
    dtype: Literal["int8"] = Field(default="int8", description="the format")


class QuantizeWeights(Section):
    """Weights of dense layers in whole numbers, activations in floats (post-training, no calibration)."""

    name: Literal["quantize_weights"] = Field(
        alias="pass", description="a session pass: torch, onnxruntime, openvino, on cpu"
    )
    dtype: Literal["int8", "int4"] = Field(description="the format; what int4 does not fit is int8")
    group_size: Literal[32, 64, 128] = Field(
        default=32, description="weights of a row that share a scale: of int4, in onnxruntime of int8 too"
    )


class QuantizeCache(Section):
    """A language model's keys and values in whole numbers, widened again to be used."""

    name: Literal["quantize_cache"] = Field(
        alias="pass", description="a session pass: torch, hwfit's own Llama"
    )
    dtype: Literal["int8"] = Field(default="int8", description="the format")


class KeepMemory(Section):
    """Freed memory stays with the process in place of being given back to the kernel and faulted in anew."""

    name: Literal["keep_memory"] = Field(
        alias="pass", description="a session pass: every runtime, on cpu with glibc"
    )


class Offload(Section):
    """Weights stay in the host's memory; each layer's are on the device while it computes."""

    name: Literal["offload"] = Field(alias="pass", description="a session pass: torch, on cuda, xpu, npu")


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
    | KeepMemory
    | Offload
    | Prune
    | QuantizeCache
    | QuantizeDynamic
    | QuantizeStatic
    | QuantizeWeights
    | Threads,
    Field(discriminator="name"),
]


class Optimization(Section):
    """An ordered list of passes; an empty list is the baseline."""

    passes: Annotated[list[Pass], Field(max_length=16)] = Field(
        default=[], description="what is done, in order"
    )
