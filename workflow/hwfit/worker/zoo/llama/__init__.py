"""Decoder-only language models of the Llama architecture (Touvron et al., 2023), one file a framework.

RMSNorm before attention and before a SwiGLU feed-forward part, rotary positions, and attention in which
groups of query heads share a key and a value (Ainslie et al., GQA, 2023). Each file builds the network from
an `Architecture` and a checkpoint in Hugging Face's names, as a decoder (`hwfit.worker.generation.Decoder`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwfit.worker.errors import Unsupported


@dataclass(frozen=True)
class Architecture:
    """The numbers of a network, under the names of Hugging Face's `LlamaConfig`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rope_theta: float
    rms_norm_eps: float
    max_position_embeddings: int
    tie_word_embeddings: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Architecture:
        """Read a `config.json`, as any version of transformers wrote it.

        Raises Unsupported where the network is another than what is built here.
        """
        # Newer files keep the rotary settings together, older ones the base alone.
        rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
        kind = rotary.get("rope_type", rotary.get("type", "default"))
        differences = {
            "model_type": (config.get("model_type", "llama"), "llama"),
            "hidden_act": (config.get("hidden_act", "silu"), "silu"),
            "rope_type": (kind, "default"),
            "attention_bias": (config.get("attention_bias", False), False),
            "mlp_bias": (config.get("mlp_bias", False), False),
        }
        for name, (found, built) in differences.items():
            if found != built:
                raise Unsupported(f"{name} is {found!r}; hwfit's own network is built for {built!r}")
        heads = config["num_attention_heads"]
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_hidden_layers=config["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            rope_theta=float(rotary.get("rope_theta", config.get("rope_theta", 10000.0))),
            rms_norm_eps=config["rms_norm_eps"],
            max_position_embeddings=config["max_position_embeddings"],
            tie_word_embeddings=config.get("tie_word_embeddings", False),
        )

    @property
    def groups(self) -> int:
        """How many query heads share a key and a value."""
        return self.num_attention_heads // self.num_key_value_heads

    def to_dict(self) -> dict[str, Any]:
        """What `from_config` reads."""
        return asdict(self)

    def rotary_tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and sines of every position, float32 (positions, head_dim).

        Su et al. (RoFormer, 2021), with the two halves of a head as the pairs that are turned.
        """
        exponents = np.arange(0, self.head_dim, 2, dtype=np.float32) / np.float32(self.head_dim)
        frequencies = (1.0 / np.float32(self.rope_theta) ** exponents).astype(np.float32)
        positions = np.arange(self.max_position_embeddings, dtype=np.float32)
        angles = np.tile(positions[:, None] * frequencies, (1, 2))
        return np.cos(angles), np.sin(angles)
