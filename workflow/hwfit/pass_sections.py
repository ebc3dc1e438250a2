"""What a user may configure of an optimization: a model a pass, with its parameters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hwfit.section_types import Section

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
SharedBits = Annotated[int, Field(ge=1, le=8)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
LearningRate = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]


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

    name: Literal["quantize_dynamic"] = Field(
        alias="pass", description="a session pass: torch, onnxruntime, openvino"
    )
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


class InPlace(Section):
    """Activation functions write over their inputs, where nobody else reads these."""

    name: Literal["in_place"] = Field(alias="pass", description="a session pass: torch")


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


class PruneChannels(Section):
    """Cut out whole channels, those of least weight: the network becomes smaller, in every runtime."""

    name: Literal["prune_channels"] = Field(alias="pass", description="an artifact pass: every runtime")
    amount: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        description="share of the channels of each layer that are removed; outputs and attention stay whole"
    )
    multiple_of: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=8,
        description="what stays of a layer is rounded to the nearest multiple: kernels work on blocks",
    )
    epochs: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="how often to go through the labelled training data afterwards; 0: not at all"
    )
    learning_rate: LearningRate = Field(default=1e-3, description="Adam's, where it begins; it falls to zero")
    seed: Seed = Field(default=0, description="of the order of the samples")


class Prune24(Section):
    """Zero the smaller two of every four weights in a row: the pattern of sparse tensor cores."""

    name: Literal["prune_2_4"] = Field(alias="pass", description="an artifact pass: every runtime")


class Sparse24(Section):
    """Dense layers on sparse tensor cores, after prune_2_4, in a narrower float format."""

    name: Literal["sparse_2_4"] = Field(alias="pass", description="a session pass: torch, on cuda")
    dtype: Literal["float16", "bfloat16"] = Field(default="float16", description="the format")


class QuantizeAware(Section):
    """Fine-tune on labelled data with weights and activations rounded; quantize_static then rounds them."""

    name: Literal["quantize_aware"] = Field(alias="pass", description="an artifact pass: every runtime")
    epochs: Epochs = Field(description="how often to go through the labelled training data")
    learning_rate: LearningRate = Field(default=1e-4, description="Adam's, where it begins; it falls to zero")
    bits: Annotated[int, Field(ge=2, le=8)] = Field(
        default=8, description="of weights and activations while it is fine-tuned"
    )
    seed: Seed = Field(default=0, description="of the order of the samples")


class PruneGradually(Section):
    """Zero a growing share of the weights while the others are trained on the model's training data."""

    name: Literal["prune_gradually"] = Field(alias="pass", description="an artifact pass: every runtime")
    amount: Share = Field(
        default=0.9, description="share of the weights that become zero, of all layers together"
    )
    epochs: Epochs = Field(default=20, description="of training, while and after weights are removed")
    learning_rate: LearningRate = Field(
        default=1e-3, description="Adam's at first; it falls to 0 along a cosine"
    )
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
    learning_rate: LearningRate = Field(
        default=1e-3, description="Adam's at first; it falls to 0 along a cosine"
    )
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
    samples: Annotated[int, Field(ge=1, le=256)] = Field(
        default=64, description="most inputs to calibrate on"
    )


Pass = Annotated[
    Cast
    | ChannelsLast
    | Compile
    | DeepCompression
    | Eager
    | GraphLevel
    | InPlace
    | KeepMemory
    | Offload
    | PerformanceHint
    | Prune
    | Prune24
    | PruneChannels
    | PruneGradually
    | QuantizeAware
    | QuantizeCache
    | QuantizeDynamic
    | QuantizeStatic
    | QuantizeWeights
    | Sparse24
    | Threads,
    Field(discriminator="name"),
]


class Optimization(Section):
    """An ordered list of passes; an empty list is the baseline."""

    passes: Annotated[list[Pass], Field(max_length=16)] = Field(
        default=[], description="what is done, in order"
    )
