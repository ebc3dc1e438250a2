"""The passes that tell a runtime how to arrange or compile a graph: the same outputs, otherwise made."""

from __future__ import annotations

import os

from frameworks import run_python

# A convolution with a scale behind it, which rewriting folds into its filters.
MADE = """
import json, sys
from pathlib import Path
import numpy as np
from onnx import helper
from hwfit.worker import onnx_graphs, runtimes

directory, runtime = Path(sys.argv[1]), sys.argv[2]
random = np.random.default_rng(0)
weights = {
    "filters": random.standard_normal((8, 3, 3, 3), np.float32),
    "scale": np.full((1, 8, 1, 1), 0.5, np.float32),
}
nodes = [
    helper.make_node("Conv", ["x", "filters"], ["c"], pads=[1] * 4),
    helper.make_node("Mul", ["c", "scale"], ["m"]),
    helper.make_node("Relu", ["m"], ["output"]),
]
shape = ("n", 3, 32, 32)
path = directory / "model.onnx"
path.write_bytes(onnx_graphs.model(nodes, {"x": shape}, ("n", 8, 32, 32), weights))
card = {"inputs": [{"name": "x", "dtype": "float32"}], "output": "output"}
batches = [{"x": random.standard_normal((2, 3, 32, 32), np.float32)} for _ in range(3)]


def opened(*passes):
    return runtimes.load(runtime).open_session(runtimes.Request({}, "features", path, card, "cpu", 0, passes))


baseline = opened()
wanted = [baseline.fetch(baseline.run(baseline.place(batch))) for batch in batches]


def error(got):
    return max(float(np.abs(a - b).max()) for a, b in zip(got, wanted, strict=True))


"""
LEVELS = """
found = {}
for level in ("none", "basic", "extended", "all"):
    session = opened({"pass": "graph_level", "level": level})
    got = [session.fetch(session.run(session.place(batch))) for batch in batches]
    parts = session.session.get_provider_graph_assignment_info()
    found[level] = {
        "error": error(got),
        "level": session.options.graph_optimization_level.name,
        "operators": sum(len(part.get_nodes()) for part in parts),
        "passes": list(session.pass_seconds),
    }
print(json.dumps(found))
"""
HINTS = """
found = {}
for hint in ("latency", "throughput"):
    session = opened({"pass": "performance_hint", "hint": hint})
    output = session.run(session.place(batches[0]))
    started = [session.start(session.place(batch)) for batch in batches]
    got = [session.finish(each) for each in started]
    kept = [array.copy() for array in got]
    for batch in batches:
        session.finish(session.start(session.place({"x": -batch["x"]})))
    found[hint] = {
        "error": error(got),
        "changed": sum(float(np.abs(a - b).max()) for a, b in zip(got, kept, strict=True)),
        "asynchronous": session.is_asynchronous,
        "calls": session.calls_at_a_time(),
        "requests": sum(map(len, session.idle.values())),
        "streams": session.threads()["streams"],
    }
print(json.dumps(found))
"""


def told(python_of, tmp_path, runtime: str, code: str) -> dict:
    return run_python(python_of(f"{runtime}-cpu"), MADE + code, str(tmp_path), runtime)


def test_every_graph_level_gives_the_same_outputs_by_ever_fewer_operators(python_of, tmp_path):
    found = told(python_of, tmp_path, "onnxruntime", LEVELS)
    for level, result in found.items():
        assert result["error"] < 1e-4, level
        assert result["passes"] == ["graph_level"]
    assert found["none"]["level"] == "ORT_DISABLE_ALL"
    assert found["none"]["operators"] > found["basic"]["operators"] >= found["all"]["operators"]


def test_with_the_throughput_hint_calls_go_on_together_and_keep_their_outputs(python_of, tmp_path):
    found = told(python_of, tmp_path, "openvino", HINTS)
    latency, throughput = found["latency"], found["throughput"]
    assert max(latency["error"], throughput["error"]) < 1e-4
    assert throughput["changed"] == 0, "a later call must not write into what an earlier one gave"
    assert (latency["asynchronous"], throughput["asynchronous"]) == (False, True)
    assert throughput["requests"] == 3
    assert throughput["calls"] >= 1
    if len(os.sched_getaffinity(0)) > 1:
        assert throughput["streams"] > latency["streams"]


COMPILED = """
import json
from types import SimpleNamespace
import torch
from torch._inductor import config
from hwfit.worker.passes import compile

compile.torch(SimpleNamespace(device=torch.device("cpu"), module=torch.nn.Linear(1, 1)))
print(json.dumps({"without_cache": config.force_disable_caches}))
"""


def test_every_process_compiles_anew(python_of):
    """A second round would otherwise find the first one's kernels on disk, and start ten times as fast."""
    assert run_python(python_of("torch-cpu"), COMPILED) == {"without_cache": True}
