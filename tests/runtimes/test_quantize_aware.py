"""Fine-tuning under fake quantization leaves plain weights that are good ones once they are rounded."""

import pytest

from frameworks import run_python
from hwfit.data import write_dataset

TUNE = """
import json, sys
from pathlib import Path
import numpy as np, torch
from safetensors.numpy import load_file
from hwfit.records import file_sha256
from hwfit.worker import models
from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.compress import compress
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import quantize_aware
from hwfit.worker.prepare import prepare

torch.set_num_threads(1)
directory, found = Path(sys.argv[1]), {}
source, data, name = directory / "net", directory / "digits.npz", "lenet-300-100"
source.mkdir()
model = {"task": "classification", "data": "digits", "sources": {"torch": {"zoo": name}}}
prepare(name, model | {"training": {"epochs": 5}}, data, source)
aware = {"pass": "quantize_aware", "epochs": 3, "learning_rate": 1e-3, "bits": 3, "seed": 1}
for variant, steps in {
    "once": [aware],
    "again": [aware],
    "seed": [aware | {"seed": 2}],
    "pruned": [{"pass": "prune", "amount": 0.5}, aware],
}.items():
    out = directory / variant
    out.mkdir()
    compress(name, steps, source, out, data)
    card = json.loads((out / "card.json").read_text())
    arrays = load_file(out / "weights.safetensors")
    found[variant] = {
        "step": card["steps"][-1],
        "sha256": file_sha256(out / "weights.safetensors"),
        "arrays": {key: [str(array.dtype), list(array.shape)] for key, array in arrays.items()},
        "zeros": card["parameters"] - card["nonzero_parameters"],
    }
before = load_file(source / "weights.safetensors")
found["arrays"] = {key: [str(array.dtype), list(array.shape)] for key, array in before.items()}

# Each rounded value is one of 2**bits, a scale an output channel; what is left afterwards is the plain layer.
layer = torch.nn.Conv2d(3, 4, 3)
net, x, plain = torch.nn.Sequential(layer, torch.nn.Flatten()), torch.randn(2, 3, 5, 5), layer.weight.clone()
wanted = net(x)
quantize_aware.insert(net, 2)
net.train()(x)
found["levels"] = max(len(channel.unique()) for channel in layer.weight.detach())
found["input_levels"] = len(layer.input_fake_quantize(x).unique())
found["rounded_differs"] = not torch.equal(net(x), wanted)
quantize_aware.remove(net)
found["is_plain"] = torch.equal(net(x), wanted) and set(net.state_dict()) == {"0.weight", "0.bias"}

card = json.loads((source / "card.json").read_text())
unlabelled = Checkpoint(before, card, source, None, directory)
try:
    quantize_aware.apply(unlabelled, 1)
except Unsupported as error:
    found["unlabelled"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def tuned(python_of, tmp_path_factory):
    directory = tmp_path_factory.mktemp("aware")
    write_dataset("digits", directory / "digits.npz")
    return run_python(python_of("torch-cpu"), TUNE, str(directory))


def test_the_rounded_network_becomes_more_accurate(tuned):
    step = tuned["once"]["step"]
    rounded = step["validation_accuracy_quantized"]
    assert rounded["after"] > rounded["before"] + 0.02
    assert len(step["validation_accuracies_quantized"]) == 1 + step["epochs"] == 4
    assert rounded["after"] == max(step["validation_accuracies_quantized"][1:])
    assert set(step["validation_accuracy"]) == {"before", "after"}


def test_what_is_written_is_a_plain_checkpoint(tuned):
    assert tuned["once"]["arrays"] == tuned["arrays"]
    assert tuned["is_plain"]


def test_a_seed_decides_what_comes_out(tuned):
    assert tuned["once"]["sha256"] == tuned["again"]["sha256"] != tuned["seed"]["sha256"]


def test_what_was_pruned_stays_zero(tuned):
    assert tuned["pruned"]["zeros"] >= 0.5 * (266_610 - 410) - 1


def test_weights_and_inputs_take_as_many_values_as_the_bits_allow(tuned):
    assert tuned["rounded_differs"]
    assert 2 <= tuned["levels"] <= 4
    assert 2 <= tuned["input_levels"] <= 4


def test_without_labels_it_is_unsupported(tuned):
    assert "needs labelled training data" in tuned["unlabelled"]


SPARSE = """
import json
from types import SimpleNamespace
import numpy as np, torch
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass as to_sparse,
    sparse_semi_structured_to_dense_cutlass as to_dense,
)
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import prune_2_4, sparse_2_4


def net(*sizes, prune=True):
    layers = [torch.nn.Linear(*pair) for pair in zip(sizes, sizes[1:])]
    for layer in layers if prune else []:
        layer.weight.data = torch.from_numpy(prune_2_4.pruned(layer.weight.detach().numpy()))
    return torch.nn.Sequential(*layers)


def said(call, *arguments):
    try:
        call(*arguments)
    except Unsupported as error:
        return str(error)


torch.manual_seed(0)
chosen = net(64, 96, 40, 64)
weight, dense = chosen[0].weight.detach().half(), torch.randn(96, 64).half()
print(json.dumps({
    "cpu": said(sparse_2_4.torch, SimpleNamespace(module=chosen, device=torch.device("cpu")), "float16"),
    "chosen": [list(chosen).index(layer) for layer in sparse_2_4.convertible(chosen)],
    "dense": said(sparse_2_4.convertible, net(64, 96, prune=False)),
    "sizes": said(sparse_2_4.convertible, net(12, 10)),
    "none": said(sparse_2_4.convertible, torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))),
    "survives": bool(torch.equal(to_dense(*to_sparse(weight)), weight)),
    "other_survives": bool(torch.equal(to_dense(*to_sparse(dense)), dense)),
}))
"""


@pytest.fixture(scope="module")
def sparse(python_of):
    return run_python(python_of("torch-cpu"), SPARSE)


def test_torch_finds_the_pattern_that_prune_2_4_makes(sparse):
    """Its compression keeps two of every four weights: those of a dense matrix do not survive it."""
    assert sparse["survives"] and not sparse["other_survives"]


def test_sparse_kernels_are_refused_on_a_cpu(sparse):
    assert sparse["cpu"] == "2:4 sparse kernels are NVIDIA GPUs' (Ampere and later), not cpu's"


def test_layers_of_other_sizes_stay_dense_and_a_network_without_any_is_refused(sparse):
    assert sparse["chosen"] == [0]
    assert "take multiples of (32, 64), and it has (10, 12)" in sparse["sizes"]
    assert "prune_2_4 makes them" in sparse["dense"]
    assert "no Linear layer" in sparse["none"]
