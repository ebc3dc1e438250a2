"""Server: requests for single samples arrive at random (Poisson), and each should be answered in time.

The figure is the highest rate that keeps every limit on a percentile of the latency, found by bisection;
LoadGen makes the arrivals and measures the latencies. A duration is a request's latency: from its
scheduled arrival to its answer in the host's memory, queueing included.

The batch size is the most that one call takes: whoever waits when the device is free goes along, and a
call is made for the next power of two, filled up with copies, as servers with compiled graphs do it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hwfit.records import Flag
from hwfit.series import exceedance_verdict
from hwfit.worker import sampling
from hwfit.worker.sampling import StoppingRule
from hwfit.worker.scenarios import Answer, Scenario, Series
from hwfit.worker.scenarios.load_generator import Arrivals, serve
from hwfit.worker.scenarios.single_stream import percentile_figures

# Requests at a rate: 4 of 1,000 late ones prove a p99 at 95%.
REQUESTS = 1000
FEWEST_REQUESTS = 30
# The highest rate that holds and the lowest that does not are this close in the end.
RESOLUTION = 0.05
STEP = 1.25
MOST_PROBES = 16
# Calls keep the device busy for this share of the time at the lowest rate that is tried.
LOWEST_LOAD = 0.05
SIMULATED_REQUESTS = 4000


class Server(Scenario):
    """A queue in front of the session."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.limits_s = [(float(q), limit / 1e3) for q, limit in self.job.limits_ms.items()]
        self.samples = {
            name: np.concatenate([batch[name] for batch in self.batches]) for name in self.batches[0]
        }
        self.sizes = call_sizes(self.batch_size)
        self.call_s: dict[int, float] = {}
        self.last: dict[int, tuple[list[int], np.ndarray]] = {}

    def warm_up(self, max_seconds: float, earlier: Sequence[float]) -> tuple[int, bool | None]:
        """Every size of call until it is steady; what a call then takes says where to begin."""
        calls, steady = 0, []
        for size in self.sizes:
            self.alive()
            rows = [list(range(start, start + size)) for start in range(2)]
            self.answer(rows[0])
            known = earlier if size == self.sizes[-1] else ()
            count, is_steady = sampling.warm_up(self.answer, rows, max_seconds / len(self.sizes), known)
            calls += count
            steady.append(is_steady)
            self.call_s[size] = float(np.median([self.seconds(rows[k % 2]) for k in range(5)]))
        return calls, None if None in steady else all(steady)

    def answer(self, indices: list[int]) -> np.ndarray:
        """Outputs of some samples, by one call."""
        size = next(size for size in self.sizes if size >= len(indices))
        output = self.session.fetch(self.session.run(self.session.place(self.batch(indices, size))))
        self.last[size] = indices, output
        return output

    def batch(self, indices: list[int], size: int) -> dict[str, np.ndarray]:
        """Samples, and copies of the first of them to fill the call."""
        rows = np.array(indices + [indices[0]] * (size - len(indices))) % len(
            next(iter(self.samples.values()))
        )
        return {name: array[rows] for name, array in self.samples.items()}

    def seconds(self, indices: list[int]) -> float:
        start = time.perf_counter()
        self.answer(indices)
        return time.perf_counter() - start

    def sample(self, rule: StoppingRule) -> Series:
        """Find the rate. The series is that of the highest rate that holds, or of the lowest tried."""
        probes: list[tuple[float, Arrivals, str]] = []
        started = time.perf_counter()

        def holds(rate: float) -> bool:
            self.alive()
            arrivals = self.arrivals(rate, rule.min_seconds)
            verdict = self.verdict(arrivals)
            probes.append((rate, arrivals, verdict))
            return verdict == "met"

        # Below the second, too few requests come to prove that a limit is kept.
        needed = max(sampling.samples_that_prove(percentile) for percentile, _ in self.limits_s)
        provable = needed / self.job.measurement["server_seconds"]
        floor = max(LOWEST_LOAD / self.call_s[self.sizes[0]], provable)
        first = predicted_rate(self.call_s, self.limits_s)
        good, bad = highest_rate(holds, max(first, floor), floor)
        rate, arrivals, _ = max(
            (probe for probe in probes if probe[0] == good or not good),
            key=lambda probe: probe[0] if good else -probe[0],
        )
        details = {
            "rate_per_s": rate,
            "rate_that_holds_per_s": good,
            "rate_that_does_not_per_s": bad if math.isfinite(bad) else None,
            "predicted_rate_per_s": first,
            "call_ms": {str(size): seconds * 1e3 for size, seconds in self.call_s.items()},
            "probes": [summary(*probe) for probe in probes],
        }
        return Series(
            arrivals.latencies_s,
            self.answers(),
            throughput=arrivals.completed_per_s if good else None,
            call_s=self.call_s[self.sizes[-1]],
            measured_s=time.perf_counter() - started,
            details=details,
        )

    def arrivals(self, rate: float, min_seconds: float) -> Arrivals:
        """Requests at one rate: as many as it takes to prove a p99, or as the time allows."""
        wanted = max(REQUESTS, math.ceil(rate * min_seconds))
        # Rounded up, since at the lowest rate not one request is to spare.
        most = math.ceil(rate * self.job.measurement["server_seconds"] - 1e-9)
        return self.serve(rate, max(FEWEST_REQUESTS, min(wanted, most)))

    def serve(self, rate: float, requests: int) -> Arrivals:
        """Requests at one rate."""
        longest = max(limit for _, limit in self.limits_s)
        # Far more than may wait in time, and enough of them that the percentiles are lost.
        most_waiting = max(4 * self.sizes[-1], math.ceil(4 * rate * longest), math.ceil(0.15 * requests))
        samples = len(next(iter(self.samples.values())))
        return serve(self.answer, samples, self.sizes[-1], rate, requests, most_waiting, self.job.round + 1)

    def repeat(self, series: Series, seconds: float) -> int:
        """Requests at the highest rate that holds."""
        rate = series.details["rate_that_holds_per_s"]
        return len(self.serve(rate, math.ceil(rate * seconds)).latencies_s) if rate else 0

    def verdict(self, arrivals: Arrivals) -> str:
        """Whether every limit was kept: 'met', 'violated' or 'unproven'."""
        if not arrivals.is_complete:
            return "violated"
        verdicts = {
            exceedance_verdict(arrivals.latencies_s, limit, percentile) for percentile, limit in self.limits_s
        }
        return next(
            (verdict for verdict in ("violated", "unproven") if verdict in verdicts),
            "met",
        )

    def answers(self) -> Iterator[Answer]:
        """The last call of each size, beside the same call without a queue."""
        for size, (indices, output) in self.last.items():
            batch = self.batch(indices, size)
            yield output, self.session.fetch(self.session.run(self.session.place(batch)))

    def figures(self, series: Series) -> tuple[dict[str, float | None], list[Flag], dict[str, Any]]:
        latencies = series.durations
        # Without the other rates that were tried.
        elapsed_s = len(latencies) / series.details["rate_per_s"]
        interval = sampling.median_interval(latencies, elapsed_s)
        percentiles, flags = percentile_figures(latencies, (0.90, 0.99))
        figures = percentiles | {
            "latency_p50_ms": float(np.median(latencies)) * 1e3,
            "latency_p50_ci_low_ms": interval.low * 1e3,
            "latency_p50_ci_high_ms": interval.high * 1e3,
        }
        good, bad = (series.details[f"rate_that_{name}_per_s"] for name in ("holds", "does_not"))
        if not good:
            lowest = min(probe["rate_per_s"] for probe in series.details["probes"])
            said = f"not proven at {lowest:.3g} requests a second; a lower rate was not tried"
            flags.append(Flag("no_rate_holds", said, lowest))
        # The truth lies anywhere between the two rates.
        error = (bad / good - 1) / math.sqrt(12) if good and bad else RESOLUTION
        return figures, flags, {"median_standard_error": error}


SCENARIO = Server


def summary(rate: float, arrivals: Arrivals, verdict: str) -> dict[str, Any]:
    """What the record keeps of one rate."""
    return {
        "rate_per_s": rate,
        "completed_per_s": arrivals.completed_per_s,
        "requests": len(arrivals.latencies_s),
        "latency_p99_ms": float(np.quantile(arrivals.latencies_s, 0.99)) * 1e3,
        "verdict": verdict,
        "is_complete": arrivals.is_complete,
    }


def call_sizes(largest: int) -> list[int]:
    """The sizes that calls are made for: the powers of two below the batch size, and itself."""
    return [*(2**k for k in range((largest - 1).bit_length())), largest]


def highest_rate(holds: Callable[[float], bool], first: float, floor: float) -> tuple[float, float]:
    """Search for the highest rate that holds, by steps that grow, then by bisection on the logarithm.

    Returns
    -------
    good : the highest rate that held; 0 where none did
    bad : the lowest above it that did not; infinite where all held
    """
    good, bad, rate, step = 0.0, math.inf, first, STEP
    for _ in range(MOST_PROBES):
        if holds(rate):
            good = rate
        else:
            bad = rate
        if not good:
            if bad <= floor:
                break
            rate, step = max(bad / step, floor), step * STEP
        elif math.isinf(bad):
            rate, step = good * step, step * STEP
        elif bad / good <= 1 + RESOLUTION:
            break
        else:
            rate = math.sqrt(good * bad)
    return good, bad


def predicted_rate(call_s: Mapping[int, float], limits_s: Sequence[tuple[float, float]]) -> float:
    """Where to begin: the highest rate that keeps the limits in a simulated queue; 0 where none does.

    Parameters
    ----------
    call_s : the seconds of a call of each size
    limits_s : (percentile from 0 to 1, seconds)
    """
    gaps = np.random.default_rng(0).exponential(size=SIMULATED_REQUESTS)

    def holds(rate: float) -> bool:
        latencies = simulated_latencies(np.cumsum(gaps) / rate, call_s)
        return all(np.quantile(latencies, percentile) <= limit for percentile, limit in limits_s)

    capacity = max(size / seconds for size, seconds in call_s.items())
    low, high = LOWEST_LOAD / call_s[min(call_s)], capacity
    if not holds(low):
        return 0.0
    while high / low > 1 + RESOLUTION:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def simulated_latencies(arrivals_s: np.ndarray, call_s: Mapping[int, float]) -> np.ndarray:
    """Latencies of a queue whose server takes whoever waits, in calls of the given seconds by size."""
    sizes = sorted(call_s)
    latencies = np.empty(len(arrivals_s))
    free_s, first = 0.0, 0
    while first < len(arrivals_s):
        start = max(free_s, arrivals_s[first])
        end = min(int(np.searchsorted(arrivals_s, start, side="right")), first + sizes[-1])
        size = next(size for size in sizes if size >= end - first)
        free_s = start + call_s[size]
        latencies[first:end] = free_s - arrivals_s[first:end]
        first = end
    return latencies
