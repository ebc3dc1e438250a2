"""What a careful person writes by hand in each runtime: open, warm up, time each call. Prints one JSON line.

python bare_runtime.py RUNTIME MODEL WEIGHTS EVALUATION SECONDS

The networks are the zoo's, since the loop is compared and not the network; none of hwfit's sessions is used.
"""

import json
import os
import sys
import time

import numpy as np

runtime, model, weights, evaluation, seconds = (*sys.argv[1:5], float(sys.argv[5]))
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


calls = globals()[f"{runtime}_calls"]()
for k in range(20):
    calls[k % 4]()
times = []
end = time.perf_counter() + seconds
while time.perf_counter() < end:
    start = time.perf_counter()
    calls[len(times) % 4]()
    times.append(time.perf_counter() - start)
print(json.dumps({"p50_ms": float(np.median(times)) * 1e3, "samples": len(times)}))
