"""What a careful person writes by hand in each runtime: open, warm up, time each call. Prints one JSON line.

python bare_runtime.py RUNTIME MODEL WEIGHTS EVALUATION SECONDS [MODEL_DIRECTORY]

The networks are the zoo's, since the loop is compared and not the network; none of hwfit's sessions is used.
With a model's directory, hwfit's session is opened beside in the same process, and the two take turns call by
call: what makes a process quick or slow as a whole is then in both.
"""

import functools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

runtime, model, weights, evaluation, seconds = (*sys.argv[1:5], float(sys.argv[5]))
beside = sys.argv[6] if len(sys.argv) > 6 else None
with np.load(evaluation) as stored:
    names = [name for name in stored.files if name not in ("reference", "labels")]
    batches = [{name: stored[name][k : k + 1] for name in names} for k in range(4)]


def torch_calls():
    import torch
    from safetensors.torch import load_model

    from hwfit.worker import zoo

    network = zoo.torch_module(model).eval()
    load_model(network, weights)
    inputs = [[torch.from_numpy(batch[name]) for name in names] for batch in batches]
    # Kept by each call, since the mode ends with the object.
    mode = torch.inference_mode()
    mode.__enter__()
    return [lambda values=values, mode=mode: network(*values) for values in inputs]


def tensorflow_calls():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    from hwfit.worker import models

    network = models.keras_model({"zoo": model}, weights)
    graph = tf.function(lambda x: network(x, training=False))
    inputs = [tf.constant(batch["x"].transpose(0, 2, 3, 1)) for batch in batches]
    return [lambda x=x: graph(x) for x in inputs]


def mindspore_calls():
    import mindspore as ms

    from hwfit.worker import models

    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    network = models.mindspore_cell({"zoo": model}, weights)
    inputs = [ms.Tensor(batch["x"]) for batch in batches]

    def call(x):
        network(x)
        ms.runtime.synchronize()

    return [lambda x=x: call(x) for x in inputs]


def onnxruntime_calls():
    import onnxruntime

    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    return [lambda batch=batch: session.run(None, batch) for batch in batches]


def openvino_calls():
    import openvino

    core = openvino.Core()
    network = core.read_model(weights)
    network.reshape({name: batches[0][name].shape for name in names})
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(network, "CPU", hints)
    return [lambda batch=batch: compiled(batch) for batch in batches]


def session_calls():
    """The same calls as a worker of hwfit makes them."""
    from hwfit.worker import runtimes
    from hwfit.worker.job import read_card

    source = {"export": "torch"} if weights.endswith(".onnx") else {"zoo": model}
    card = read_card(Path(beside))
    request = runtimes.Request(source, card["task"], Path(weights), card, "cpu", 0)
    session = runtimes.load(runtime).open_session(request)
    return [functools.partial(session.run, session.place(batch)) for batch in batches]


sides = {"p50_ms": globals()[f"{runtime}_calls"]()}
if beside:
    sides["session_p50_ms"] = session_calls()
times = {name: [] for name in sides}
for k in range(20):
    for calls in sides.values():
        calls[k % 4]()
end = time.perf_counter() + seconds * len(sides)
while time.perf_counter() < end:
    for name, calls in sides.items():
        start = time.perf_counter()
        calls[len(times[name]) % 4]()
        times[name].append(time.perf_counter() - start)
medians = {name: float(np.median(durations)) * 1e3 for name, durations in times.items()}
print(json.dumps(medians | {"samples": len(times["p50_ms"])}))
