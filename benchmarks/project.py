"""A project with the benchmark's model, and single rounds of it as the workflow would measure them."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.bert import token_ids
from hwfit.catalog import ZOO, weights_file
from hwfit.config import read_study
from hwfit.layout import environment_file, probe_file
from hwfit.matrix import Plan
from hwfit.records import Cell, Profile, read_json, read_profile
from hwfit.sections import Generation

ROOT = Path(__file__).parents[1]
CELL = Cell("bert", "cpu", "torch", "baseline", "single_stream")
LENGTHS = Generation()
# Without the language models that are too small for what others read and write.
RUNTIMES = {
    "bert": ("torch", "onnxruntime"),
    **{
        name: model.runtimes
        for name, model in ZOO.items()
        if (model.context_tokens or math.inf) >= LENGTHS.prompt_tokens + LENGTHS.output_tokens
    },
}
STUDY = {
    "matrix": [
        {
            "models": [model],
            "devices": ["cpu"],
            "runtimes": list(runtimes),
            "batch_sizes": [1, 2, 4, 8, 16, 32],
        }
        for model, runtimes in RUNTIMES.items()
    ],
    "measurement": {"relative_ci": 0.02, "max_seconds": 3, "scenarios": ["single_stream", "offline"]},
}
OWN = {"torch": {"callable": "bert:load"}, "onnxruntime": {"export": "torch"}}
MODELS = {
    "bert": {"task": "features", "data": "bert.npz", "sources": OWN},
    **{
        name: model
        for name, model in yaml.safe_load((ROOT / "config" / "models.yaml").read_text()).items()
        if name in RUNTIMES
    },
}
SNAKEFILE = f"""
configfile: "config/config.yaml"

module hwfit:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config

use rule * from hwfit
"""


def write_project(directory: Path) -> Plan:
    """Lay the project down, and plan it."""
    (directory / "config").mkdir(parents=True, exist_ok=True)
    (directory / "Snakefile").write_text(SNAKEFILE)
    (directory / "config" / "config.yaml").write_text(yaml.safe_dump(STUDY))
    (directory / "config" / "models.yaml").write_text(yaml.safe_dump(MODELS))
    shutil.copy(Path(__file__).with_name("bert.py"), directory / "bert.py")
    np.savez(directory / "bert.npz", ids=token_ids())
    config = directory / "config"
    with contextlib.chdir(directory):
        return Plan(read_study(STUDY, config, ROOT / "config", [config / "config.yaml"]))


@dataclass
class Round:
    """One measured round: its profiles by batch size, and the wall time of the whole cell."""

    profiles: dict[int, Profile]
    wall_s: float

    @property
    def fixed_s(self) -> float:
        """What the cell cost beside its timed calls."""
        return self.wall_s - sum(p.metrics["measured_s"] or 0 for p in self.profiles.values())


class Project:
    """A directory in which the model is prepared, ready to be measured."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plan = write_project(directory)
        # A config's paths are those of the directory it is read in.
        os.chdir(directory)
        self.prepare(CELL)

    def prepare(self, cell: Cell) -> None:
        """See to it that what a cell needs is there: its weights, its environment, the device's probe."""
        card = f"{self.plan.weights_directory(cell)}/card.json"
        self.snakemake(card, probe_file("cpu"), environment_file(self.plan.environment("cpu", cell.runtime)))

    def weights(self, cell: Cell) -> Path:
        """The file that a cell's runtime loads."""
        return self.directory / self.plan.weights_directory(cell) / weights_file(cell.runtime)

    def python_of(self, runtime: str) -> str:
        """The Python of a runtime's environment."""
        return read_json(self.directory / environment_file(self.plan.environment("cpu", runtime)))["python"]

    def snakemake(self, *targets: str, directory: Path | None = None) -> None:
        """Make some files of the project, or of another directory."""
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            "all",
            "--quiet",
            "all",
            "--rerun-incomplete",
        ]
        built = os.environ.get("HWFIT_ENVIRONMENTS", str(ROOT / ".environments"))
        subprocess.run(
            [*command, "--", *targets],
            cwd=directory or self.directory,
            env=os.environ | {"HWFIT_ENVIRONMENTS": built},
            check=True,
        )

    def measure(self, round: int, batch_sizes: list[int], cell: Cell = CELL) -> Round:
        """One fresh process, as the workflow runs it; what was measured in this round before is forgotten."""
        folder = self.folder(round, cell)
        shutil.rmtree(folder, ignore_errors=True)
        job = json.dumps(self.plan.job(cell, round, batch_sizes))
        command = [sys.executable, "-m", "hwfit.worker", "supervise", "--job", job]
        start = time.perf_counter()
        subprocess.run(
            [*command, "--attempts", "results/attempts.jsonl"],
            cwd=self.directory,
            env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        wall_s = time.perf_counter() - start
        return Round({size: read_profile(folder / f"bs{size}.json") for size in batch_sizes}, wall_s)

    def folder(self, round: int, cell: Cell = CELL) -> Path:
        """Where the profiles of a round lie."""
        return self.directory / "results" / "profiles" / cell.path / f"round{round}"

    def samples_ms(self, round: int, batch_size: int, cell: Cell = CELL) -> np.ndarray:
        """The timed calls of a round, in ms."""
        with np.load(self.folder(round, cell) / f"bs{batch_size}.npz") as stored:
            return stored["durations_s"] * 1e3

    def script(self, name: str, *arguments: str, runtime: str = "torch") -> dict[str, float]:
        """A script of this folder in a runtime's own Python; what it prints last is JSON."""
        done = subprocess.run(
            [self.python_of(runtime), str(Path(__file__).with_name(name)), *arguments],
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/workflow"},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return json.loads(done.stdout.splitlines()[-1])
