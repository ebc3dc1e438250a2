"""What a careful person writes by hand to let a language model write: prompt, then tokens, each timed.

python bare_generation.py RUNTIME MODEL WEIGHTS DIRECTORY SECONDS BATCH_SIZE PROMPT_TOKENS OUTPUT_TOKENS

Prints one JSON line. The network and its cache are the zoo's, since the loop is compared; none of hwfit's
sessions is used.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

runtime, model, weights, directory, seconds = (*sys.argv[1:5], float(sys.argv[5]))
batch_size, prompt_tokens, output_tokens = (int(size) for size in sys.argv[6:9])
card = json.loads((Path(directory) / "card.json").read_text())
with np.load(Path(directory) / "evaluation.npz") as stored:
    prompts = np.resize(stored["tokens"], (batch_size, prompt_tokens)).astype(np.int32)


def torch_decoder():
    import torch
    from safetensors.torch import load_model

    from hwfit.worker import zoo

    network = zoo.torch_module(model).eval()
    load_model(network, weights)
    mode = torch.inference_mode()
    mode.__enter__()
    # Kept with what is waited for, since the mode ends with the object.
    return network, torch.from_numpy(prompts).long(), lambda mode=mode: None


def tensorflow_decoder():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    from hwfit.worker.models import load_arrays
    from hwfit.worker.zoo.llama import Architecture
    from hwfit.worker.zoo.llama.tensorflow import Llama

    network = Llama(Architecture.from_config(card["architecture"]), load_arrays(weights), tf.float32)
    return network, tf.constant(prompts), lambda: None


def mindspore_decoder():
    import mindspore as ms

    from hwfit.worker.models import load_arrays
    from hwfit.worker.zoo.llama import Architecture
    from hwfit.worker.zoo.llama.mindspore import Decoder, Llama

    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    cell = Llama(Architecture.from_config(card["architecture"]), load_arrays(weights))
    return Decoder(cell), ms.Tensor(prompts), ms.runtime.synchronize


decoder, tokens, wait = globals()[f"{runtime}_decoder"]()
cache = decoder.new_cache(batch_size, prompt_tokens + output_tokens)


def request():
    """Seconds to the first token, and of each further one."""
    start = time.perf_counter()
    written = decoder.prefill(tokens, cache)
    wait()
    first = time.perf_counter()
    for position in range(prompt_tokens, prompt_tokens + output_tokens - 1):
        written = decoder.decode(written, position, cache)
        wait()
    return first - start, (time.perf_counter() - first) / (output_tokens - 1)


for _ in range(2):
    request()
times = []
end = time.perf_counter() + seconds
while time.perf_counter() < end or len(times) < 4:
    times.append(request())
first_ms, token_ms = np.median(times, axis=0) * 1e3
print(json.dumps({"first_token_ms": first_ms, "token_ms": token_ms, "samples": len(times)}))
