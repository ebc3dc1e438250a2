"""Jobs for tests of the worker wing: a small linear model on disk, and what a session needs around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.records import file_sha256, write_json
from hwfit.worker.job import Job
from hwfit.worker.runtimes import Session

WIDTH, CLASSES, SAMPLES = 16, 4, 64
MEASUREMENT = {
    "relative_ci": 0.5,
    "min_seconds": 0.02,
    "max_seconds": 0.1,
    "timeout_seconds": 60,
    "repeats": 0,
}


def make_job(
    directory: Path, *, python: str = "python3", probe: dict[str, Any] | None = None, **changes: Any
) -> Job:
    """A job whose model multiplies its input by a fixed matrix; anything of it can be set by name."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((WIDTH, CLASSES)).astype(np.float32)
    inputs = generator.standard_normal((SAMPLES, WIDTH)).astype(np.float32)
    model = directory / "model"
    model.mkdir(parents=True, exist_ok=True)
    np.savez(
        model / "evaluation.npz",
        x=inputs,
        reference=inputs @ weights,
        labels=(inputs @ weights).argmax(axis=1),
    )
    np.save(model / "weights.npy", weights)
    write_json(
        model / "card.json",
        {
            "parameters": weights.size,
            "flops_per_sample": 2 * weights.size,
            "reference_accuracy": 1.0,
            "tolerance": 1e-4,
            "weights_sha256": file_sha256(model / "weights.npy"),
            "evaluation_sha256": file_sha256(model / "evaluation.npz"),
        },
    )
    there = {"status": "ok", "reason": "", "accelerator": "cpu", "index": 0, "environment": {}}
    write_json(
        directory / "probe.json", there | {"identity": f"test:{directory}", "name": "test"} | (probe or {})
    )
    write_json(
        directory / "environment.json",
        {
            "name": "test",
            "status": "ok",
            "reason": "",
            "python": python,
            "python_version": "3",
            "packages": {},
        },
    )
    cell = {
        "model": "net",
        "device": "cpu",
        "runtime": "torch",
        "optimization": "baseline",
        "scenario": "single_stream",
    }
    job = {
        "cell": cell,
        "round": 0,
        "task": "classification",
        "source": {"zoo": "lenet-5"},
        "passes": [],
        "batch_sizes": [1, 8],
        "excluded": {},
        "accelerator": "cpu",
        "index": 0,
        "threads": None,
        "memory_limit_mb": None,
        "measurement": MEASUREMENT,
        "profiles": directory / "profiles",
        "model_directory": model,
        "weights_directory": model,
        "environment_file": directory / "environment.json",
        "probe_file": directory / "probe.json",
    }
    return Job.from_dict(json.loads(json.dumps(job | changes, default=str)))


class LinearSession(Session):
    """An honest session of the model that `make_job` writes."""

    def __init__(self, weights: Path) -> None:
        self.weights = np.load(weights.with_name("weights.npy"))

    def place(self, batch: Any) -> Any:
        return batch["x"]

    def run(self, placed: Any) -> Any:
        return placed @ self.weights

    def fetch(self, output: Any) -> np.ndarray:
        return np.array(output)

    def accelerator_of(self, output: Any) -> str:
        return "cpu"

    def model_size_bytes(self) -> int:
        return self.weights.nbytes


class LinearRuntime:
    """A runtime module whose sessions are of a given class."""

    def __init__(self, session: type[LinearSession] = LinearSession) -> None:
        self.session = session

    def describe(self, accelerator: str, index: int) -> dict[str, str]:
        return {"runtime_version": "1", "device_name": "test"}

    def matmul_kernel(self, accelerator: str, index: int, number_format: str, rows: int, size: int) -> Any:
        matrix = np.ones((64, 64), np.float32)
        return lambda: matrix @ matrix

    def open_session(self, request: Any) -> LinearSession:
        return self.session(request.weights)
