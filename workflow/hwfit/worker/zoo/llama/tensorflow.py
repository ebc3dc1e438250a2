"""The Llama network in TensorFlow, its three functions traced once for each shape of their inputs.

Run on: CPU (tensorflow-cpu 2.21.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from hwfit.worker.zoo.llama import Architecture

# For each layer, keys and values: variables (batch, key-value heads, positions, head_dim).
Cache = list[tuple[tf.Variable, tf.Variable]]


class Llama(tf.Module):
    """The network from a checkpoint, its weights in a float format."""

    def __init__(
        self, architecture: Architecture, weights: Mapping[str, np.ndarray], dtype: str = "float32"
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.dtype = tf.as_dtype(dtype)
        self.weights = {name: tf.Variable(array, dtype=self.dtype) for name, array in weights.items()}
        # Constants of the graph, since they are no weights.
        self.tables = [tf.constant(table, self.dtype) for table in architecture.rotary_tables()]
        self.positions: list[Any] = []

    def new_cache(self, batch_size: int, length: int) -> Cache:
        self.positions.extend(tf.constant(place) for place in range(len(self.positions), length))
        sizes = self.architecture
        shape = (batch_size, sizes.num_key_value_heads, length, sizes.head_dim)
        return [
            (tf.Variable(tf.zeros(shape, self.dtype)), tf.Variable(tf.zeros(shape, self.dtype)))
            for _ in range(sizes.num_hidden_layers)
        ]

    def cache_bytes(self, cache: Cache) -> int:
        return sum(int(np.prod(kept.shape)) * kept.dtype.size for pair in cache for kept in pair)

    @tf.function
    def logits(self, tokens: Any, first: int = 0) -> Any:
        return self.head(self.hidden(tokens, 0, None)[:, first:])

    @tf.function
    def prefill(self, tokens: Any, cache: Cache) -> Any:
        return self.likeliest(self.hidden(tokens, 0, cache))

    def decode(self, tokens: Any, position: int, cache: Cache) -> Any:
        # A tensor, since one graph should serve all positions: a number would be part of it.
        return self.step(tokens, self.positions[position], cache)

    @tf.function
    def step(self, tokens: Any, position: Any, cache: Cache) -> Any:
        return self.likeliest(self.hidden(tokens[:, None], position, cache))

    def likeliest(self, hidden: Any) -> Any:
        """The token after the last position of each sequence."""
        return tf.argmax(self.head(hidden[:, -1]), -1, output_type=tf.int32)

    def head(self, hidden: Any) -> Any:
        tied = self.architecture.tie_word_embeddings
        name = "model.embed_tokens.weight" if tied else "lm_head.weight"
        return self.product(hidden, name)

    def hidden(self, tokens: Any, position: Any, cache: Cache | None) -> Any:
        """The last layer's outputs, normalised: (batch, length) to (batch, length, hidden)."""
        sizes = self.architecture
        hidden = tf.gather(self.weights["model.embed_tokens.weight"], tokens)
        rotation = [table[position : position + tokens.shape[1]] for table in self.tables]
        for number in range(sizes.num_hidden_layers):
            layer = f"model.layers.{number}"
            inner = self.normalised(hidden, f"{layer}.input_layernorm.weight")
            kept = cache[number] if cache else None
            hidden += self.attention(inner, f"{layer}.self_attn", rotation, position, kept)
            inner = self.normalised(hidden, f"{layer}.post_attention_layernorm.weight")
            gate = tf.nn.silu(self.product(inner, f"{layer}.mlp.gate_proj.weight"))
            inner = gate * self.product(inner, f"{layer}.mlp.up_proj.weight")
            hidden += self.product(inner, f"{layer}.mlp.down_proj.weight")
        return self.normalised(hidden, "model.norm.weight")

    def attention(
        self, hidden: Any, name: str, rotation: Any, position: Any, cache: tuple[Any, Any] | None
    ) -> Any:
        """Of each position to itself and those before it."""
        sizes = self.architecture
        batch, length = hidden.shape[:2]
        query, key, value = (
            tf.transpose(
                tf.reshape(
                    self.product(hidden, f"{name}.{part}.weight"), (batch, length, -1, sizes.head_dim)
                ),
                (0, 2, 1, 3),
            )
            for part in ("q_proj", "k_proj", "v_proj")
        )
        query, key = rotated(query, rotation), rotated(key, rotation)
        if cache is not None:
            end = position + length
            cache[0][:, :, position:end].assign(key)
            cache[1][:, :, position:end].assign(value)
            if length == 1:
                key, value = cache[0][:, :, :end], cache[1][:, :, :end]
        # The heads of a group are so many more queries to the same keys.
        query = tf.reshape(query, (batch, sizes.num_key_value_heads, sizes.groups * length, sizes.head_dim))
        scores = tf.matmul(query, key, transpose_b=True) * tf.cast(sizes.head_dim**-0.5, self.dtype)
        if length > 1:
            hides = np.tile(np.triu(np.full((length, length), -np.inf, np.float32), 1), (sizes.groups, 1))
            scores += tf.constant(hides, self.dtype)
        # Half formats sum too coarsely.
        shares = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), self.dtype)
        seen = tf.reshape(tf.matmul(shares, value), (batch, -1, length, sizes.head_dim))
        seen = tf.reshape(tf.transpose(seen, (0, 2, 1, 3)), (batch, length, -1))
        return self.product(seen, f"{name}.o_proj.weight")

    def product(self, hidden: Any, name: str) -> Any:
        """With a weight (out, in), as checkpoints have them."""
        return tf.matmul(hidden, self.weights[name], transpose_b=True)

    def normalised(self, hidden: Any, name: str) -> Any:
        wide = tf.cast(hidden, tf.float32)
        square = tf.reduce_mean(tf.square(wide), -1, keepdims=True)
        wide *= tf.math.rsqrt(square + self.architecture.rms_norm_eps)
        return self.weights[name] * tf.cast(wide, self.dtype)


def rotated(heads: Any, rotation: Any) -> Any:
    """Heads (batch, heads, length, head_dim), turned by their positions' angles."""
    first, second = tf.split(heads, 2, axis=-1)
    return heads * rotation[0] + tf.concat((-second, first), -1) * rotation[1]
