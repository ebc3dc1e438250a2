"""How requests arrive while a session is timed: one small module a scenario, found by its name.

Each has a class that `load` returns, made for one batch size of an open session. `hwfit.worker.profile`
warms it up, lets it sample between two looks at the machine, and checks what the timed calls answered.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwfit.catalog import is_generation
from hwfit.records import Flag
from hwfit.worker.evaluation_set import Batch
from hwfit.worker.job import Job
from hwfit.worker.runtimes import Session
from hwfit.worker.sampling import StoppingRule

# Outputs of a timed call, and what they should be.
Answer = tuple[np.ndarray, np.ndarray]


@dataclass
class Series:
    """What a scenario timed.

    Attributes
    ----------
    durations : shape (n,), seconds, in order; of what, each scenario says
    answers : of some timed calls, made when they are asked for, which is after the timing
    throughput : samples a second; None where none can be told
    call_s : the usual time of a call, seconds
    measured_s : how long it was timed, seconds
    details : what the record keeps beside the figures
    arrays : what the file of samples keeps beside the durations
    """

    durations: np.ndarray
    answers: Iterable[Answer]
    throughput: float | None
    call_s: float
    measured_s: float
    details: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class Scenario(ABC):
    """A session, asked in one way.

    Parameters
    ----------
    batches : distinct inputs, each as large as the batch size, in the host's memory
    placed : the same where the session takes them from
    expected : the outputs that the session gave for each of them before
    alive : tells the supervisor that work goes on
    """

    # Whether inputs in the host's memory are kept, which on a CPU count as the model's own.
    keeps_batches = True

    def __init__(
        self,
        job: Job,
        session: Session,
        batches: Sequence[Batch],
        placed: Sequence[Any],
        expected: Sequence[np.ndarray],
        alive: Callable[[], None],
    ) -> None:
        self.job = job
        self.session = session
        self.batch_size = len(next(iter(batches[0].values())))
        self.batches = batches if self.keeps_batches else ()
        self.placed = placed
        self.expected = expected
        self.alive = alive

    @abstractmethod
    def warm_up(self, max_seconds: float, earlier: Sequence[float]) -> tuple[int, bool | None]:
        """Run until steady: the number of calls, and whether they were (`sampling.warm_up`).

        `earlier` are the seconds of the session's calls so far, at this batch size.
        """

    @abstractmethod
    def sample(self, rule: StoppingRule) -> Series:
        """Time it; nothing else runs meanwhile."""

    @abstractmethod
    def repeat(self, series: Series, seconds: float) -> int:
        """Do again what was timed, for about so long and not at all where nothing can be; all that was begun
        is done at the end. Returns the samples that were answered.
        """

    @abstractmethod
    def figures(self, series: Series) -> tuple[dict[str, float | None], list[Flag], dict[str, Any]]:
        """Metrics of the latency, what they do not prove, and details: among them "median_standard_error",
        the relative standard error of what rounds are compared by.
        """


def load(name: str) -> type[Scenario]:
    """The class of a scenario of `catalog.SCENARIOS`, or of one of generation, with lengths in its name."""
    module = "generate" if is_generation(name) else name
    return importlib.import_module(f"hwfit.worker.scenarios.{module}").SCENARIO
