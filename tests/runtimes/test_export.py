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

directory, model = Path.cwd(), json.loads(sys.argv[1])
source = directory / "source"
source.mkdir(exist_ok=True)
prepare("mine", model, directory / "mine.npz", source)
cards = []
for number in range(int(sys.argv[2])):
    out = directory / f"onnx{number}"
    out.mkdir(exist_ok=True)
    try:
        export("mine", model, source, source, out)
    except Unsupported as error:
        write_failure(out, "unsupported", str(error))
    except Incorrect as error:
        write_failure(out, "incorrect", str(error))
    cards.append(json.loads((out / "card.json").read_text()))
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


@pytest.fixture
def exported(python_of, tmp_path):
    """The cards of a model's files, exported one after the other."""

    def export(name, arrays, files=1, **sources):
        (tmp_path / "mine.py").write_text(MINE)
        np.savez(tmp_path / "mine.npz", **arrays)
        sources = {"torch": {"callable": f"mine:{name}"}, "onnxruntime": {"export": "torch"}} | sources
        model = {"task": "features", "data": "mine.npz", "sources": sources}
        return run_python(python_of("torch-cpu"), EXPORT, json.dumps(model), str(files), cwd=tmp_path)

    return export


def rows(width=6, samples=10):
    return np.random.default_rng(0).standard_normal((samples, width)).astype(np.float32)


def test_an_exported_file_is_checked_and_the_same_each_time(exported):
    first, second = exported("net", {"x": rows()}, files=2)
    assert first["status"] == "ok"
    assert first["relative_error"] < 1e-5
    assert first["parameters"] == 6 * 8 + 8 + 8 * 3 + 3
    assert first["weights_sha256"] == second["weights_sha256"]


def test_several_inputs_share_their_batch(exported):
    (card,) = exported("Two", {"x": rows(), "y": rows(3)})
    assert card["status"] == "ok", card["reason"]


def test_what_graph_capture_refuses_is_traced(exported):
    """A branch by value: the trace has the way that real inputs take."""
    (card,) = exported("Branch", {"x": rows()})
    assert card["status"] == "ok", card["reason"]
    assert card["exporter"] == "by_tracing"
    assert card["relative_error"] < 1e-5


def test_a_model_of_one_batch_size_is_not_exported(exported):
    (card,) = exported("Rows", {"x": rows()})
    assert card["status"] == "unsupported"
    assert card["reason"].startswith("torch ")
    assert "cannot export it to ONNX: by_graph_capture: " in card["reason"]
    assert "\n" not in card["reason"]


def test_a_file_that_is_no_onnx_model_is_a_reason(exported, tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"\x08\x07garbage")
    (card,) = exported("net", {"x": rows()}, onnxruntime={"onnx": "mine.onnx"})
    assert card["status"] == "unsupported"
    assert "mine.onnx is no valid ONNX model" in card["reason"]
