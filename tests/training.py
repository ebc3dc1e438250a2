"""Training jobs for tests, and a trainer that needs numpy alone: softmax regression by momentum."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.records import write_json
from hwfit.training.records import TrainingRun
from hwfit.worker.training import data
from hwfit.worker.training.job import TrainingJob
from hwfit.worker.training.loop import Loop
from hwfit.worker.training.trainer import Setup, Trainer

SAMPLES, CLASSES = 320, 4


def write_samples(path: Path, **changes: Any) -> Path:
    """Images (1, 28, 28) whose class is plain to see, as a data set of the zoo's digits has them."""
    generator = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", SAMPLES), ("test", 40)):
        labels = np.arange(count) % CLASSES
        images = generator.random((count, 1, 28, 28), np.float32)
        images[np.arange(count), 0, labels, :] += 1
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def make_training_job(
    directory: Path,
    *,
    python: str = "python3",
    run: Mapping[str, Any] | None = None,
    samples: Mapping[str, Any] | None = None,
    **changes: Any,
) -> TrainingJob:
    """A job on a few samples; anything of it, of its run, and of its samples can be set by name."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "data.npz").exists() or samples:
        write_samples(directory / "data.npz", **(samples or {}))
    there = {"status": "ok", "reason": "", "accelerator": "cpu", "index": 0, "environment": {}}
    write_json(directory / "probe.json", there | {"identity": f"test:{directory}", "name": "test"})
    environment = {"name": "test", "status": "ok", "reason": "", "python_version": "3", "packages": {}}
    write_json(directory / "environment.json", environment | {"python": python})
    of_run = {
        "model": "lenet-300-100",
        "device": "cpu",
        "runtime": "torch",
        "optimizer": "momentum",
        "learning_rate": 0.02,
        "batch_size": 32,
    } | (run or {})
    job = {
        "run": of_run,
        "rung": 0,
        "epochs": 3,
        "max_epochs": 3,
        "task": "classification",
        "source": {"zoo": of_run["model"]},
        "data": directory / "data.npz",
        "directory": directory / "training" / TrainingRun(**of_run).path,
        "environment_file": directory / "environment.json",
        "probe_file": directory / "probe.json",
        "accelerator": "cpu",
        "index": 0,
        # On a busy machine, threads that wait for each other wait long.
        "threads": 1,
        "checkpoint_seconds": 0,
        "timeout_seconds": 60,
    }
    return TrainingJob.from_dict(json.loads(json.dumps(job | changes, default=str)))


class LinearTrainer(Trainer):
    """Softmax regression in double precision."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.details: dict[str, Any] = {}
        width = int(np.prod(setup.data.train[0].shape[1:]))
        generator = np.random.default_rng(setup.run.seed)
        self.weight = generator.standard_normal((width, CLASSES)) / width
        self.velocity = np.zeros_like(self.weight)
        self.steps: list[tuple[int, ...]] = []

    def plan(self, rows: np.ndarray, rates: np.ndarray) -> Sequence[Any]:
        return list(zip(rows, rates, strict=True))

    def step(self, planned: Any) -> float:
        rows, rate = planned
        self.steps.append(tuple(rows))
        inputs, labels = (array[rows] for array in self.setup.data.train)
        flat = inputs.reshape(len(rows), -1)
        shares, loss = self.judged(flat, labels)
        shares[np.arange(len(rows)), labels] -= 1
        self.velocity = self.setup.hyperparameters["momentum"] * self.velocity + flat.T @ shares / len(rows)
        self.weight = self.weight - rate * self.velocity
        return loss

    def judged(self, flat: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scores = flat @ self.weight
            scores = scores - scores.max(1, keepdims=True)
            shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            return shares, float(-np.log(shares[np.arange(len(labels)), labels]).mean())

    def losses(self, pending: Sequence[float]) -> np.ndarray:
        return np.array(pending)

    def evaluate(self, name: str) -> tuple[float, float]:
        inputs, labels = getattr(self.setup.data, name)
        shares, loss = self.judged(inputs.reshape(len(inputs), -1), labels)
        return loss, float((shares.argmax(1) == labels).mean())

    def outputs(self) -> int:
        return CLASSES

    def state(self) -> dict[str, np.ndarray]:
        return {"weight": self.weight, "velocity": self.velocity}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        self.weight, self.velocity = state["weight"], state["velocity"]

    def weights(self) -> dict[str, np.ndarray]:
        return {"weight": self.weight}

    def describe(self) -> dict[str, Any]:
        return {"runtime_version": "1"}


def open_loop(job: TrainingJob, **more: Any) -> Loop:
    """A session of a job that has taken up what there is, with the trainer that needs numpy alone."""
    setup = Setup(
        run=job.run,
        task=job.task,
        source=job.source,
        hyperparameters=job.resolved,
        data=data.read(job.data, job.task, job.source),
        accelerator="cpu",
        index=0,
    )
    loop = Loop(job, setup, LinearTrainer(setup), CLASSES, **more)
    loop.resume()
    return loop
