"""How right a language model is: perplexity, agreement with the fp32 reference, and what it wrote.

Perplexity is the exponential of the mean negative logarithm of the probability that the model gave to the
token that really came next (Jelinek et al., 1977), here over windows of one text, each read from its start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwfit.worker import outputs
from hwfit.worker.errors import Incorrect
from hwfit.worker.generation import GenerationSession
from hwfit.worker.generation.text import TextSet

# Windows that are evaluated at once, whatever the batch size that is measured: logits are large, and
# MindSpore's pool keeps what it once held (with 4 at once, 3.2 GB where writing takes 1.6 GB).
WINDOWS_A_CALL = 1
# Windows whose last logits the reference keeps: all of them would be gigabytes.
KEPT_LOGITS = 8
# A token that was written with the cache and is not the likeliest without it: in what share of cases a
# rounding explains that, in a narrow format or with int8 activations.
LEAST_CONSISTENCY = 0.25

Logits = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Reading:
    """What a model says of windows.

    Attributes
    ----------
    perplexity : over all tokens but the first of each window
    likeliest : the most likely next token after each, int32 (windows, tokens)
    last_logits : after the last token of the first KEPT_LOGITS windows, float32
    """

    perplexity: float
    likeliest: np.ndarray
    last_logits: np.ndarray


def read(logits: Logits, windows: np.ndarray, alive: Callable[[], None] = lambda: None) -> Reading:
    """Read windows, int32 (windows, tokens), with a function that gives the logits of every position.

    Raises Incorrect where one of them is not finite.
    """
    likeliest = np.empty_like(windows)
    losses, last = [], []
    for start in range(0, len(windows), WINDOWS_A_CALL):
        alive()
        # Always as many, since another number would be another graph.
        rows = np.arange(start, start + WINDOWS_A_CALL) % len(windows)
        found = logits(windows[rows])
        for row, scores in zip(rows[: len(windows) - start], found, strict=False):
            outputs.require_finite(scores)
            likeliest[row] = scores.argmax(axis=-1)
            losses.append(surprise(scores[:-1], windows[row, 1:]))
            if row < KEPT_LOGITS:
                last.append(scores[-1])
    return Reading(math.exp(float(np.mean(losses))), likeliest, np.stack(last))


def surprise(logits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The negative logarithm of the probability of each token: logits (n, vocabulary), tokens (n,)."""
    highest = logits.max(axis=-1, keepdims=True)
    total = np.exp(logits - highest).sum(axis=-1, dtype=np.float64)
    chosen = np.take_along_axis(logits, tokens[:, None], axis=-1)
    return np.log(total) - (chosen - highest)[:, 0]


def figures_of(
    reading: Reading, data: TextSet, reference_perplexity: float | None
) -> dict[str, float | None]:
    """A cell's metrics beside the reference's."""
    figures: dict[str, float | None] = {
        "perplexity": reading.perplexity,
        "fidelity": float((reading.likeliest == data.likeliest).mean()),
        "relative_error": outputs.relative_error(reading.last_logits, data.last_logits),
    }
    if reference_perplexity:
        figures["perplexity_increase"] = reading.perplexity / reference_perplexity - 1
    return figures


class LanguageEvaluation:
    """A session's evaluation, at each of its batch sizes.

    Parameters
    ----------
    card : the model's
    tolerance : of logits, over the largest; None where passes have changed the model
    alive : tells the supervisor that work goes on
    """

    def __init__(
        self, session: Any, card: Mapping[str, Any], tolerance: float | None, alive: Callable[[], None]
    ) -> None:
        self.session: GenerationSession = session
        self.card = card
        self.tolerance = tolerance
        self.alive = alive
        self.reading: Reading | None = None

    def evaluate(
        self, data: TextSet, batch_size: int
    ) -> tuple[dict[str, float | None], list[np.ndarray], list[float], dict[str, float]]:
        """How right the session is, which is read once, and whether a request of this batch size is right.

        Returns
        -------
        figures : metrics
        outputs : the tokens that were written to the first prompts
        seconds : of that request
        details : what only the record keeps

        Raises
        ------
        Incorrect
            A session without passes disagrees with the fp32 reference by more than the tolerance, or what
            is written with the cache is not what the same session says without one.
        """
        if self.reading is None:
            self.reading = read(self.session.logits, data.windows, self.alive)
        figures = figures_of(self.reading, data, self.card.get("reference_perplexity"))
        outputs.require_close(figures["relative_error"], self.tolerance)
        prompts = data.buffers(batch_size)[0]
        placed = self.session.place(prompts)
        start = time.perf_counter()
        request = self.session.run(placed)
        seconds = time.perf_counter() - start
        written = self.session.fetch(request)
        self.alive()
        share, shortfall = consistency(self.session, prompts["input_ids"], written)
        require_consistent(share, shortfall, self.tolerance)
        details = {"cache_consistency": share, "cache_shortfall": shortfall}
        return figures, [written], [seconds], details


def consistency(session: GenerationSession, prompts: np.ndarray, written: np.ndarray) -> tuple[float, float]:
    """Whether what was written with the cache is what the same session says without one.

    Looks at the first and the last sequence of the batch.

    Returns
    -------
    share of tokens that are the likeliest without the cache
    shortfall : by how much the logit of one was below the highest at most, over the largest absolute logit
    """
    rows = sorted({0, len(prompts) - 1})
    text = np.concatenate([prompts[rows], written[rows, :-1]], axis=1)
    logits = session.logits(text, prompts.shape[1] - 1)
    chosen = np.take_along_axis(logits, written[rows][..., None], axis=-1)[..., 0]
    highest = logits.max(axis=-1)
    shortfall = float((highest - chosen).max() / max(float(np.abs(logits).max()), 1e-30))
    return float((chosen >= highest).mean()), shortfall


def require_consistent(share: float, shortfall: float, tolerance: float | None) -> None:
    """Raises Incorrect where the cache changed what is written.

    Parameters
    ----------
    tolerance : of logits over the largest, for a session without passes; None for others, whose roundings
        depend on how much is computed at once
    """
    if share < LEAST_CONSISTENCY:
        raise Incorrect(f"{1 - share:.0%} of the tokens written with the cache are others without it")
    # Both ways may be off by the tolerance.
    if tolerance and shortfall > 2 * tolerance:
        raise Incorrect(
            f"a token written with the cache has a logit {shortfall:.2g} of the largest below the best "
            f"without it, allowed {2 * tolerance:g}"
        )
