"""Running code in the Python of a runtime's environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
RUNTIMES = ("torch", "tensorflow", "mindspore", "onnxruntime", "openvino")
ENVIRONMENTS = {runtime: f"{runtime}-cpu" for runtime in RUNTIMES}
CATALOGUE = yaml.safe_load((ROOT / "config" / "models.yaml").read_text())
# Language models have checkpoints and sessions of another kind, and tests of their own.
# Nor is a network looked at again that has a second name for other data.
MODELS = {
    name: model
    for name, model in CATALOGUE.items()
    if model["task"] != "generation" and name in {source.get("zoo") for source in model["sources"].values()}
}


def run_python(python: str, code: str, *arguments: str, cwd: Path = ROOT) -> dict:
    """Run code in a runtime's Python; what it prints last is JSON."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Another worker has the other cores: two threads that wait for each other would spin meanwhile.
        environment |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
