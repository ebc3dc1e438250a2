"""A user's ONNX file of any signature runs without code, and one that cannot be read is a message."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from frameworks import ENVIRONMENTS, run_python

MADE = """
import json, sys
from pathlib import Path
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

directory = Path(sys.argv[1])


def write(name, nodes, inputs, outputs, weights=(), opset=17, **more):
    types = {"x": TensorProto.INT64} if name == "integers" else {}
    types |= {"factor": TensorProto.INT64}
    told = [helper.make_tensor_value_info(n, types.get(n, TensorProto.FLOAT), s) for n, s in inputs.items()]
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()]
    graph = helper.make_graph(
        nodes, "g", told, given, [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(weights).items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, directory / f"{name}.onnx", **more)


node = helper.make_node
# next = state * factor + x, summed up over the layers of the state; the batch is the state's second axis.
cell = [
    node("Cast", ["factor"], ["f"], to=TensorProto.FLOAT),
    node("Mul", ["state", "f"], ["scaled"]),
    node("Add", ["scaled", "x"], ["next"]),
    node("ReduceSum", ["next", "axes"], ["output"], keepdims=0),
]
three = {"x": ["batch", "length"], "state": [2, "batch", 4], "factor": []}
axes = {"axes": np.array([0])}
write("cell", cell, three, {"next": [2, "batch", 4], "output": ["batch", 4]}, axes)
write("fixed", [node("Relu", ["x"], ["y"])], {"x": [2, 4]}, {"y": [2, 4]})
write("collapsed", [node("ReduceMean", ["x"], ["y"], keepdims=0)], {"x": ["n", 4]}, {"y": []})
write("new", [node("Relu", ["x"], ["y"])], {"x": ["n", 4]}, {"y": ["n", 4]}, opset=99)
write("unknown", [node("Nonsense", ["x"], ["y"])], {"x": ["n", 4]}, {"y": ["n", 4]})
write("integers", [node("Det", ["x"], ["y"])], {"x": ["n", 4, 4]}, {"y": ["n"]})
nought = [node("Sub", ["x", "x"], ["o"]), node("Div", ["o", "o"], ["y"])]
write("nan", nought, {"x": ["n", 4]}, {"y": ["n", 4]})
big = {"w": np.ones((64, 64), np.float32)}
write("external", [node("MatMul", ["x", "w"], ["y"])], {"x": ["n", 64]}, {"y": ["n", 64]}, big,
      save_as_external_data=True, location="weights.bin", size_threshold=0)
(directory / "weights.bin").unlink()
write("whole", [node("MatMul", ["x", "w"], ["y"])], {"x": ["n", 64]}, {"y": ["n", 64]}, big)
content = (directory / "whole.onnx").read_bytes()
(directory / "cut.onnx").write_bytes(content[: len(content) // 2])
(directory / "empty.onnx").write_bytes(b"")
(directory / "text.onnx").write_text("hello")
print("{}")
"""
PREPARE = """
import json, sys
from argparse import Namespace
from pathlib import Path
from hwfit.worker.artifact import make_inside

directory, model = Path(sys.argv[1]), json.loads(sys.argv[2])
data = directory / model["data"] if model["data"] != "signature" else None
asked = {"name": "mine", "model": json.dumps(model), "code": [], "calibration": None}
make_inside(Namespace(command="prepare", input=data, output=directory / "model", **asked))
card = json.loads((directory / "model" / "card.json").read_text())
if card["status"] == "ok":
    more = {"input": directory / "model", "checkpoint": directory / "model"}
    make_inside(Namespace(command="export", output=directory / "onnx", **asked, **more))
print(json.dumps(card))
"""
RUN = """
import json, sys
from pathlib import Path
import numpy as np
from hwfit.worker import outputs, runtimes
from hwfit.worker.errors import Unsupported

directory, runtime = Path(sys.argv[1]), sys.argv[2]
card = json.loads((directory / "model" / "card.json").read_text())
with np.load(directory / "model" / "evaluation.npz") as stored:
    arrays = {name: stored[name] for name in stored.files}
reference = arrays.pop("reference")
request = runtimes.Request({}, "features", directory / "onnx" / "model.onnx", card, "cpu")
session, found = runtimes.load(runtime).open_session(request), {}
for size in (1, 2, 5):
    try:
        placed = session.place({name: array[:size] for name, array in arrays.items()})
        got = session.fetch(session.run(placed))
    except Unsupported as error:
        found[size] = str(error)
        continue
    found[size] = [list(got.shape), outputs.relative_error(got, reference[:size])]
print(json.dumps(found))
"""
CELL = {
    "x": {"batch_axis": 0, "shape": [4]},
    "state": {"batch_axis": 1},
    "factor": {"value": 3},
}


@pytest.fixture(scope="module")
def files(python_of, tmp_path_factory):
    """A directory of ONNX files, good and bad."""
    directory = tmp_path_factory.mktemp("onnx")
    run_python(python_of(ENVIRONMENTS["onnxruntime"]), MADE, str(directory))
    return directory


def prepared(python_of, files, name: str, data: str = "signature", **more: Any) -> dict[str, Any]:
    """The card of a model of one file."""
    sources = {"onnxruntime": {"onnx": str(files / f"{name}.onnx")}}
    model = {"task": "features", "data": data, "samples": 6, "sources": sources} | more
    return run_python(python_of(ENVIRONMENTS["onnxruntime"]), PREPARE, str(files), json.dumps(model))


def ran(python_of, files, runtime: str) -> dict[str, Any]:
    return run_python(python_of(ENVIRONMENTS[runtime]), RUN, str(files), runtime)


RUNTIMES = ("onnxruntime", "openvino")


def test_three_inputs_with_a_constant_and_a_batch_on_the_second_axis(python_of, files):
    card = prepared(python_of, files, "cell", inputs=CELL, output="output")
    assert card["status"] == "ok", card["reason"]
    assert card["synthetic_inputs"]
    assert [entry["name"] for entry in card["inputs"]] == ["x", "state", "factor"]
    with np.load(files / "model" / "evaluation.npz") as stored:
        x, state, reference = stored["x"], stored["state"], stored["reference"]
    assert x.shape == (6, 4) and state.shape == (6, 2, 4)
    assert np.allclose(reference, (3 * state).sum(axis=1) + 2 * x, atol=1e-5)
    for runtime in RUNTIMES:
        for size, (shape, error) in ran(python_of, files, runtime).items():
            assert shape == [int(size), 4], runtime
            assert error < 1e-5, runtime


def test_an_output_whose_batch_is_not_its_first_axis_is_turned(python_of, files):
    card = prepared(python_of, files, "cell", inputs=CELL)
    assert (card["output"], card["output_axis"], card["output_shape"]) == ("next", 1, [2, 4])
    for runtime in RUNTIMES:
        for size, (shape, error) in ran(python_of, files, runtime).items():
            assert shape == [int(size), 2, 4], runtime
            assert error < 1e-5, runtime


def test_a_users_arrays_are_taken_by_name(python_of, files):
    random = np.random.default_rng(0)
    np.savez(files / "mine.npz", state=random.random((6, 2, 4)), x=random.random((6, 4)), other=np.ones(6))
    card = prepared(python_of, files, "cell", "mine.npz", inputs=CELL)
    assert card["status"] == "ok", card["reason"]
    assert not card["synthetic_inputs"]
    np.savez(files / "mine.npz", x=random.random((6, 4)))
    card = prepared(python_of, files, "cell", "mine.npz", inputs=CELL)
    assert card["status"] == "unavailable"
    assert (
        "mine.npz lacks state: the model takes x float32 [4] a sample; state float32 [2, 4]" in card["reason"]
    )


def test_a_batch_that_the_file_fixes_is_measured_alone(python_of, files):
    card = prepared(python_of, files, "fixed")
    assert card["batch_size"] == 2
    for runtime in RUNTIMES:
        found = ran(python_of, files, runtime)
        assert found["2"][0] == [2, 4]
        assert "takes batches of 2 alone" in found["1"] and "takes batches of 2 alone" in found["5"]


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("collapsed", "unsupported", "no axis of the output y is the batch"),
        ("new", "unsupported", "opset"),
        ("unknown", "unsupported", "Nonsense"),
        ("integers", "unsupported", "Det"),
        ("nan", "incorrect", "100.0% of the outputs are NaN or infinite"),
        ("external", "unsupported", "weights.bin"),
        ("cut", "unsupported", "cut.onnx"),
        ("empty", "unsupported", "empty.onnx"),
        ("text", "unsupported", "text.onnx"),
        ("absent", "unsupported", "absent.onnx"),
    ],
)
def test_a_file_that_cannot_be_measured_is_a_message(python_of, files, name, status, expected):
    card = prepared(python_of, files, name)
    assert card["status"] == status, card["reason"]
    assert expected.lower() in card["reason"].lower()
    assert "onnxruntime_src" not in card["reason"] and len(card["reason"]) < 600


def test_an_output_that_is_not_there_is_told_with_those_that_are(python_of, files):
    card = prepared(python_of, files, "cell", inputs=CELL, output="outptu")
    assert card["status"] == "unsupported"
    assert "has no output outptu; it has next, output" in card["reason"]


def test_weights_and_operations_of_a_file_are_counted(python_of, files):
    card = prepared(python_of, files, "whole")
    assert card["parameters"] == card["nonzero_parameters"] == 64 * 64
    assert card["flops_per_sample"] == 2 * 64 * 64
