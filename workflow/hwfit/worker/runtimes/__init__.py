"""The interface of a runtime: open a model on a device, run it, say what it is.

A runtime is one module of this package with two functions, `open_session` and `describe`, and a
subclass of `Session`. `load` finds it by its name in `hwfit.catalog.RUNTIMES`.

What is timed is `Session.run` and nothing else: from inputs that lie on the device, as the runtime
takes them, to outputs that are ready on the device (an asynchronous runtime waits for them there).
Placing inputs and fetching outputs are outside.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from hwfit.worker.passes import threads

if TYPE_CHECKING:
    from hwfit.worker.memory import SessionMemory

Batch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Request:
    """What to open.

    Attributes
    ----------
    source : one entry of `sources` in models.yaml, e.g. {"zoo": "lenet-5"}
    task : one of `catalog.TASKS`
    weights : the (possibly pruned) fp32 checkpoint: a safetensors file in torch's names and layouts, or an
        ONNX file for the runtimes that read one (`catalog.Runtime.reads_onnx`)
    card : the model's card, as `prepare` wrote it
    accelerator, index : which device
    passes : session passes in order, e.g. [{"pass": "cast", "dtype": "bfloat16"}]
    threads : compute threads, or None for the runtime's default; the pass `threads` sets it and is taken out
    output_tokens : what a language model writes to each prompt; None for other tasks
    members : of a composite, what each of its devices is to open (see `hwfit.worker.job.Job`)
    """

    source: Mapping[str, Any]
    task: str
    weights: Path
    card: Mapping[str, Any]
    accelerator: str
    index: int = 0
    passes: Sequence[Mapping[str, Any]] = ()
    threads: int | None = None
    output_tokens: int | None = None
    members: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        # A runtime takes its threads when it starts, before any pass is applied.
        others, count = threads.taken_from(self.passes, self.threads)
        object.__setattr__(self, "passes", others)
        object.__setattr__(self, "threads", count)


@dataclass(frozen=True)
class Placement:
    """Where a model's operators run.

    Attributes
    ----------
    share : of the operators, those on the device that was asked for (0 to 1); None where there are none
    elsewhere : how many of each kind fell back to the host
    """

    share: float | None
    elsewhere: Mapping[str, int] = field(default_factory=dict)


class Session(ABC):
    """A model loaded on a device, ready to be called."""

    # Whether the device works while the host goes on, so that several calls can be under way.
    is_asynchronous = False

    @cached_property
    def pass_seconds(self) -> dict[str, float]:
        """What each session pass took, as `passes.act_on` notes it."""
        return {}

    @cached_property
    def pass_facts(self) -> dict[str, Any]:
        """What session passes tell of what they did, by their names."""
        return {}

    @abstractmethod
    def place(self, batch: Batch) -> Any:
        """Copy a batch (arrays in torch's layout, first axis the samples) to where `run` takes it from."""

    @abstractmethod
    def run(self, placed: Any) -> Any:
        """Run the model once and return when its outputs are ready. This alone is timed."""

    @abstractmethod
    def fetch(self, output: Any) -> np.ndarray:
        """Copy the outputs of `run` to a float32 array, first axis the samples."""

    def start(self, placed: Any) -> Any:
        """Start a call whose outputs `finish` waits for; where the host cannot go on meanwhile, `run`."""
        return self.run(placed)

    def finish(self, started: Any) -> np.ndarray:
        """Wait for a call that was started, and copy its outputs to a float32 array."""
        return self.fetch(started)

    def calls_at_a_time(self) -> int:
        """How many calls an asynchronous session works on together; known after the first call."""
        return 1

    @abstractmethod
    def accelerator_of(self, output: Any) -> str:
        """Where an output of `run` lies, as `catalog.ACCELERATORS` names it."""

    @abstractmethod
    def model_size_bytes(self) -> int:
        """Bytes of the weights as this session holds them (int8 weights count one byte each)."""

    def parameters(self) -> int | None:
        """How many weights the model has; None where the session does not tell, and its card does."""
        return None

    def placement(self) -> Placement | None:
        """Where the operators run, known after the first call; None where the runtime does not tell."""
        return None

    def precisions(self) -> dict[str, int]:
        """How many operators compute in each number format, those that multiply where the runtime tells them
        apart, after the first call; empty where not told.
        """
        return {}

    def forget_compiled(self) -> None:  # noqa: B027
        """Drop what was compiled for other shapes of inputs, whose memory is not that of the next ones."""

    def threads(self) -> dict[str, int]:
        """The threads the runtime computes with, under its own names."""
        return {}

    def processes(self) -> list[int]:
        """The numbers of the processes that compute for this one."""
        return []

    def details(self) -> dict[str, Any]:
        """What the record keeps beside the figures."""
        return {}

    def reset_peak_memory(self) -> None:  # noqa: B027
        """Set the device's peak-memory counter to what is in use now (accelerators only)."""

    def peak_memory_bytes(self) -> int | None:
        """Peak device memory since the reset; None on a CPU, and where the runtime does not count."""
        return None

    def peak_reserved_bytes(self) -> int | None:
        """What the runtime's allocator held of the device at most since the reset; None where not told."""
        return None

    def members_memory(self) -> list[SessionMemory]:
        """What the processes that compute for this one took since the reset."""
        return []


def load(name: str) -> ModuleType:
    """The module of a runtime: `open_session(request) -> Session`, `describe(accelerator, index) -> dict`,
    `matmul_kernel(accelerator, index, number_format, rows, size)` and
    `copy_kernel(accelerator, index, copy_bytes)`.

    `describe` returns at least {"runtime_version", "device_name"} and may raise Unsupported where the
    framework that is installed cannot use the device. The kernels are calls that return when the device is
    done; they raise Unsupported for a format (of `hwfit.worker.peaks.FORMATS`) that would be computed in
    another one.
    """
    return importlib.import_module(f"hwfit.worker.runtimes.{name}")
