"""The zoo's layers mean the same in every framework, and its deep nets are torchvision's, and answer."""

import json

import numpy as np
import pytest

from frameworks import ENVIRONMENTS, run_python

# Each kind of layer, with odd sizes, and a maximum over values below zero at the edge.
LAYERS = """
from hwfit.worker.zoo import layers

SHAPE = (3, 23, 19)
LAYERS = (
    layers.Convolution("first", 3, 8, 5, stride=2, padding=1),
    layers.MaxPool(3, stride=2, padding=1),
    layers.Block(
        "middle",
        (
            layers.ConcatenateInput("grown", (
                layers.ReLU(),
                layers.BatchNorm("norm", 8),
                layers.Convolution("conv", 8, 4, 3, padding=1, bias=False),
            )),
            layers.Convolution("wide", 12, 6, 5, padding=2),
            layers.Convolution("shrinks", 6, 6, 2),
            layers.ReLU(),
        ),
    ),
    layers.AveragePool(2),
    layers.Flatten(),
    layers.Dense("dense", 24, 10),
    layers.ReLU(),
    layers.Dense("last", 10, 5),
)
POOLED = (layers.Convolution("conv", 3, 7, 3), layers.GlobalAveragePool(), layers.Dense("dense", 7, 4))
NETS = {"every": LAYERS, "pooled": POOLED}
"""
IN_TORCH = """
import sys
from pathlib import Path
import numpy as np, torch
from safetensors.torch import save_model
from hwfit.worker.zoo import torch_layers

torch.manual_seed(0)
x = torch.randn(6, *SHAPE) - 1
for name, net in NETS.items():
    module = torch_layers.build(net).eval()
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2, 1.5) if tensor.ndim == 1 else tensor.normal_()
    save_model(module, str(Path(sys.argv[1]) / f"{name}.safetensors"))
    before = x.clone()
    with torch.inference_mode():
        outputs = module(x)
    assert torch.equal(x, before)
    np.savez(Path(sys.argv[1]) / f"{name}.npz", x=x.numpy(), outputs=outputs.numpy())
print("{}")
"""
ELSEWHERE = """
import json, sys
from pathlib import Path
import numpy as np
from hwfit.worker import outputs
from hwfit.worker.models import load_arrays

found = {}
for name, net in NETS.items():
    weights = load_arrays(Path(sys.argv[1]) / f"{name}.safetensors")
    with np.load(Path(sys.argv[1]) / f"{name}.npz") as stored:
        x, wanted = stored["x"], stored["outputs"]
    if sys.argv[2] == "tensorflow":
        from hwfit.worker.zoo import keras_layers
        got = np.asarray(keras_layers.build(net, SHAPE, weights)(x.transpose(0, 2, 3, 1)))
    else:
        import mindspore
        from hwfit.worker.zoo import mindspore_layers
        mindspore.set_device("CPU")
        mindspore.set_context(mode=mindspore.GRAPH_MODE)
        got = mindspore_layers.build(net, weights)(mindspore.Tensor(x)).asnumpy()
    assert got.shape == wanted.shape
    found[name] = [outputs.relative_error(got, wanted), float(wanted.std(axis=0).min())]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def nets(python_of, tmp_path_factory):
    """A directory of each net's weights, and what torch says with them."""
    directory = tmp_path_factory.mktemp("nets")
    run_python(python_of("torch-cpu"), LAYERS + IN_TORCH, str(directory))
    return directory


@pytest.mark.parametrize("runtime", ["tensorflow", "mindspore"])
def test_every_kind_of_layer_means_the_same_in_every_framework(python_of, nets, runtime):
    found = run_python(python_of(ENVIRONMENTS[runtime]), LAYERS + ELSEWHERE, str(nets), runtime)
    assert set(found) == {"every", "pooled"}
    for name, (error, spread) in found.items():
        assert error < 1e-5, name
        assert spread > 1e-3, name


def norm(name, channels):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": [channels] for part in parts} | {f"{name}.num_batches_tracked": []}


def torchvisions_densenet121():
    """The names and shapes of `torchvision.models.densenet121().state_dict()`, by its naming."""
    shapes = {"features.conv0.weight": [64, 3, 7, 7]} | norm("features.norm0", 64)
    channels = 64
    for block, depth in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, depth + 1):
            at = f"features.denseblock{block}.denselayer{layer}"
            shapes |= norm(f"{at}.norm1", channels) | {f"{at}.conv1.weight": [128, channels, 1, 1]}
            shapes |= norm(f"{at}.norm2", 128) | {f"{at}.conv2.weight": [32, 128, 3, 3]}
            channels += 32
        if block < 4:
            at = f"features.transition{block}"
            shapes |= norm(f"{at}.norm", channels) | {f"{at}.conv.weight": [channels // 2, channels, 1, 1]}
            channels //= 2
    shapes |= norm("features.norm5", 1024)
    return shapes | {"classifier.weight": [1000, 1024], "classifier.bias": [1000]}


TORCHVISION = {
    "alexnet": {
        f"{name}.{part}": shape if part == "weight" else shape[:1]
        for name, shape in {
            "features.0": [64, 3, 11, 11],
            "features.3": [192, 64, 5, 5],
            "features.6": [384, 192, 3, 3],
            "features.8": [256, 384, 3, 3],
            "features.10": [256, 256, 3, 3],
            "classifier.1": [4096, 9216],
            "classifier.4": [4096, 4096],
            "classifier.6": [1000, 4096],
        }.items()
        for part in ("weight", "bias")
    },
    "densenet121": torchvisions_densenet121(),
}
DEEP = """
import json, sys
from pathlib import Path
import numpy as np, torch
from hwfit.worker import models, outputs, zoo

found = {}
for name in ("alexnet", "densenet121"):
    module = models.torch_module({"zoo": name}, "features")
    with np.load(Path(sys.argv[1]) / name / "evaluation.npz") as stored:
        x, reference = torch.from_numpy(stored["x"][:4]), stored["reference"][:4]
    with torch.inference_mode():
        unsettled = module(x).numpy()
        models.load_torch_weights(module, Path(sys.argv[1]) / name / "weights.safetensors")
        turned = module.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    found[name] = {
        "shapes": {key: list(tensor.shape) for key, tensor in module.state_dict().items()},
        "channels_last": outputs.relative_error(turned.numpy(), reference),
        "unsettled": unsettled.tolist(),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def deep(python_of, checkpoints):
    return run_python(python_of("torch-cpu"), DEEP, str(checkpoints))


@pytest.mark.parametrize("name", TORCHVISION)
def test_weights_have_torchvisions_names_and_shapes(deep, name):
    assert deep[name]["shapes"] == TORCHVISION[name]


@pytest.mark.parametrize("name", TORCHVISION)
def test_channels_last_changes_nothing(deep, name):
    assert deep[name]["channels_last"] < 1e-4


def cosines(outputs):
    """Of each pair of different samples."""
    unit = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


@pytest.mark.parametrize("name", TORCHVISION)
def test_no_photographs_answer_passes_for_anothers(checkpoints, deep, name):
    """With torch's initial weights alone, that of another photograph would have a fidelity above 0.98."""
    with np.load(checkpoints / name / "evaluation.npz") as stored:
        reference = stored["reference"]
    assert cosines(reference).max() < 0.98
    assert abs(np.median(cosines(reference))) < 0.2
    assert cosines(np.array(deep[name]["unsettled"])).min() > 0.97


SETTLE = """
import json
import numpy as np, torch
from hwfit.worker.zoo import layers, torch_layers
from hwfit.worker.zoo.settling import settle

def settled(count):
    torch.manual_seed(0)
    net = (
        layers.Convolution("conv", 3, 8, 3), layers.ReLU(), layers.BatchNorm("norm", 8), layers.ReLU(),
        layers.GlobalAveragePool(), layers.Dense("dense", 8, 4),
    )
    module = torch_layers.build(net).eval()
    x = np.random.default_rng(0).random((count, 3, 12, 12), np.float32)
    settle(module, {"x": x})
    with torch.inference_mode():
        convolved = module[0](torch.from_numpy(x))
        return module, convolved, module(torch.from_numpy(x))

module, convolved, outputs = settled(20)
_, _, again = settled(20)
_, _, single = settled(1)
print(json.dumps({
    "training": module.training,
    "hooks": sum(len(m._forward_hooks) for m in module.modules()),
    "convolved": [convolved.mean((0, 2, 3)).tolist(), convolved.std((0, 2, 3), correction=0).tolist()],
    "outputs": [outputs.mean(0).tolist(), outputs.std(0, correction=0).tolist()],
    "is_repeated": bool(torch.equal(outputs, again)),
    "single": single.abs().max().item(),
}))
"""


def test_settling_centres_each_channel_and_leaves_nothing_behind(python_of):
    found = run_python(python_of("torch-cpu"), SETTLE)
    for mean, deviation in (found["convolved"], found["outputs"]):
        assert np.allclose(mean, 0, atol=5e-3)
        assert np.allclose(deviation, 1, atol=1e-2)
    assert not found["training"]
    assert found["hooks"] == 0
    assert found["is_repeated"]
    # One sample has no deviation to divide by.
    assert found["single"] < 0.1


COUNTS = """
import json
import numpy as np, torch
from transformers import ResNetConfig, ResNetForImageClassification
from hwfit.worker import counts

class Twice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.own = torch.nn.Parameter(torch.ones(5))
        self.layer = torch.nn.Linear(6, 3)

    def forward(self, x, y):
        return self.layer(x) + self.layer(y)

def counted(module, **inputs):
    return [
        sum(p.numel() for p in module.parameters()),
        counts.weight_bytes(module),
        counts.flops(module, inputs),
        counts.activation_bytes(module, inputs),
    ]

rows = np.ones((7, 6), np.float32)
print(json.dumps({
    "resnet50": counted(
        ResNetForImageClassification(ResNetConfig(num_labels=1000)).eval(),
        x=np.ones((2, 3, 224, 224), np.float32),
    ),
    "twice": counted(Twice().eval(), x=rows, y=rows),
    "scripted": counts.activation_bytes(torch.jit.script(torch.nn.Linear(6, 3)), {"x": rows}),
}))
"""


@pytest.fixture(scope="module")
def counted(python_of):
    return run_python(python_of("torch-cpu"), COUNTS)


def test_sizes_and_costs_of_any_module_are_the_published_ones(counted):
    """ResNet-50: 25.6 M parameters, 4.1 G multiply-adds; 102.23 MB and 177.83 MB, there with gradients, are
    what torchinfo prints for torchvision's."""
    parameters, weight_bytes, flops, activation_bytes = counted["resnet50"]
    assert parameters == 25_557_032
    assert weight_bytes / 1e6 == pytest.approx(102.23, abs=0.01)
    assert flops == pytest.approx(2 * 4.09e9, rel=0.005)
    assert 2 * activation_bytes / 1e6 == pytest.approx(177.83, abs=0.01)


def test_a_layer_that_is_called_twice_costs_twice_and_weighs_once(counted):
    assert counted["twice"] == [5 + 21, 4 * 26, 2 * 2 * 18, 2 * 4 * 3]
    assert counted["scripted"] is None


def test_a_deep_nets_card_says_what_it_holds(checkpoints):
    """AlexNet by hand: the outputs of five convolutions and three dense layers."""
    card = json.loads((checkpoints / "alexnet" / "card.json").read_text())
    values = 64 * 55**2 + 192 * 27**2 + (384 + 256 + 256) * 13**2 + 2 * 4096 + 1000
    assert card["activation_bytes_per_sample"] == 4 * values
    assert card["weight_bytes"] == 4 * 61_100_840
    assert "untrained" in card["provenance"]


@pytest.mark.parametrize("name", ["minilm", "efficientnet-lite0"])
def test_a_network_without_its_published_weights_is_the_same_network(python_of, name):
    """Where a checkpoint was carried, the package with the weights need not be installed."""
    code = f"""
import json, torch
from hwfit.worker import zoo

published, network = zoo.torch_module("{name}").eval(), zoo.torch_network("{name}").eval()
torch.manual_seed(0)
tokens = (torch.randint(0, 30000, (2, 16)), torch.ones(2, 16, dtype=torch.long))
inputs = tokens if "{name}" == "minilm" else (torch.rand(2, 3, 224, 224),)
with torch.inference_mode():
    before = network(*inputs)
    network.load_state_dict(published.state_dict())
    wanted = published(*inputs)
    same, changed = torch.equal(network(*inputs), wanted), not torch.equal(before, wanted)
print(json.dumps({{"same": same, "changed": changed}}))
"""
    assert run_python(python_of("torch-cpu"), code) == {"same": True, "changed": True}
