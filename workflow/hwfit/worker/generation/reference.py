"""What `prepare` writes of a language model: its text as tokens, and what the fp32 reference says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hwfit.worker import hugging_face, zoo
from hwfit.worker.generation import Decoder, evaluation, text
from hwfit.worker.generation.torch import decoder_of
from hwfit.worker.live_bytes import LiveBytes


def language_model(source: Mapping[str, Any]) -> tuple[Any, Any]:
    """The source's fp32 module with its weights, and its tokenizer; None where it has none."""
    if "zoo" in source:
        return zoo.model(source["zoo"]).published()
    return hugging_face.language_model(source), hugging_face.tokenizer(source)


@torch.inference_mode()
def describe(
    module: Any, tokenizer: Any, dataset: Mapping[str, np.ndarray], where: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of the evaluation set, and the entries of the card that only a language model has."""
    tokens, prefix = text.tokens_of(dataset, tokenizer, where)
    context = context_tokens(module)
    windows = text.windows(tokens, prefix, context)
    decoder = decoder_of(module)

    def logits(rows: np.ndarray) -> np.ndarray:
        return decoder.logits(torch.from_numpy(rows).long()).float().numpy()

    reading = evaluation.read(logits, windows)
    arrays = {
        "input_ids": windows,
        "likeliest": reading.likeliest,
        "last_logits": reading.last_logits,
        "tokens": tokens,
        "prefix": prefix,
    }
    facts = {
        "inputs": [{"name": "input_ids", "dtype": "int32", "shape": [windows.shape[1]]}],
        "samples": len(windows),
        "reference_perplexity": reading.perplexity,
        "context_tokens": context,
        "architecture": architecture(module),
    } | memory_of_a_token(decoder, windows[:1])
    return arrays, facts


def memory_of_a_token(decoder: Decoder, prompt: np.ndarray) -> dict[str, float]:
    """Bytes of the largest set of activations while a prompt is read, and of the cache, by a token of it."""
    tokens = torch.from_numpy(prompt).long()
    cache = decoder.new_cache(*prompt.shape)
    # The cache of some models has its arrays after the first call alone.
    decoder.prefill(tokens, cache)
    with LiveBytes() as live:
        decoder.prefill(tokens, cache)
    return {
        "peak_activation_bytes_per_token": live.most / tokens.numel(),
        "cache_bytes_per_token": decoder.cache_bytes(cache) / tokens.numel(),
    }


def context_tokens(module: Any) -> int | None:
    """The most tokens of a sequence; None where the model does not say."""
    told = getattr(module, "architecture", None) or getattr(module, "config", None)
    return getattr(told, "max_position_embeddings", None)


def architecture(module: Any) -> dict[str, Any]:
    """The numbers from which other frameworks build the network, where hwfit knows its architecture."""
    own = getattr(module, "architecture", None)
    return own.to_dict() if own is not None else json.loads(module.config.to_json_string())
