"""A small language model of the Llama architecture over bytes, for training: 0.8 M weights, no tokenizer.

It has no published weights: training draws them from a run's seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hwfit.worker.errors import Unsupported
from hwfit.worker.zoo.llama import Architecture

TOLERANCE = 1e-3
IS_TRAINED_HERE = False
PROVENANCE = "untrained"
ARCHITECTURE = Architecture(
    vocab_size=256,
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    rope_theta=10_000.0,
    rms_norm_eps=1e-5,
    max_position_embeddings=128,
    tie_word_embeddings=True,
)


def torch_module() -> Any:
    """The network, its weights still to be drawn."""
    from hwfit.worker.zoo.llama.torch import Llama

    return Llama(ARCHITECTURE)


def published() -> tuple[Any, Any]:
    """Raises Unsupported: there are no weights to measure it with."""
    raise Unsupported("byte-decoder is for the section training: it has no published weights to be run with")


def training_tokens(dataset: Mapping[str, np.ndarray]) -> np.ndarray:
    """The bytes of a data set's texts, one after the other, int32 (n,)."""
    text = "\n\n".join(map(str, dataset["texts"].ravel()))
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
