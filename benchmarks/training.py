"""(k) Training by hwfit beside a loop written by hand, in each framework."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from benchmarks.project import Project
from hwfit.data import write_dataset
from hwfit.layout import environment_file, probe_file
from hwfit.training.records import TrainingRun

MODELS = ("lenet-300-100", "lenet-5")
FRAMEWORKS = ("torch", "tensorflow", "mindspore")
PROCESSES = 4
EPOCHS = 30
BATCH = 64


def measure(project: Project) -> dict[str, Any]:
    """The time of an epoch by hwfit over that of the loop, which take turns in each of several processes."""
    data = project.directory / "digits.npz"
    if not data.exists():
        write_dataset("digits", data)
    project.snakemake(*(environment_file(project.plan.environment("cpu", each)) for each in FRAMEWORKS))
    found = {}
    for runtime in FRAMEWORKS:
        for model in MODELS:
            job = json.dumps(job_of(project, model, runtime))
            runs = [
                project.script("bare_training.py", job, str(EPOCHS), runtime=runtime)
                for _ in range(PROCESSES)
            ]
            found[f"{model} in {runtime}"] = overhead(runs)
            print(f"{model} in {runtime}", found[f"{model} in {runtime}"], flush=True)
    return found


def job_of(project: Project, model: str, runtime: str) -> dict[str, Any]:
    """A run that neither stops nor writes a checkpoint by itself."""
    run = TrainingRun(model, "cpu", runtime, "adam", 1e-3, BATCH)
    root = project.directory
    return {
        "run": run.to_dict(),
        "rung": 0,
        "epochs": 10_000,
        "max_epochs": 10_000,
        "task": "classification",
        "source": {"zoo": model},
        "data": str(root / "digits.npz"),
        "directory": str(root / "results" / "training" / run.path),
        "environment_file": str(root / environment_file(project.plan.environment("cpu", runtime))),
        "probe_file": str(root / probe_file("cpu")),
        "accelerator": "cpu",
        "index": 0,
        "checkpoint_seconds": 1e9,
    }


def overhead(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median over pairs of epochs of hwfit's time over the loop's, with a 95% bootstrap interval over
    processes and pairs.
    """
    generator = np.random.default_rng(0)
    ratios = [np.array(run["seconds"]["hwfit"]) / np.array(run["seconds"]["bare"]) for run in runs]
    drawn = []
    for _ in range(2000):
        chosen = [ratios[number] for number in generator.integers(len(ratios), size=len(ratios))]
        drawn.append(np.median(np.concatenate([generator.choice(each, len(each)) for each in chosen])))
    low, high = np.quantile(drawn, [0.025, 0.975])
    bare = np.concatenate([run["seconds"]["bare"] for run in runs])
    return {
        "ratio": float(np.median(np.concatenate(ratios))),
        "low": float(low),
        "high": float(high),
        "bare_step_ms": float(np.median(bare)) / runs[0]["steps"] * 1e3,
    }
