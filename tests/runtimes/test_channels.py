"""Channels are cut out of the checkpoint once, and every runtime runs the smaller network."""

import numpy as np
import pytest

from frameworks import ENVIRONMENTS, run_python
from hwfit.catalog import READ_ONNX, weights_file
from hwfit.data import write_dataset

NETS = """
import torch
from torch import nn


class Residual(nn.Module):
    # An addition, a concatenation, depthwise and transposed filters: what hangs together goes together.
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(16, 8, 1)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + torch.relu(self.norm(self.depthwise(x)))
        x = self.wide(torch.cat((x, x), dim=1))
        return self.last(torch.relu(self.up(x)).mean((2, 3)))


class Fixed(nn.Module):
    # Knows by heart how many channels it has.
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.first(x).reshape(len(x), 8, -1).mean(2))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.num_heads = 2
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        heads = [f(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2) for f in self.children()]
        return nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attend, self.norm = nn.Linear(4, 8), Attention(), nn.LayerNorm(8)
        self.wide, self.narrow, self.last = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.embed(x.flatten(2).transpose(1, 2)[..., :3].repeat(1, 1, 2)[..., :4])
        x = self.norm(x + self.attend(x))
        return self.last((x + self.narrow(torch.relu(self.wide(x)))).mean(1))


def seeded(kind):
    torch.manual_seed(0)
    return kind()


def residual():
    net = seeded(Residual)
    with torch.no_grad():
        # A quarter of each layer's channels says nothing, the same of those that hang together.
        for layer in (net.stem, net.depthwise, net.norm, net.wide):
            layer.weight[::4] = layer.bias[::4] = 0
        net.up.weight[:, ::4] = net.up.bias[::4] = 0
    return net


def fixed():
    return seeded(Fixed)


def transformer():
    return seeded(Transformer)
"""
CUT = """
import json, sys
from pathlib import Path
import numpy as np, torch
from safetensors.torch import load_file, save_file
from hwfit.worker import fitting, models
from hwfit.worker.compress import compress
from hwfit.worker.errors import Unsupported
from hwfit.worker.export import export
from hwfit.worker.prepare import prepare
from hwfit.worker.prepare_torch import predict

torch.set_num_threads(1)
directory, found = Path(sys.argv[1]), {}
sys.path.insert(0, str(directory))


def made(name, source, data, cut=None, **training):
    model = {"task": "classification", "data": data, "sources": {"torch": source}, **training}
    out, smaller = directory / name, directory / f"{name}-cut"
    out.mkdir(), smaller.mkdir()
    prepare(name, model, directory / data, out)
    before = json.loads((out / "card.json").read_text())
    try:
        compress(name, [{"pass": "prune_channels", **cut}], out, smaller, directory / data)
    except Unsupported as error:
        found[name] = {"unsupported": str(error)}
        return
    with np.load(out / "evaluation.npz") as stored:
        inputs, reference = {"x": stored["x"]}, stored["reference"]
    module = models.torch_module(source, "classification")
    models.load_torch_weights(module, smaller / "weights.safetensors")
    after = json.loads((smaller / "card.json").read_text())
    difference = float(np.abs(predict(module.eval(), inputs) - reference).max())
    found[name] = {
        "before": before,
        "after": after,
        "difference": difference,
        "shapes": fitting.shapes_in(smaller / "weights.safetensors"),
    }
    exported = directory / f"{name}-cut-onnx"
    exported.mkdir()
    if name == "lenet-5":
        export(name, model, out, smaller, exported)
        np.save(directory / "outputs.npy", predict(module, {"x": inputs["x"][:5]}))


quarter = {"amount": 0.25, "multiple_of": 1}
training = {"training": {"epochs": 2}}
made("lenet-5", {"zoo": "lenet-5"}, "digits.npz", {"amount": 0.3, "epochs": 1, "seed": 3}, **training)
made("residual", {"callable": "nets:residual"}, "images.npz", quarter)
made("transformer", {"callable": "nets:transformer"}, "images.npz", quarter)
made("fixed", {"callable": "nets:fixed"}, "images.npz", quarter)
made("unlabelled", {"callable": "nets:residual"}, "images.npz", {"amount": 0.25, "epochs": 1})

smaller = load_file(directory / "lenet-5-cut" / "weights.safetensors")
files = {"unmarked": (smaller, None)}
larger = load_file(directory / "lenet-5" / "weights.safetensors")
larger["fc2.weight"] = torch.zeros(11, 500)
files["larger"] = (larger, fitting.METADATA)
for name, (tensors, metadata) in files.items():
    save_file(tensors, directory / f"{name}.safetensors", metadata)
    try:
        module = models.torch_module({"zoo": "lenet-5"}, "classification")
        models.load_torch_weights(module, directory / f"{name}.safetensors")
    except ValueError as error:
        found[name] = str(error)
print(json.dumps(found))
"""
SESSION = """
import json, sys
from pathlib import Path
import numpy as np
from hwfit.worker import outputs, runtimes

directory, runtime, weights = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
card = json.loads((directory / "lenet-5" / "card.json").read_text())
with np.load(directory / "lenet-5" / "evaluation.npz") as stored:
    batch = {"x": stored["x"][:5]}
request = runtimes.Request({"zoo": "lenet-5"}, "classification", weights, card, "cpu", 0, [], 1)
session = runtimes.load(runtime).open_session(request)
got = session.fetch(session.run(session.place(batch)))
print(json.dumps({
    "error": outputs.relative_error(got, np.load(directory / "outputs.npy")),
    "bytes": session.model_size_bytes(),
}))
"""


@pytest.fixture(scope="module")
def cut(python_of, tmp_path_factory):
    """A directory of networks whose channels were cut, and what was found of each, by name."""
    directory = tmp_path_factory.mktemp("channels")
    write_dataset("digits", directory / "digits.npz")
    images = np.random.default_rng(0).random((6, 3, 8, 8), np.float32)
    np.savez(directory / "images.npz", x=images, labels=np.arange(6) % 3)
    (directory / "nets.py").write_text(NETS)
    return directory, run_python(python_of("torch-cpu"), CUT, str(directory), cwd=directory)


@pytest.mark.parametrize("runtime", ENVIRONMENTS)
def test_every_runtime_runs_the_smaller_network_and_says_the_same(runtime, python_of, cut):
    directory, found = cut
    folder = "lenet-5-cut-onnx" if runtime in READ_ONNX else "lenet-5-cut"
    weights = directory / folder / weights_file(runtime)
    got = run_python(python_of(ENVIRONMENTS[runtime]), SESSION, str(directory), runtime, str(weights))
    assert got["error"] < 1e-5
    assert got["bytes"] == pytest.approx(4 * found["lenet-5"]["after"]["parameters"], rel=0.03)


def test_what_stays_is_rounded_to_the_nearest_multiple_of_eight(cut):
    """Of 20, 50 and 500 channels, 30% less are 14, 35 and 350."""
    shapes = cut[1]["lenet-5"]["shapes"]
    assert [shapes[f"{layer}.bias"] for layer in ("conv1", "conv2", "fc1")] == [[16], [32], [352]]


def test_the_card_counts_what_is_left_of_the_network_and_tells_how_it_was_retrained(cut):
    lenet = cut[1]["lenet-5"]
    assert lenet["shapes"]["conv2.weight"] == [32, 16, 5, 5]
    assert lenet["shapes"]["fc1.weight"] == [352, 32 * 4 * 4]
    assert lenet["shapes"]["fc2.weight"] == [10, 352]
    assert lenet["after"]["parameters"] == 16 * 26 + 32 * (16 * 25 + 1) + 352 * 513 + 10 * 353
    assert lenet["after"]["flops_per_sample"] < 0.6 * lenet["before"]["flops_per_sample"]
    (step,) = lenet["after"]["steps"]
    assert (step["epochs"], step["seed"]) == (1, 3)
    assert (step["channels_before"], step["channels_after"]) == (580, 410)
    assert step["validation_accuracies"][1] > 0.8


def test_channels_that_say_nothing_are_the_ones_that_go(cut):
    residual = cut[1]["residual"]
    assert residual["shapes"]["stem.weight"] == [6, 3, 3, 3]
    assert residual["shapes"]["depthwise.weight"] == [6, 1, 3, 3]
    assert residual["shapes"]["norm.running_var"] == [6]
    assert residual["shapes"]["wide.weight"] == [6, 12, 1, 1]
    assert residual["shapes"]["up.weight"] == [6, 3, 2, 2]
    assert residual["difference"] < 1e-6


def test_heads_of_attention_stay_whole(cut):
    shapes = cut[1]["transformer"]["shapes"]
    assert shapes["attend.query.weight"][0] == shapes["attend.value.weight"][0] == 8
    assert shapes["wide.weight"][0] == 12


def test_a_network_with_sizes_in_its_code_is_unsupported_with_the_reason(cut):
    assert "its channels cannot be cut: RuntimeError: mat1 and mat2 shapes" in cut[1]["fixed"]["unsupported"]


def test_retraining_without_labels_is_unsupported(cut):
    assert "retraining needs labelled training data" in cut[1]["unlabelled"]["unsupported"]


def test_only_a_checkpoint_that_says_so_may_be_smaller_and_none_larger(cut):
    _, found = cut
    assert "unmarked.safetensors does not fit the model" in found["unmarked"]
    assert "fc2.weight has shape (11, 500), which is no part of the model's (10, 500)" in found["larger"]
