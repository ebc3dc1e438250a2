"""A small study of the user's own, in a directory of its own, that uses the workflow as a module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hwfit.config import environment_file

ROOT = Path(__file__).parents[2]
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
    "measurement": {"max_seconds": 1.0, "relative_ci": 0.1, "confirm_rounds": 1},
}


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

    def start(self, *arguments: str) -> subprocess.Popen:
        """Snakemake in the project, with the environments that `make test` built."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--rerun-incomplete", *arguments]
        environment = os.environ | {
            "HWFIT_ENVIRONMENTS": os.environ.get("HWFIT_ENVIRONMENTS", str(ROOT / ".environments"))
        }
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, fails: bool = False) -> str:
        """Run Snakemake to its end; returns what it said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=600)
        assert (process.returncode != 0) == fails, said[-4000:]
        return said

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.directory / "reports" / "combinations.csv")

    def profile(self, optimization: str, batch_size: int, device: str = "cpu") -> Path:
        folder = f"results/profiles/{device}/torch/lenet-300-100/{optimization}/single_stream/round0"
        return self.directory / folder / f"bs{batch_size}.json"


@pytest.fixture(scope="session", autouse=True)
def environments(python_of):
    """These tests need the torch environment, and find it where `make test` built it."""
    python_of("torch-cpu")
    assert environment_file("torch-cpu", ROOT / "config", ROOT / "config").exists()


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path / "a project")


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Project:
    """A project whose study was run once."""
    project = Project(tmp_path_factory.mktemp("swept") / "a project")
    project.said = project.run()
    return project
