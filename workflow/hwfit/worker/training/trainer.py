"""What the loop asks of a framework: one file each, found by the runtime's name.

A `Trainer` owns a network on a device with its optimizer, and the data beside it: it makes steps and
evaluates. To the loop its arrays are opaque, so that nothing waits for the device but where the loop asks for
numbers.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwfit.training.records import TrainingRun
from hwfit.worker.errors import Unsupported
from hwfit.worker.training.data import TrainingData

EVALUATION_BATCH = 250
# Squared and added to the mean square, a larger one shows beside torch's, which is added to its root.
LARGEST_EPSILON_WITHIN_THE_ROOT = 1e-12
# Of a weight with fewer axes (a bias, a norm's scale) nothing decays.
LEAST_AXES_THAT_DECAY = 2


@dataclass(frozen=True)
class Setup:
    """What a trainer is made from.

    Attributes
    ----------
    source : of the model in the runtime, as models.yaml has it
    hyperparameters : all of the optimizer's
    threads : to compute with; None: as many as the runtime takes
    processes : that share a batch
    """

    run: TrainingRun
    task: str
    source: Mapping[str, Any]
    hyperparameters: Mapping[str, float]
    data: TrainingData
    accelerator: str
    index: int
    threads: int | None = None
    processes: int = 1

    @property
    def micro_batch_size(self) -> int:
        """Samples that go through the network at a time."""
        return self.run.batch_size // self.run.accumulation

    def epsilon_within_the_root(self) -> float:
        """What a framework adds to the mean square that hwfit means to be added to its root.

        Raises Unsupported where the two differ by what shows.
        """
        epsilon = self.hyperparameters["epsilon"]
        if epsilon > LARGEST_EPSILON_WITHIN_THE_ROOT:
            raise Unsupported(
                f"{self.run.runtime} adds rmsprop's epsilon within the root, torch beside it: above "
                f"{LARGEST_EPSILON_WITHIN_THE_ROOT:g} these are two optimizers, and epsilon is {epsilon:g}"
            )
        return epsilon**2

    @property
    def has_changing_rate(self) -> bool:
        """Whether steps have different learning rates."""
        return self.run.schedule != "constant" or self.hyperparameters["warm_up_epochs"] > 0


class Trainer(ABC):
    """A network with its optimizer on a device, the data beside it."""

    # What activation checkpointing, precision and the like did, for the record.
    details: dict[str, Any]

    @abstractmethod
    def plan(self, rows: np.ndarray, rates: np.ndarray) -> Sequence[Any]:
        """Place what steps need to know beside the data, each for `step`.

        Parameters
        ----------
        rows : of the training data, whole numbers (steps, batch size)
        rates : learning rates (steps,)
        """

    @abstractmethod
    def step(self, planned: Any) -> Any:
        """One step of the optimizer; its mean loss, which may not be there yet."""

    @abstractmethod
    def losses(self, pending: Sequence[Any]) -> np.ndarray:
        """The numbers of what `step` gave, float64 (n,): waits until the device has come so far."""

    @abstractmethod
    def evaluate(self, name: str) -> tuple[float, float]:
        """Mean loss and accuracy on the data called so (`validation`, `test`), in evaluation mode."""

    @abstractmethod
    def outputs(self) -> int:
        """How many classes the network tells apart, by a call on one sample."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on: weights, the optimizer's state, random generators'."""

    @abstractmethod
    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` gave."""

    @abstractmethod
    def weights(self) -> dict[str, np.ndarray]:
        """The trained weights by name, in evaluation mode."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Versions, the device as the framework names it, and threads."""

    def reset_peak_memory(self) -> None:  # noqa: B027
        """Where the device counts its memory, count from now."""

    def peak_memory_bytes(self) -> int | None:
        """Peak memory of the device; None where the process's own counts."""
        return None

    def processes(self) -> Sequence[int]:
        """The numbers of the processes that work for this one."""
        return ()

    def close(self) -> None:  # noqa: B027
        """End what was started beside."""


def open_trainer(setup: Setup) -> Trainer:
    """The trainer of a runtime. Raises Unsupported where it cannot do what is asked."""
    module = importlib.import_module(f"hwfit.worker.training.{setup.run.runtime}")
    trainer: Trainer = module.open_trainer(setup)
    return trainer
