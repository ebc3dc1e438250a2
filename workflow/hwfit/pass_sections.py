"""What a user may configure of an optimization: a model a pass, with its parameters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hwfit.section_types import Section

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
SharedBits = Annotated[int, Field(ge=1, le=8)]
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


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


class Prune(Section):
    """Zero the weights of least magnitude, over all matrices and filters together."""

    name: Literal["prune"] = Field(alias="pass", description="an artifact pass: every runtime")
    amount: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        description="share of the weights that become zero"
    )
    scope: Literal["global", "layer"] = Field(
        default="global", description="the smallest of all layers together, or that share of each layer"
    )


class PruneGradually(Section):
    """Zero a growing share of the weights while the others are trained on the model's training data."""

    name: Literal["prune_gradually"] = Field(alias="pass", description="an artifact pass: every runtime")
    amount: Share = Field(
        default=0.9, description="share of the weights that become zero, of all layers together"
    )
    epochs: Epochs = Field(default=20, description="of training, while and after weights are removed")
    learning_rate: Rate = Field(default=1e-3, description="Adam's at first; it falls to 0 along a cosine")
    shift_pixels: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0, description="how far training images are moved at random, against overfitting"
    )
    seed: Seed = Field(default=0, description="of the order of the training data")


class DeepCompression(Section):
    """Prune, retrain, let each layer's weights share few values that are trained, and entropy-code them."""

    name: Literal["deep_compression"] = Field(alias="pass", description="an artifact pass: every runtime")
    amount: Share = Field(
        default=0.94, description="share of the weights that are removed, of all layers together"
    )
    convolution_bits: SharedBits = Field(default=5, description="a convolution's weights share 2^bits values")
    dense_bits: SharedBits = Field(default=5, description="a dense layer's weights share 2^bits values")
    epochs: Epochs = Field(default=30, description="of training, while and after weights are removed")
    sharing_epochs: Epochs = Field(default=6, description="of training the shared values")
    learning_rate: Rate = Field(default=1e-3, description="Adam's at first; it falls to 0 along a cosine")
    shift_pixels: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0, description="how far training images are moved at random, against overfitting"
    )
    seed: Seed = Field(default=0, description="of the order of the training data")


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
    | DeepCompression
    | Eager
    | Prune
    | PruneGradually
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
