"""What `prepare` writes of a language model: its text as tokens, and what the fp32 reference says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hwfit.worker import hugging_face, zoo
from hwfit.worker.generation import evaluation, text
from hwfit.worker.generation.torch import decoder_of


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
    }
    return arrays, facts


def context_tokens(module: Any) -> int | None:
    """The most tokens of a sequence; None where the model does not say."""
    told = getattr(module, "architecture", None) or getattr(module, "config", None)
    return getattr(told, "max_position_embeddings", None)


def architecture(module: Any) -> dict[str, Any]:
    """The numbers from which other frameworks build the network, where hwfit knows its architecture."""
    own = getattr(module, "architecture", None)
    return own.to_dict() if own is not None else json.loads(module.config.to_json_string())
