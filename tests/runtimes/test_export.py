"""A torch model becomes an ONNX file that says the same, or a reason."""

import json

import numpy as np
import pytest

from frameworks import run_python

EXPORT = """
import json, sys
from pathlib import Path
from hwfit.worker.artifact import write_failure
from hwfit.worker.errors import Incorrect, Unsupported
from hwfit.worker.export import export
from hwfit.worker.prepare import prepare

cards = {}
for name, model in json.loads(sys.argv[1]).items():
    source, out = Path(f"{name}-source"), Path(f"{name}-onnx")
    source.mkdir(), out.mkdir()
    prepare(name, model, Path(model["data"]), source)
    try:
        export(name, model, source, source, out)
    except Unsupported as error:
        write_failure(out, "unsupported", str(error))
    except Incorrect as error:
        write_failure(out, "incorrect", str(error))
    cards[name] = json.loads((out / "card.json").read_text())
print(json.dumps(cards))
"""
MINE = """
import torch
from torch import nn

class Rows(nn.Module):
    \"\"\"Walks over the batch in Python: a graph of it is one of a single batch size.\"\"\"
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(6, 3)
    def forward(self, x):
        return torch.stack([self.dense(x[k]) for k in range(len(x))])

class Branch(nn.Module):
    \"\"\"Goes one way or the other by its input's values: a trace remembers one way.\"\"\"
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(6, 3)
    def forward(self, x):
        total = x.sum().item()
        return self.dense(x) if total > 1e6 else self.dense(x) * 2

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(6, 3)
    def forward(self, x, y):
        return self.dense(x) + y

def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
"""


def model(name, data="x.npz", **sources):
    exported = {"torch": {"callable": f"mine:{name}"}, "onnxruntime": {"export": "torch"}}
    return {"task": "features", "data": data, "sources": exported | sources}


MODELS = {
    "first": model("net"),
    "second": model("net"),
    "two": model("Two", "xy.npz"),
    "branch": model("Branch"),
    "rows": model("Rows"),
    "garbage": model("net", onnxruntime={"onnx": "garbage.onnx"}),
}


@pytest.fixture(scope="module")
def cards(python_of, tmp_path_factory):
    """The card of each model's file, exported one after the other."""
    directory = tmp_path_factory.mktemp("exported")
    (directory / "mine.py").write_text(MINE)
    (directory / "garbage.onnx").write_bytes(b"\x08\x07garbage")
    random = np.random.default_rng(0)
    x, y = (random.standard_normal((10, width)).astype(np.float32) for width in (6, 3))
    np.savez(directory / "x.npz", x=x)
    np.savez(directory / "xy.npz", x=x, y=y)
    return run_python(python_of("torch-cpu"), EXPORT, json.dumps(MODELS), cwd=directory)


def test_an_exported_file_is_checked_and_the_same_each_time(cards):
    first, second = cards["first"], cards["second"]
    assert first["status"] == "ok"
    assert first["relative_error"] < 1e-5
    assert first["parameters"] == 6 * 8 + 8 + 8 * 3 + 3
    assert first["weights_sha256"] == second["weights_sha256"]


def test_several_inputs_share_their_batch(cards):
    assert cards["two"]["status"] == "ok", cards["two"]["reason"]


def test_what_graph_capture_refuses_is_traced(cards):
    """A branch by value: the trace has the way that real inputs take."""
    card = cards["branch"]
    assert card["status"] == "ok", card["reason"]
    assert card["exporter"] == "by_tracing"
    assert card["relative_error"] < 1e-5


def test_a_model_of_one_batch_size_is_not_exported(cards):
    card = cards["rows"]
    assert card["status"] == "unsupported"
    assert card["reason"].startswith("torch ")
    assert "cannot export it to ONNX: by_graph_capture: " in card["reason"]
    assert "\n" not in card["reason"]


def test_a_file_that_is_no_onnx_model_is_a_reason(cards):
    assert cards["garbage"]["status"] == "unsupported"
    assert "garbage.onnx is no valid ONNX model" in cards["garbage"]["reason"]
