"""Passes that save memory or its traffic: what they hold, what they lose, and that they say so."""

import pytest

from frameworks import run_python

SETTINGS = """
import json, sys, tempfile
from pathlib import Path
import numpy as np
from hwfit.worker import host, runtimes
from hwfit.worker.errors import Unsupported

def weights_of(shapes):
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape).astype(np.float32) / 20 for name, shape in shapes.items()}
"""

TORCH = (
    SETTINGS
    + """
import torch
from hwfit.worker import torch_weight_only as weight_only
from hwfit.worker.passes import keep_memory, offload, quantize_cache
from hwfit.worker.zoo.llama import Architecture
from hwfit.worker.zoo.llama.torch import Llama

torch.set_num_threads(2)
torch.manual_seed(0)
torch.inference_mode().__enter__()
found = {}

# Layers by themselves.
inputs = torch.randn(5, 64)
linear = torch.nn.Linear(64, 48)
for name, dtype, group in (("int8", "int8", 32), ("int4", "int4", 32), ("odd", "int4", 128)):
    module = torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.Linear(48, 48, bias=False))
    module[0].load_state_dict(linear.state_dict())
    reference = module(inputs)
    weight_only.quantize(module, dtype, group)
    got = module(inputs)
    found[name] = {
        "error": float((got - reference).norm() / reference.norm()),
        "formats": weight_only.formats(module),
        "dtype": str(got.dtype),
    }
# A grid that int4 holds exactly comes out as it went in.
grid = torch.randint(0, 16, (16, 32)).float()
grid[:, 0], grid[:, 1] = 0, 15
exact = torch.nn.Sequential(torch.nn.Linear(32, 16, bias=False))
exact[0].weight.data = grid
weight_only.quantize(exact, "int4", 32)
found["exact"] = float((exact(torch.eye(32)) - grid.T).abs().max())

# A network that ties its head to its embedding, and one that does not.
def network(tied):
    torch.manual_seed(1)
    numbers = (320, 64, 96, 2, 4, 2, 16, 1e4, 1e-5, 128, tied)
    made = Llama(Architecture(*numbers)).eval()
    for parameter in made.parameters():
        parameter.data = torch.randn_like(parameter) * (0.3 if parameter.ndim > 1 else 1)
    if tied:
        made.lm_head.weight = made.model.embed_tokens.weight
    return made

tokens = torch.randint(0, 320, (2, 24))
for tied in (True, False):
    made = network(tied)
    reference = made.logits(tokens)
    weight_only.quantize(made, "int8", 32)
    got = made.logits(tokens)
    cache = made.new_cache(2, 30)
    first = made.prefill(tokens, cache)
    found["tied" if tied else "untied"] = {
        "formats": weight_only.formats(made),
        "shares": getattr(made.model.embed_tokens, "quantized", None) is made.lm_head.quantized,
        "error": float((got - reference).norm() / reference.norm()),
        "follows": bool((first == got[:, -1].argmax(-1)).all()),
    }

# The cache: what is said without one is what is written with it, and neither is lossless.
class Holder:
    module = network(True)

reference = Holder.module.logits(tokens)
whole = Holder.module.cache_bytes(Holder.module.new_cache(2, 30))
quantize_cache.torch(Holder, "int8")
made = Holder.module
said = made.logits(tokens)
cache = made.new_cache(2, 30)
steps = [made.prefill(tokens[:, :8], cache)]
steps += [made.decode(tokens[:, position], position, cache) for position in range(8, 24)]
found["cache"] = {
    "error": float((said - reference).norm() / reference.norm()),
    "written_as_said": bool((torch.stack(steps, 1) == said[:, 7:].argmax(-1)).all()),
    "bytes": made.cache_bytes(cache),
    "whole": whole,
}
class Stranger:
    module = torch.nn.Linear(2, 2)
try:
    quantize_cache.torch(Stranger, "int8")
except Unsupported as error:
    found["stranger"] = str(error)

# Offload: on the device while it computes, on the host before and after. The device 'meta' holds no values.
made = network(True)
seen = []
offload.onto(made, torch.device("meta"))
made.model.layers[0].mlp.up_proj.register_forward_pre_hook(
    lambda layer, _: seen.append(layer.weight.device.type)
)
output = made.logits(tokens.to("meta"))
found["offload"] = {
    "while": seen,
    "after": sorted({parameter.device.type for parameter in made.parameters()}),
    "output": output.device.type,
    "tied": made.lm_head.weight is made.model.embed_tokens.weight,
    "layers": len(offload.layers(made)),
    "attention": len(offload.layers(torch.nn.MultiheadAttention(8, 2))),
}

# Memory: together far larger than the largest, beyond which glibc gives back what is free.
def call():
    [bytearray(4 * 2**20) for _ in range(6)]

def faults():
    call()
    before = host.page_faults()
    for _ in range(10):
        call()
    return (host.page_faults() - before) / 10

before = faults()
keep_memory.torch(None)
kept = faults()
host.reset_process_peak()
held = host.process_memory().peak_bytes
host.give_memory_back()
host.reset_process_peak()
given_back = host.process_memory().peak_bytes
found["memory"] = {"before": before, "kept": kept, "held": held, "given_back": given_back}
print(json.dumps(found))
"""
)


@pytest.fixture(scope="module")
def torch_passes(python_of):
    return run_python(python_of("torch-cpu"), TORCH)


def test_weights_in_whole_numbers_say_about_the_same(torch_passes):
    int8, int4 = torch_passes["int8"], torch_passes["int4"]
    assert int8["formats"] == {"int8": 2}
    assert 1e-4 < int8["error"] < 0.02
    # The second layer has 48 inputs, which are no groups of 32.
    assert int4["formats"] == {"int4": 1, "int8": 1}
    assert int8["error"] < int4["error"] < 0.2
    assert int8["dtype"] == int4["dtype"] == "torch.float32"
    assert torch_passes["exact"] < 1e-3


def test_a_layer_that_int4_does_not_fit_is_int8(torch_passes):
    assert torch_passes["odd"]["formats"] == {"int8": 2}


def test_a_head_that_shares_the_embedding_still_does(torch_passes):
    tied, untied = torch_passes["tied"], torch_passes["untied"]
    assert tied["shares"]
    assert not untied["shares"]
    # Seven matrices a layer, the head, and the table where it is the head's; norms, and the other table.
    assert tied["formats"] == {"int8": 16, "float32": 5}
    assert untied["formats"] == {"int8": 15, "float32": 6}
    for found in (tied, untied):
        assert 1e-4 < found["error"] < 0.1
        assert found["follows"]


def test_what_the_cache_loses_is_part_of_what_the_model_says(torch_passes):
    cache = torch_passes["cache"]
    assert 1e-5 < cache["error"] < 0.05
    assert cache["written_as_said"]


def test_an_int8_cache_has_a_byte_a_value_and_its_scales(torch_passes):
    cache = torch_passes["cache"]
    # Heads of 16 values: 16 bytes and a scale of 4 in place of 64.
    assert cache["bytes"] / cache["whole"] == 20 / 64


def test_a_cache_that_is_not_hwfits_own_is_unsupported(torch_passes):
    assert "optimum-quanto" in torch_passes["stranger"]


def test_offloaded_layers_are_on_the_device_only_while_they_compute(torch_passes):
    found = torch_passes["offload"]
    assert found["while"] == ["meta"]
    assert found["after"] == ["cpu"]
    assert found["output"] == "meta"
    assert found["tied"]
    assert found["layers"] == 1 + 2 * 9 + 1 + 1
    # Its inner projection is used without a call.
    assert found["attention"] == 1


def test_kept_memory_is_not_faulted_in_again_and_can_still_be_given_back(torch_passes):
    memory = torch_passes["memory"]
    assert memory["before"] > 1000
    assert memory["kept"] < 100
    assert memory["given_back"] < memory["held"] - 16 * 2**20


ONNX = (
    SETTINGS
    + """
from onnx import helper
from hwfit.worker import onnx_graphs, outputs

runtime, found = sys.argv[1], {}
weights = weights_of({"a": (64, 256), "b": (256, 64)})
nodes = [
    helper.make_node("MatMul", ["x", "a"], ["h"]),
    helper.make_node("Relu", ["h"], ["r"]),
    helper.make_node("MatMul", ["r", "b"], ["output"]),
]
card = {"inputs": [{"name": "x", "dtype": "float32", "shape": [64]}]}
batch = {"x": np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)}
steps = {"baseline": [], "memory": [{"pass": "keep_memory"}]}
for dtype in ("int8", "int4"):
    steps[dtype] = [{"pass": "quantize_weights", "dtype": dtype, "group_size": 32}]
with tempfile.TemporaryDirectory() as directory:
    path = Path(directory) / "model.onnx"
    path.write_bytes(onnx_graphs.model(nodes, {"x": ("batch", 64)}, ("batch", 64), weights))
    for name, passes in steps.items():
        try:
            request = runtimes.Request({}, "features", path, card, "cpu", 0, passes, threads=2)
            session = runtimes.load(runtime).open_session(request)
        except Unsupported as error:
            found[name] = {"unsupported": str(error)}
            continue
        got = session.fetch(session.run(session.place(batch)))
        reference = got if name == "baseline" else reference
        found[name] = {
            "error": outputs.relative_error(got, reference),
            "bytes": session.model_size_bytes(),
            "facts": session.pass_facts,
        }
print(json.dumps(found))
"""
)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_products_of_an_onnx_file_hold_whole_numbers(python_of, runtime):
    found = run_python(python_of(f"{runtime}-cpu"), ONNX, runtime)
    assert found["memory"]["error"] == 0
    for dtype, share, error in (("int8", 0.35, 0.02), ("int4", 0.25, 0.2)):
        result = found[dtype]
        if "unsupported" in result:
            pytest.fail(result["unsupported"])
        assert result["bytes"] < share * found["baseline"]["bytes"]
        assert 1e-5 < result["error"] < error
        assert sum(result["facts"]["quantize_weights"]["layers"].values()) >= 2
