"""Checkpoints of the zoo, prepared once for all runtimes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frameworks import MODELS, run_python
from hwfit.data import write_dataset

PREPARE = """
import json, sys
from pathlib import Path
from hwfit.worker.compress import compress
from hwfit.worker.export import export
from hwfit.worker.prepare import prepare

directory = Path(sys.argv[1])
for name, model in json.loads(sys.argv[2]).items():
    out, pruned = directory / name, directory / f"{name}-pruned"
    out.mkdir(), pruned.mkdir()
    prepare(name, model, directory / f"{model['data']}.npz", out)
    # To prune and deflate a quarter of a gigabyte, AlexNet's, says nothing that DenseNet-121 does not.
    if name != "alexnet":
        compress(name, [{"pass": "prune", "amount": 0.5}], out, pruned)
    for checkpoint in (out, pruned)[: 1 if name == "alexnet" else 2]:
        exported = directory / f"{checkpoint.name}-onnx"
        exported.mkdir()
        export(name, model, out, checkpoint, exported)
print("{}")
"""


@pytest.fixture(scope="session")
def checkpoints(python_of, tmp_path_factory) -> Path:
    """A directory with each zoo model's prepared checkpoint, and its pruned one."""
    directory = tmp_path_factory.mktemp("checkpoints")
    for data in {model["data"] for model in MODELS.values()}:
        write_dataset(data, directory / f"{data}.npz")
    # Few epochs: enough to learn the digits, and quick.
    few = {n: m | ({"training": {"epochs": 5}} if "training" in m else {}) for n, m in MODELS.items()}
    run_python(python_of("torch-cpu"), PREPARE, str(directory), json.dumps(few))
    return directory
