"""Generate: a batch of prompts is read, and as many tokens are written to each as the scenario's name says.

A duration is that of a whole request: from prompts that lie on the device to the last token, the next request
when it is done. Nothing stops at an end of text, so that every request is the same work, as in vLLM's
benchmarks (`ignore_eos`). The time after each token is noted with the device waited for, as a user who reads
along would see it; the time to the first token and that of each further one are defined as MLPerf's LoadGen
defines them (TTFT, TPOT).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hwfit.records import Flag
from hwfit.worker.generation import GenerationSession, Written
from hwfit.worker.sampling import StoppingRule
from hwfit.worker.scenarios import Series
from hwfit.worker.scenarios.single_stream import SingleStream


class Generate(SingleStream):
    """Requests one after the other, over the prompts in turn."""

    session: GenerationSession

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        assert self.job.lengths is not None
        self.prompt_tokens = self.job.lengths[0]
        self.stamps: list[list[float]] = []

    @property
    def call(self) -> Callable[[Any], Any]:
        return self.request

    def request(self, placed: Any) -> Written:
        """One request; beside its second or so, to keep its times costs nothing."""
        written = self.session.run(placed)
        self.stamps.append(written.stamps_s)
        return written

    def inputs(self) -> Sequence[Any]:
        self.stamps = []
        return self.placed

    def sample(self, rule: StoppingRule) -> Series:
        series = super().sample(rule)
        series.arrays["stamps_s"] = np.array(self.stamps)
        return series

    def figures(self, series: Series) -> tuple[dict[str, float | None], list[Flag], dict[str, Any]]:
        figures, flags, details = super().figures(series)
        tokens = token_figures(series.arrays["stamps_s"], self.batch_size, self.prompt_tokens)
        return figures | tokens | {"kv_cache_mb": self.session.cache_bytes() / 1e6}, flags, details


SCENARIO = Generate


def token_figures(stamps_s: np.ndarray, batch_size: int, prompt_tokens: int) -> dict[str, float | None]:
    """What a user sees of single tokens, and the pace of the two phases, of the whole batch.

    Parameters
    ----------
    stamps_s : shape (requests, output tokens): when each token was there, seconds after its request began
    """
    first_s = float(np.median(stamps_s[:, 0]))
    figures: dict[str, float | None] = {
        "time_to_first_token_ms": first_s * 1e3,
        "time_per_output_token_ms": None,
        "prefill_tokens_per_s": batch_size * prompt_tokens / first_s,
        "decode_tokens_per_s": None,
    }
    gaps = stamps_s.shape[1] - 1
    if gaps:
        # The mean within a request, since a user reads at that pace; the median over requests.
        gap_s = float(np.median((stamps_s[:, -1] - stamps_s[:, 0]) / gaps))
        figures["time_per_output_token_ms"] = gap_s * 1e3
        figures["decode_tokens_per_s"] = batch_size / gap_s
    return figures
