"""The Llama network in MindSpore's graph mode: one compiled graph for each function and shape of its inputs.

A cache is made of parameters, which a graph updates in place: MindSpore has no other state that outlives a
call. Since shapes in a graph are fixed, a decoded token looks at the whole cache, and a mask hides what lies
after its position. PyNative mode has no such bounds, and took 40 times as long a token (1.6 s, not 40 ms, of
SmolLM2-135M on a CPU).

Run on: CPU (mindspore 2.8.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from hwfit.worker.zoo.llama import Architecture

# Added to the score of what must not be seen; a float16 can hold it.
HIDDEN = -1e4


class Llama(nn.Cell):
    """The network from a checkpoint; called with tokens, it gives the logits of every position."""

    def __init__(self, architecture: Architecture, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__(auto_prefix=False)
        self.architecture = architecture
        self.embedding = parameter(weights, "model.embed_tokens.weight")
        tied = architecture.tie_word_embeddings
        self.head = self.embedding if tied else parameter(weights, "lm_head.weight")
        self.layers = nn.CellList(
            [Layer(architecture, weights, f"model.layers.{n}") for n in range(architecture.num_hidden_layers)]
        )
        self.norm = RMSNorm(architecture, weights, "model.norm.weight")
        self.cosines, self.sines = (ms.Tensor(table) for table in architecture.rotary_tables())
        self.product = ops.MatMul(transpose_b=True)

    def construct(self, tokens: Any, first: int = 0) -> Any:
        length = tokens.shape[1]
        cosines, sines = self.cosines[:length], self.sines[:length]
        return self.scores(
            self.hidden(tokens, cosines, sines, after_each(length), None, None, None)[:, first:]
        )

    def hidden(
        self, tokens: Any, cosines: Any, sines: Any, mask: Any, keys: Any, values: Any, rows: Any
    ) -> Any:
        """The last layer's outputs, normalised: (batch, length) to (batch, length, hidden).

        Parameters
        ----------
        cosines, sines : (length, head_dim)
        mask : (length, length), or (positions of the cache,) to look at all of that
        keys, values : a parameter a layer, or None
        rows : those of a key or a value that these tokens are written to
        """
        hidden = ops.gather(self.embedding, tokens, 0)
        cosines, sines = cosines.astype(hidden.dtype), sines.astype(hidden.dtype)
        mask = mask.astype(hidden.dtype)
        for number, layer in enumerate(self.layers):
            if keys is None:
                hidden = layer(hidden, cosines, sines, mask, None, None, None)
            else:
                hidden = layer(hidden, cosines, sines, mask, keys[number], values[number], rows)
        return self.norm(hidden)

    def scores(self, hidden: Any) -> Any:
        shape = hidden.shape
        return self.product(hidden.reshape(-1, shape[-1]), self.head).reshape(*shape[:-1], -1)

    def likeliest(self, hidden: Any) -> Any:
        """The token after the last position of each sequence."""
        return self.scores(hidden[:, -1]).argmax(-1).astype(ms.int32)


class Layer(nn.Cell):
    """Attention and the feed-forward part (SwiGLU), each added to what came in."""

    def __init__(self, architecture: Architecture, weights: Mapping[str, np.ndarray], name: str) -> None:
        super().__init__(auto_prefix=False)
        self.heads = architecture.num_key_value_heads
        self.groups, self.head_dim = architecture.groups, architecture.head_dim
        self.scale = architecture.head_dim**-0.5
        self.input_norm = RMSNorm(architecture, weights, f"{name}.input_layernorm.weight")
        self.inner_norm = RMSNorm(architecture, weights, f"{name}.post_attention_layernorm.weight")
        self.query, self.key, self.value, self.output = (
            parameter(weights, f"{name}.self_attn.{part}_proj.weight") for part in "qkvo"
        )
        self.gate, self.up, self.down = (
            parameter(weights, f"{name}.mlp.{part}_proj.weight") for part in ("gate", "up", "down")
        )
        self.product = ops.MatMul(transpose_b=True)
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.weighted = ops.BatchMatMul()
        self.softmax = ops.Softmax()
        self.update = ops.ScatterUpdate()

    def construct(
        self, hidden: Any, cosines: Any, sines: Any, mask: Any, keys: Any, values: Any, rows: Any
    ) -> Any:
        batch, length, width = hidden.shape
        inner = self.input_norm(hidden).reshape(-1, width)
        query = self.turned(self.split(self.product(inner, self.query), batch, length), cosines, sines)
        key = self.turned(self.split(self.product(inner, self.key), batch, length), cosines, sines)
        value = self.split(self.product(inner, self.value), batch, length)
        if keys is not None:
            kept_keys = self.update(keys, rows, key.reshape(-1, self.head_dim))
            kept_values = self.update(values, rows, value.reshape(-1, self.head_dim))
            if mask.ndim == 1:
                key = kept_keys.reshape(batch, self.heads, -1, self.head_dim)
                value = kept_values.reshape(batch, self.heads, -1, self.head_dim)
            else:
                # What nothing depends on is left out of a graph, and updates with it.
                key, value = ops.depend(key, kept_keys), ops.depend(value, kept_values)
        # The heads of a group are so many more queries to the same keys.
        query = query.reshape(batch, self.heads, self.groups * length, self.head_dim)
        scores = self.scores(query, key) * self.scale
        scores = scores.reshape(batch, self.heads, self.groups, length, -1) + mask
        # Half formats sum too coarsely.
        shares = self.softmax(scores.astype(ms.float32)).astype(hidden.dtype)
        seen = self.weighted(shares.reshape(batch, self.heads, self.groups * length, -1), value)
        seen = seen.reshape(batch, -1, length, self.head_dim).swapaxes(1, 2).reshape(batch * length, -1)
        hidden = hidden + self.product(seen, self.output).reshape(batch, length, width)
        inner = self.inner_norm(hidden).reshape(-1, width)
        inner = ops.silu(self.product(inner, self.gate)) * self.product(inner, self.up)
        return hidden + self.product(inner, self.down).reshape(batch, length, width)

    def split(self, heads: Any, batch: int, length: int) -> Any:
        return heads.reshape(batch, length, -1, self.head_dim).swapaxes(1, 2)

    def turned(self, heads: Any, cosines: Any, sines: Any) -> Any:
        """Heads (batch, heads, length, head_dim), turned by their positions' angles."""
        half = self.head_dim // 2
        turned = ops.concat((-heads[..., half:], heads[..., :half]), -1)
        return heads * cosines + turned * sines


class RMSNorm(nn.Cell):
    """Zhang and Sennrich (2019); in float32 whatever the weights are."""

    def __init__(self, architecture: Architecture, weights: Mapping[str, np.ndarray], name: str) -> None:
        super().__init__(auto_prefix=False)
        self.weight = parameter(weights, name)
        self.eps = architecture.rms_norm_eps

    def construct(self, hidden: Any) -> Any:
        wide = hidden.astype(ms.float32)
        wide = wide * ops.rsqrt(ops.square(wide).mean(-1, keep_dims=True) + self.eps)
        return self.weight * wide.astype(hidden.dtype)


class Cached(nn.Cell):
    """The network with keys and values for a batch size and the most tokens of a sequence.

    Those of a layer are the rows of one matrix, so that `ScatterUpdate` writes the rows of a position in
    place; read, they are (batch, key-value heads, positions, head_dim).
    """

    def __init__(
        self, network: Llama, keys: ms.ParameterTuple, values: ms.ParameterTuple, batch_size: int, length: int
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.keys, self.values, self.length = network, keys, values, length
        self.cosines, self.sines = network.cosines, network.sines
        sequences = batch_size * network.architecture.num_key_value_heads
        self.first_rows = ms.Tensor(np.arange(sequences)[:, None] * length, ms.int32)


class Prefill(Cached):
    """Tokens (batch, length) to the next of each sequence."""

    def construct(self, tokens: Any) -> Any:
        length = tokens.shape[1]
        rows = (self.first_rows + ops.arange(length).astype(ms.int32)).reshape(-1)
        cosines, sines = self.cosines[:length], self.sines[:length]
        mask = after_each(length)
        return self.network.likeliest(
            self.network.hidden(tokens, cosines, sines, mask, self.keys, self.values, rows)
        )


class Step(Cached):
    """Tokens (batch,) at a position to the next of each sequence."""

    def construct(self, tokens: Any, position: Any) -> Any:
        rows = (self.first_rows + position).reshape(-1)
        cosines = ops.gather(self.cosines, position.reshape(1), 0)
        sines = ops.gather(self.sines, position.reshape(1), 0)
        mask = ops.where(ops.arange(self.length) <= position, 0.0, HIDDEN)
        return self.network.likeliest(
            self.network.hidden(tokens.reshape(-1, 1), cosines, sines, mask, self.keys, self.values, rows)
        )


class Cache:
    """Keys and values, and the two graphs that write them."""

    def __init__(self, network: Llama, batch_size: int, length: int) -> None:
        sizes = network.architecture
        shape = (batch_size * sizes.num_key_value_heads * length, sizes.head_dim)

        def made(kind: str) -> ms.ParameterTuple:
            return ms.ParameterTuple(
                ms.Parameter(
                    ms.Tensor(np.zeros(shape, np.float32), network.embedding.dtype),
                    name=f"{kind}.{number}",
                    requires_grad=False,
                )
                for number in range(sizes.num_hidden_layers)
            )

        self.arrays = keys, values = made("keys"), made("values")
        self.prefill = Prefill(network, keys, values, batch_size, length)
        self.step = Step(network, keys, values, batch_size, length)


class Decoder:
    """What generation asks of the network."""

    def __init__(self, network: Llama) -> None:
        self.network = network
        self.positions: list[Any] = []

    def logits(self, tokens: Any, first: int = 0) -> Any:
        return self.network(tokens, first)

    def new_cache(self, batch_size: int, length: int) -> Cache:
        known = len(self.positions)
        self.positions += [ms.Tensor(place, ms.int32) for place in range(known, length)]
        return Cache(self.network, batch_size, length)

    def cache_bytes(self, cache: Cache) -> int:
        return sum(kept.nbytes for kind in cache.arrays for kept in kind)

    def prefill(self, tokens: Any, cache: Cache) -> Any:
        return cache.prefill(tokens)

    def decode(self, tokens: Any, position: int, cache: Cache) -> Any:
        # A tensor, since one graph should serve all positions: a number would be part of it.
        return cache.step(tokens, self.positions[position])


def after_each(length: int) -> Any:
    """(length, length): what hides the positions after each."""
    return ops.triu(ops.full((length, length), HIDDEN, dtype=ms.float32), 1)


def parameter(weights: Mapping[str, np.ndarray], name: str) -> ms.Parameter:
    """A weight under its name in the checkpoint."""
    return ms.Parameter(ms.Tensor(np.ascontiguousarray(weights[name])), name=name, requires_grad=False)
