"""The model that the benchmarks share: the 6-layer, 384-wide BERT classifier of the peer's comparison.

Random weights, from a seed, since only time is of interest; the token ids are text's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SEQUENCE_LENGTH = 64


def load() -> Any:
    """The classifier as a module that takes token ids, shape (n, 64), and gives logits, shape (n, 2)."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            config = BertConfig(
                hidden_size=384,
                num_hidden_layers=6,
                num_attention_heads=12,
                intermediate_size=1536,
                num_labels=2,
            )
            self.bert = BertForSequenceClassification(config)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.bert(input_ids=ids).logits

    return Classifier()


def token_ids(samples: int = 64) -> np.ndarray:
    """Words of CPython's help text as ids below the vocabulary's size, int64 (samples, 64)."""
    from pydoc_data.topics import topics

    words = " ".join(topics[name] for name in sorted(topics)).split()
    known: dict[str, int] = {}
    ids = np.array([1000 + known.setdefault(word, len(known)) % 29_000 for word in words], np.int64)
    return ids[: samples * SEQUENCE_LENGTH].reshape(samples, SEQUENCE_LENGTH)
