"""A small study of the user's own, in a directory of its own, that uses the workflow as a module."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).parents[1]
SNAKEFILE = f"""
configfile: "config/config.yaml"

module hwfit:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config

use rule * from hwfit
"""
STUDY = {
    "sweep": "small",
    "matrix": {
        "models": ["lenet-300-100"],
        "devices": ["cpu"],
        "runtimes": ["torch"],
        "optimizations": ["baseline", "prune50"],
        "batch_sizes": [1, 8],
    },
    "measurement": {"max_seconds": 1.0, "relative_ci": 0.1, "confirm_rounds": 1, "most_confirm_rounds": 1},
}


def start_snakemake(directory: Path, *arguments: str) -> subprocess.Popen:
    """Snakemake in a directory, with the environments that `make test` built."""
    built = os.environ.get("HWFIT_ENVIRONMENTS", str(ROOT / ".environments"))
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--rerun-incomplete", *arguments],
        cwd=directory,
        env=os.environ | {"HWFIT_ENVIRONMENTS": built},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_snakemake(directory: Path, *arguments: str, fails: bool = False) -> str:
    """Run Snakemake to its end; returns what it said."""
    process = start_snakemake(directory, *arguments)
    said, _ = process.communicate(timeout=600)
    assert (process.returncode != 0) == fails, said[-4000:]
    return said


class Project:
    """A directory with a study."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "config").mkdir(parents=True)
        (directory / "Snakefile").write_text(SNAKEFILE)
        self.configure({})

    def configure(self, changes: dict, **catalogs: dict) -> None:
        """Write the study with some keys changed, and catalogs of the user's own."""
        (self.directory / "config" / "config.yaml").write_text(yaml.safe_dump(STUDY | changes))
        for name, content in catalogs.items():
            (self.directory / "config" / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def take_over(self, known: Path, *devices: str) -> None:
        """Start with what an earlier run knew, of devices by other names too: the machine is the same."""
        shutil.copytree(known, self.directory / "results")
        for device in devices:
            folder = shutil.copytree(
                known / "devices" / "cpu", self.directory / "results" / "devices" / device
            )
            path = folder / "inventory.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"device": device}))

    def start(self, *arguments: str) -> subprocess.Popen:
        return start_snakemake(self.directory, *arguments)

    def run(self, *arguments: str, fails: bool = False) -> str:
        return run_snakemake(self.directory, *arguments, fails=fails)

    def measure(self, profile: Path) -> dict:
        """Run no more than it takes to have a profile; returns it."""
        self.run(str(profile.relative_to(self.directory)))
        return json.loads(profile.read_text())

    def recommendation(self) -> dict:
        return json.loads((self.directory / "reports" / "recommendation.json").read_text())

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.directory / "reports" / "combinations.csv")

    def profile(self, optimization: str, batch_size: int, round: int = 0) -> Path:
        folder = f"results/profiles/cpu/torch/lenet-300-100/{optimization}/single_stream/round{round}"
        return self.directory / folder / f"bs{batch_size}.json"
