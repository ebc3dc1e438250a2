"""Single stream: the next call when the last one is done. What one user of the device waits for.

A duration is that of a call: from inputs that lie on the device to outputs that are ready there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hwfit.records import Flag
from hwfit.worker import host, sampling
from hwfit.worker.sampling import StoppingRule
from hwfit.worker.scenarios import Answer, Scenario, Series

DRIFT_LIMIT = 0.2
# Fewer independent samples than this in a longer series: what disturbs it lasts too long to average out.
FEW_INDEPENDENT_SAMPLES = 20


class SingleStream(Scenario):
    """Calls of the session's `run`, over the placed inputs in turn."""

    keeps_batches = False
    percentiles: tuple[float, ...] = (0.90, 0.99)

    @property
    def call(self) -> Callable[[Any], Any]:
        """What is timed: the session's own function, since one around it would be timed too."""
        return self.session.run

    def inputs(self) -> Sequence[Any]:
        """What is called with, in turn, each time from the first."""
        return self.placed

    def fetched(self, output: Any) -> np.ndarray:
        """The outputs of a timed call in the host's memory."""
        return self.session.fetch(output)

    def warm_up(self, max_seconds: float, earlier: Sequence[float]) -> tuple[int, bool | None]:
        return sampling.warm_up(self.call, self.inputs(), max_seconds, earlier)

    def sample(self, rule: StoppingRule) -> Series:
        before = host.page_faults()
        durations, outputs = sampling.sample(self.call, self.inputs(), rule)
        faults = (host.page_faults() - before) / len(durations)
        return Series(
            durations,
            self.answers(outputs),
            throughput=self.batch_size / float(durations.mean()),
            call_s=float(np.median(durations)),
            measured_s=float(durations.sum()),
            details={"page_faults_per_call": faults},
        )

    def repeat(self, series: Series, seconds: float) -> int:
        call, inputs = self.call, self.inputs()
        calls, end = 0, time.perf_counter() + seconds
        while not calls or time.perf_counter() < end:
            call(inputs[calls % len(inputs)])
            calls += 1
        return calls * self.batch_size

    def answers(self, outputs: list[Any]) -> Iterator[Answer]:
        """What the timed calls gave last for each input, beside what was given before."""
        for got, wanted in zip(outputs, self.expected, strict=True):
            if got is not None:
                yield self.fetched(got), wanted

    def figures(self, series: Series) -> tuple[dict[str, float | None], list[Flag], dict[str, Any]]:
        durations, flags = series.durations, []
        median = float(np.median(durations))
        interval = sampling.median_interval(durations, series.measured_s)
        third = len(durations) // 3
        if third >= 5:
            drift = float(np.median(durations[-third:]) / np.median(durations[:third]) - 1)
            if abs(drift) > DRIFT_LIMIT:
                flags.append(Flag("drift", f"the last third took {drift:+.0%} against the first", drift))
        relative = interval.relative_half_width(median)
        wanted = self.job.measurement["relative_ci"]
        if not interval.proven or relative > wanted:
            flags.append(Flag("wide_interval", f"±{relative:.1%}, asked for ±{wanted:.1%}", relative))
        worth = interval.independent_samples
        if worth < FEW_INDEPENDENT_SAMPLES <= len(durations):
            said = f"{len(durations)} calls that hang together are worth {worth:.0f} independent ones"
            flags.append(Flag("correlated", said, worth))
        figures: dict[str, float | None] = {
            "latency_p50_ms": median * 1e3,
            "latency_p50_ci_low_ms": interval.low * 1e3,
            "latency_p50_ci_high_ms": interval.high * 1e3,
        }
        percentiles, unproven = percentile_figures(durations, self.percentiles)
        details = {
            "effective_samples": interval.effective_samples,
            "median_standard_error": relative / sampling.LOOK_QUANTILE,
        }
        return figures | percentiles, flags + unproven, details


SCENARIO = SingleStream


def percentile_figures(
    durations: np.ndarray, percentiles: Sequence[float]
) -> tuple[dict[str, float | None], list[Flag]]:
    """Percentiles (0 to 1) in ms, and a flag for each that too few samples prove."""
    figures: dict[str, float | None] = {}
    flags = []
    for percentile in percentiles:
        value = sampling.proven_percentile(durations, percentile)
        name = f"p{percentile * 100:.0f}"
        figures[f"latency_{name}_ms"] = None if value is None else value * 1e3
        if value is None:
            needed = sampling.samples_that_prove(percentile)
            flags.append(Flag(f"{name}_unproven", f"{len(durations)} samples, {needed} prove it"))
    return figures, flags
