"""Offline: all samples are there, and how soon they are all done is what counts.

A duration is the time between two finished calls, each from arrays in the host's memory to outputs in the
host's memory: a batch job has to bring its inputs to the device and its answers back. A session that works
while the host goes on (an accelerator's, or one that takes several calls at a time) has several calls in
flight, so that it never waits for the host.
Percentiles are left out: nobody waits for a single answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hwfit.worker.scenarios import Series
from hwfit.worker.scenarios.single_stream import SingleStream


class Offline(SingleStream):
    """Calls in a pipeline: the distinct inputs, as many times as the session takes; one by one on a CPU."""

    keeps_batches = True
    percentiles = ()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.started: deque[Any] = deque()

    @property
    def call(self) -> Callable[[Any], Any]:
        return self.start_and_finish

    def start_and_finish(self, batch: Any) -> np.ndarray:
        """Start a call, and finish the oldest that is under way: with these inputs too, a turn before."""
        self.started.append(self.session.start(self.session.place(batch)))
        return self.session.finish(self.started.popleft())

    def inputs(self) -> Sequence[Any]:
        # What the last series left under way would delay the first calls of this one.
        self.finish_all()
        times = -(-self.session.calls_at_a_time() // len(self.batches)) if self.session.is_asynchronous else 0
        # Whole turns, so that the oldest call is one with the inputs that the next is started with.
        ahead = (batch for _ in range(times) for batch in self.batches)
        self.started = deque(self.session.start(self.session.place(batch)) for batch in ahead)
        return self.batches

    def finish_all(self) -> int:
        """Wait for the calls that are under way; returns how many."""
        under_way = len(self.started)
        while self.started:
            self.session.finish(self.started.popleft())
        return under_way

    def repeat(self, series: Series, seconds: float) -> int:
        self.finish_all()
        return super().repeat(series, seconds) + self.finish_all() * self.batch_size

    def fetched(self, output: Any) -> np.ndarray:
        return output


SCENARIO = Offline
