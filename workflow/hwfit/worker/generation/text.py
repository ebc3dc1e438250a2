"""Real text as tokens: windows to be evaluated on, and prompts to be answered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker.errors import Unsupported
from hwfit.worker.evaluation_set import EvaluationSet

WINDOW_TOKENS = 128
WINDOWS = 32
# Distinct prompts, as far as the text goes.
PROMPTS = 256


class TextSet(EvaluationSet):
    """What `prepare` wrote for a language model. Its inputs are prompts; the windows stand beside them.

    Attributes
    ----------
    windows : int32 (windows, tokens)
    likeliest : the fp32 reference's most likely next token after each, int32 of the same shape
    last_logits : the reference's logits after the last token of the first few windows, float32
    """

    def __init__(self, path: Path, prompt_tokens: int) -> None:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        self.labels = self.reference = None
        self.windows, self.likeliest = arrays["input_ids"], arrays["likeliest"]
        self.last_logits = arrays["last_logits"]
        self.inputs = {"input_ids": passages(arrays["tokens"], arrays["prefix"], prompt_tokens, PROMPTS)}
        self.samples = len(self.inputs["input_ids"])


def passages(tokens: np.ndarray, prefix: np.ndarray, length: int, most: int) -> np.ndarray:
    """Passages of a text from evenly spaced beginnings, each after the prefix: int32 (passages, length).

    Parameters
    ----------
    tokens : the whole text, shape (n,)
    prefix : what the model wants before a text, shape (0,) or (1,)
    most : as many as this, fewer where the text does not have so many beginnings

    Raises
    ------
    Unsupported
        The text is too short.
    """
    taken = max(1, length - len(prefix))
    last = len(tokens) - taken
    if last < 1:
        raise Unsupported(f"the text has {len(tokens)} tokens, too few for passages of {length}")
    starts = np.unique(np.linspace(0, last, most).astype(int))
    rows = np.array([[*prefix, *tokens[start : start + taken]] for start in starts], np.int32)
    return rows[:, :length]


def windows(tokens: np.ndarray, prefix: np.ndarray, context_tokens: int | None = None) -> np.ndarray:
    """The passages for evaluation, as many and as long as the text and the model's context allow."""
    length = min(WINDOW_TOKENS, context_tokens or WINDOW_TOKENS, max(2, len(tokens) // 2))
    return passages(tokens, prefix, length, min(WINDOWS, max(1, len(tokens) // length)))


def tokens_of(dataset: Mapping[str, np.ndarray], tokenizer: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The text as one row of tokens, int32 (n,), and the prefix.

    The data set holds `tokens` that the user has made, or `texts`, to be joined by empty lines.

    Raises
    ------
    ValueError
        It holds neither, or texts, and the model has no tokenizer.
    """
    if "tokens" in dataset:
        tokens = dataset["tokens"]
        if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer) or len(tokens) < 4:
            raise ValueError(
                f"{where}: tokens are {tokens.dtype} {tokens.shape}, expected whole numbers in one row"
            )
        return tokens.astype(np.int32), np.empty(0, np.int32)
    if "texts" not in dataset:
        raise ValueError(
            f"{where} holds neither texts nor tokens; it holds {', '.join(dataset) or 'nothing'}"
        )
    if tokenizer is None:
        raise ValueError(f"{where} holds texts, and the model has no tokenizer: give it tokens")
    text = "\n\n".join(map(str, dataset["texts"].ravel()))
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    first = tokenizer("a")["input_ids"][0]
    prefix = [first] if first == tokenizer.bos_token_id else []
    return np.array(tokens, np.int32), np.array(prefix, np.int32)
