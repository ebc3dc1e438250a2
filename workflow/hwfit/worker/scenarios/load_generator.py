"""MLCommons LoadGen in front of a function that answers requests: Poisson arrivals at a given rate.

LoadGen (`mlcommons-loadgen`, module `mlperf_loadgen`) schedules the arrivals in a thread of its own and
measures each latency from the *scheduled* arrival to the answer, so that a late server cannot slow the
clients down. The answers are given in the thread that calls, since frameworks keep state for each thread.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker.errors import Unsupported

# One line of LoadGen's trace for each request.
REQUEST = re.compile(r'"name":"Sample".*"ph":"b".*"sample_seq":(\d+).*"complete_ns":(-?\d+)')
RATE = re.compile(r'"result_completed_samples_per_sec", "value": ([0-9.e+-]+)')
# The thread that announces arrivals waits for Python's lock no longer than this.
SWITCH_SECONDS = 1e-4


@dataclass(frozen=True)
class Arrivals:
    """What happened at one rate.

    Attributes
    ----------
    latencies_s : shape (requests,), from scheduled arrival to answer, in the order of arrival
    completed_per_s : answers a second, as LoadGen counts them
    is_complete : false where LoadGen gave up, since too many requests were waiting
    """

    latencies_s: np.ndarray
    completed_per_s: float
    is_complete: bool


def serve(
    answer: Callable[[list[int]], Any],
    samples: int,
    most_at_once: int,
    rate: float,
    requests: int,
    most_waiting: int,
    seed: int,
) -> Arrivals:
    """Let requests for single samples arrive, and answer what waits, `most_at_once` at a time.

    Parameters
    ----------
    answer : takes the indices of samples (0 to samples - 1), and returns when their answers are there
    rate : arrivals a second, on average
    most_waiting : more requests without an answer end the test: it is lost
    seed : of the schedule and of the choice of samples

    Raises Unsupported where LoadGen is not installed, and whatever `answer` raises.
    """
    try:
        import mlperf_loadgen as loadgen
    except ImportError as error:
        raise Unsupported(
            f"the scenario server needs mlcommons-loadgen in this environment ({error})"
        ) from error
    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.min_query_count = settings.max_query_count = requests
    settings.min_duration_ms = 0
    settings.server_max_async_queries = most_waiting
    settings.schedule_rng_seed = settings.sample_index_rng_seed = settings.qsl_rng_seed = seed
    waiting: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()

    def announce(identifiers: list[int], indices: list[int]) -> None:
        for pair in zip(identifiers, indices, strict=True):
            waiting.put(pair)

    with tempfile.TemporaryDirectory() as directory, quick_switching():
        logs = loadgen.LogSettings()
        logs.enable_trace = True
        logs.log_output.outdir = directory
        logs.log_output.copy_summary_to_stdout = False
        system = loadgen.ConstructFastSUT(announce, lambda: None)
        library = loadgen.ConstructQSL(samples, samples, lambda _: None, lambda _: None)

        def generate() -> None:
            try:
                loadgen.StartTestWithLogSettings(system, library, settings, logs)
            finally:
                waiting.put(None)

        generator = threading.Thread(target=generate)
        generator.start()
        failure: Exception | None = None
        while (taken := take(waiting, most_at_once)) is not None:
            # After a failure the rest is waved through, since LoadGen ends when all have their answer.
            if failure is None:
                try:
                    answer([index for _, index in taken])
                except Exception as error:
                    failure = error
            loadgen.QuerySamplesComplete(
                [loadgen.QuerySampleResponse(identifier, 0, 0) for identifier, _ in taken]
            )
        generator.join()
        loadgen.DestroyQSL(library)
        loadgen.DestroyFastSUT(system)
        if failure is not None:
            raise failure
        return read_logs(Path(directory), requests)


def take(waiting: queue.SimpleQueue[tuple[int, int] | None], most: int) -> list[tuple[int, int]] | None:
    """What waits, once something does, `most` at a time; None at the end."""
    first = waiting.get()
    if first is None:
        return None
    taken = [first]
    while len(taken) < most:
        try:
            item = waiting.get_nowait()
        except queue.Empty:
            break
        # LoadGen ends when every request has its answer, so the end cannot wait behind one.
        assert item is not None
        taken.append(item)
    return taken


def read_logs(directory: Path, requests: int) -> Arrivals:
    """LoadGen's own figures. Raises RuntimeError where its logs do not hold them."""
    found: dict[int, int] = {}
    with (directory / "mlperf_log_trace.json").open() as lines:
        for line in lines:
            if told := REQUEST.search(line):
                found[int(told[1])] = int(told[2])
    detail = (directory / "mlperf_log_detail.txt").read_text()
    rate = RATE.search(detail)
    if not found or rate is None:
        raise RuntimeError(f"LoadGen left no figures: {last_error(detail)}")
    latencies = np.array([found[number] for number in sorted(found)]) / 1e9
    return Arrivals(latencies, float(rate[1]), is_complete=len(latencies) >= requests)


def last_error(detail: str) -> str:
    """The last error that LoadGen logged, in its words."""
    errors = [line for line in detail.splitlines() if '"is_error": true' in line]
    return str(json.loads(errors[-1].partition(" ")[2])["value"]) if errors else "no error logged"


@contextlib.contextmanager
def quick_switching() -> Iterator[None]:
    """Let threads take turns sooner, so that an arrival is announced while a call still computes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
