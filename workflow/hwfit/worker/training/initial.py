"""Weights to begin with, drawn by numpy from a seed: the same in every framework.

As torch's layers draw theirs (uniform within 1/sqrt(inputs): He et al., 2015, with a = sqrt(5)), those of a
language model from a normal distribution of deviation 0.02. Names and layouts are a checkpoint's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hwfit.worker.zoo import layers as kinds
from hwfit.worker.zoo.llama import Architecture

DEVIATION = 0.02


def of_layers(layers: Sequence[kinds.Layer], seed: int) -> dict[str, np.ndarray]:
    """The arrays of a feed-forward network, float32, by name."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for name, layer in named(layers, ""):
        match layer:
            case kinds.BatchNorm():
                for part, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
                    arrays[f"{name}.{part}"] = np.full(layer.channels, value, np.float32)
                arrays[f"{name}.num_batches_tracked"] = np.zeros((), np.int64)
            case kinds.Dense():
                draw(arrays, name, (layer.outputs, layer.inputs), True, generator)
            case kinds.Convolution():
                shape = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
                draw(arrays, name, shape, layer.bias, generator)
    return arrays


def named(layers: Sequence[kinds.Layer], prefix: str) -> Iterator[tuple[str, kinds.Layer]]:
    """Every layer with its name in the checkpoint, those inside of others too."""
    for position, layer in enumerate(layers):
        name = prefix + kinds.name_of(layer, position)
        yield name, layer
        if isinstance(layer, kinds.Block | kinds.ConcatenateInput):
            yield from named(layer.layers, f"{name}.")


def draw(
    arrays: dict[str, np.ndarray],
    name: str,
    shape: tuple[int, ...],
    has_bias: bool,
    generator: np.random.Generator,
) -> None:
    """Add a layer's weight (outputs, inputs, ...) and bias."""
    bound = float(np.prod(shape[1:])) ** -0.5
    arrays[f"{name}.weight"] = generator.uniform(-bound, bound, shape).astype(np.float32)
    if has_bias:
        arrays[f"{name}.bias"] = generator.uniform(-bound, bound, shape[0]).astype(np.float32)


def of_llama(sizes: Architecture, seed: int) -> dict[str, np.ndarray]:
    """The arrays of a language model of the Llama architecture, float32, in Hugging Face's names."""
    generator = np.random.default_rng(seed)
    heads, groups = (n * sizes.head_dim for n in (sizes.num_attention_heads, sizes.num_key_value_heads))
    width, inner = sizes.hidden_size, sizes.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (sizes.vocab_size, width)}
    for number in range(sizes.num_hidden_layers):
        layer = f"model.layers.{number}"
        shapes |= {
            f"{layer}.input_layernorm.weight": (width,),
            f"{layer}.self_attn.q_proj.weight": (heads, width),
            f"{layer}.self_attn.k_proj.weight": (groups, width),
            f"{layer}.self_attn.v_proj.weight": (groups, width),
            f"{layer}.self_attn.o_proj.weight": (width, heads),
            f"{layer}.post_attention_layernorm.weight": (width,),
            f"{layer}.mlp.gate_proj.weight": (inner, width),
            f"{layer}.mlp.up_proj.weight": (inner, width),
            f"{layer}.mlp.down_proj.weight": (width, inner),
        }
    shapes["model.norm.weight"] = (width,)
    if not sizes.tie_word_embeddings:
        shapes["lm_head.weight"] = (sizes.vocab_size, width)
    return {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else generator.normal(0.0, DEVIATION, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
