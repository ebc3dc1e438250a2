"""The Llama network in torch.

Run on: CPU (torch 2.13.0).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwfit.worker.zoo.llama import Architecture
from hwfit.worker.zoo.llama.torch_cache import LayerCache

# One for each layer.
Cache = list[LayerCache]


class Llama(nn.Module):
    """The network and its head, which shares the embedding's weights where the architecture says so."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.model = Stack(architecture)
        self.lm_head = linear(architecture.hidden_size, architecture.vocab_size)
        self.layer_cache: type[LayerCache] = LayerCache
        if architecture.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def logits(self, tokens: Tensor, first: int = 0) -> Tensor:
        # What a cache loses is part of what the model says.
        cache = self.new_cache(*tokens.shape) if self.layer_cache.is_lossy else None
        return self.lm_head(self.model(tokens, 0, cache)[:, first:])

    forward = logits

    def new_cache(self, batch_size: int, length: int) -> Cache:
        sizes = self.architecture
        shape = (batch_size, sizes.num_key_value_heads, length, sizes.head_dim)
        # In the format and at the place of a buffer: weights may be quantized, or lie on the host.
        return [self.layer_cache(shape, self.model.cosines) for _ in range(sizes.num_hidden_layers)]

    def cache_bytes(self, cache: Cache) -> int:
        return sum(layer.nbytes for layer in cache)

    def prefill(self, tokens: Tensor, cache: Cache) -> Tensor:
        return self.lm_head(self.model(tokens, 0, cache)[:, -1]).argmax(-1)

    def decode(self, tokens: Tensor, position: int, cache: Cache) -> Tensor:
        return self.lm_head(self.model(tokens[:, None], position, cache)[:, -1]).argmax(-1)


class Stack(nn.Module):
    """Embedding, layers and the last norm."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.embed_tokens = embedding(architecture.vocab_size, architecture.hidden_size)
        self.layers = nn.ModuleList(Layer(architecture) for _ in range(architecture.num_hidden_layers))
        self.norm = RMSNorm(architecture)
        # Not weights: no part of a checkpoint, and of no size that is reported.
        for name, table in zip(("cosines", "sines"), architecture.rotary_tables(), strict=True):
            self.register_buffer(name, torch.from_numpy(table), persistent=False)

    def forward(self, tokens: Tensor, position: int, cache: Cache | None) -> Tensor:
        hidden = self.embed_tokens(tokens)
        rows = slice(position, position + tokens.shape[1])
        rotation = self.cosines[rows], self.sines[rows]
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden, rotation, position, cache[number] if cache else None)
        return self.norm(hidden)


class Layer(nn.Module):
    """Attention and the feed-forward part, each added to what came in."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.self_attn = Attention(architecture)
        self.mlp = FeedForward(architecture)
        self.input_layernorm = RMSNorm(architecture)
        self.post_attention_layernorm = RMSNorm(architecture)

    def forward(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        position: int,
        cache: LayerCache | None,
    ) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), rotation, position, cache)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Attention(nn.Module):
    """Attention of each position to itself and those before it."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.sizes = sizes = architecture
        self.q_proj = linear(sizes.hidden_size, sizes.num_attention_heads * sizes.head_dim)
        self.k_proj = linear(sizes.hidden_size, sizes.num_key_value_heads * sizes.head_dim)
        self.v_proj = linear(sizes.hidden_size, sizes.num_key_value_heads * sizes.head_dim)
        self.o_proj = linear(sizes.num_attention_heads * sizes.head_dim, sizes.hidden_size)

    def forward(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        position: int,
        cache: LayerCache | None,
    ) -> Tensor:
        sizes = self.sizes
        batch, length, _ = hidden.shape
        query, key, value = (
            projection(hidden).view(batch, length, -1, sizes.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotated(query, *rotation), rotated(key, *rotation)
        end = position + length
        if cache is not None:
            cache.write(position, key, value)
            # Prompts as well where it is lossy, so that a text is read as it is written.
            if position or cache.is_lossy:
                key, value = cache.read(end)
        if length == 1:
            # One position sees all others: the heads of a group are queries to the same keys.
            query = query.reshape(batch, sizes.num_key_value_heads, sizes.groups, sizes.head_dim)
            seen = functional.scaled_dot_product_attention(query, key, value)
        else:
            key, value = (x.repeat_interleave(sizes.groups, dim=1) for x in (key, value))
            seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            seen = seen.transpose(1, 2)
        return self.o_proj(seen.reshape(batch, length, -1))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer, 2020)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden, inner = architecture.hidden_size, architecture.intermediate_size
        self.gate_proj = linear(hidden, inner)
        self.up_proj = linear(hidden, inner)
        self.down_proj = linear(inner, hidden)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class RMSNorm(nn.Module):
    """Zhang and Sennrich (2019); in float32 whatever the weights are."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.eps = architecture.rms_norm_eps
        self.weight = nn.Parameter(torch.ones(architecture.hidden_size))

    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * (wide * scale).to(hidden.dtype)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer without bias whose weights are not drawn, since a checkpoint brings them."""
    return nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False)


def embedding(entries: int, width: int) -> nn.Embedding:
    """The same of an embedding."""
    return nn.utils.skip_init(nn.Embedding, entries, width)


def rotated(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Heads (batch, heads, length, head_dim), turned by their positions' angles."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cosines + torch.cat((-second, first), dim=-1) * sines
