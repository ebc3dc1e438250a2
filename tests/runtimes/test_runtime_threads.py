"""The pass `threads` reaches every runtime, which says so itself."""

import os

import pytest

from frameworks import ENVIRONMENTS, run_python

THREADS = """
import json, sys, tempfile
from pathlib import Path
import numpy as np
from hwfit.catalog import weights_file
from hwfit.worker import runtimes
from hwfit.worker.reference_model import write_weights
from hwfit.worker.zoo import mlp

runtime, count = sys.argv[1], int(sys.argv[2])
with tempfile.TemporaryDirectory() as directory:
    weights = Path(directory) / weights_file(runtime)
    write_weights(mlp.LAYERS, weights)
    card = {"inputs": [{"name": "x", "dtype": "float32", "shape": list(mlp.INPUT_SHAPE)}]}
    steps = [{"pass": "threads", "count": count}]
    request = runtimes.Request({"zoo": "mlp"}, "features", weights, card, "cpu", passes=steps, threads=7)
    session = runtimes.load(runtime).open_session(request)
    session.run(session.place({"x": np.ones((4, *mlp.INPUT_SHAPE), np.float32)}))
    print(json.dumps(session.threads()))
"""
# What each runtime calls the threads of one operator.
NAMES = {
    "torch": "intra_op",
    "tensorflow": "intra_op",
    "mindspore": "runtime",
    "onnxruntime": "intra_op",
    "openvino": "inference",
}


@pytest.mark.parametrize("runtime", ENVIRONMENTS)
def test_a_runtime_computes_with_the_threads_of_the_pass(python_of, runtime):
    python = python_of(ENVIRONMENTS[runtime])
    for count in {1, min(2, len(os.sched_getaffinity(0)))}:
        assert run_python(python, THREADS, runtime, str(count))[NAMES[runtime]] == count
