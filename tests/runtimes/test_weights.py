"""A user's weights become a zoo model's, or the card says what is wrong with the file."""

import json

import numpy as np
import pytest

from frameworks import run_python
from hwfit.worker.zoo.photographs import evaluation_inputs

MAKE = """
import json, os, pickle, sys
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
from hwfit.worker.prepare import prepare
from hwfit.worker.errors import Unsupported

directory, checkpoints = Path(sys.argv[1]), Path(sys.argv[2])
weights = load_file(checkpoints / "lenet-300-100" / "weights.safetensors")
without_bias = {key: value for key, value in weights.items() if key != "fc2.bias"}

class Command:
    def __reduce__(self):
        return os.system, (f"touch {directory / 'it-ran'}",)

def save(name, content, cut=None, **options):
    path = directory / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, **options)
    path.write_bytes(path.read_bytes()[:cut])

old = {"_use_new_zipfile_serialization": False}
save("good.safetensors", weights)
save("good.pt", weights)
save("old.pth", weights, **old)
save("half.safetensors", {key: value.half() for key, value in weights.items()})
save("cut.safetensors", weights, cut=-8)
save("cut-head.safetensors", weights, cut=20)
save("empty.safetensors", b"")
save("text.safetensors", b"no tensors at all")
save("cut.pt", weights, cut=-5000)
save("cut-old.pth", weights, cut=-8, **old)
save("empty.pt", b"")
save("text.pt", b"no tensors at all")
save("digits.pt", b"hello world")
save("missing.safetensors", without_bias)
save("shape.pt", weights | {"fc2.weight": torch.zeros(100, 301)})
save("extra.safetensors", weights | {"fc4.weight": torch.zeros(3)})
save("int8.pt", weights | {"fc1.bias": torch.zeros(300, dtype=torch.int8)})
save("code.pt", {"fc1.weight": Command()})
save("bare-code.pt", pickle.dumps(Command()))
save("module.pt", torch.nn.Linear(2, 2))
save("checkpoint.pt", {"epoch": 3, "state_dict": weights})
save("list.pt", [1, 2])

model = {"task": "classification", "data": "digits", "sources": {"tensorflow": {"zoo": "lenet-300-100"}}}
found = {}
for path in sorted(path for path in directory.iterdir() if path.is_file()):
    out = directory / path.stem
    out.mkdir(exist_ok=True)
    try:
        prepare("mine", model | {"weights": str(path)}, checkpoints / "digits.npz", out)
        found[path.name] = json.loads((out / "card.json").read_text())
    except Unsupported as error:
        found[path.name] = {"error": str(error)}
print(json.dumps({"found": found, "ran": (directory / "it-ran").exists()}))
"""


@pytest.fixture(scope="module")
def cards(python_of, checkpoints, tmp_path_factory):
    """What came of each file, by its name, and whether code in one of them ran."""
    return run_python(python_of("torch-cpu"), MAKE, str(tmp_path_factory.mktemp("weights")), str(checkpoints))


@pytest.mark.parametrize("file", ["good.safetensors", "good.pt", "old.pth", "half.safetensors"])
def test_a_users_weights_are_loaded_and_not_trained_over(cards, checkpoints, file):
    card = cards["found"][file]
    trained = json.loads((checkpoints / "lenet-300-100" / "card.json").read_text())
    assert card["training"] is None
    assert card["reference_accuracy"] == pytest.approx(trained["reference_accuracy"], abs=0.01)
    assert card["provenance"].startswith("the user's weights, ")
    assert (card["weights_sha256"] == trained["weights_sha256"]) == (file != "half.safetensors")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("cut.safetensors", "is cut short, or no safetensors file: "),
        ("cut-head.safetensors", "is cut short, or no safetensors file: "),
        ("empty.safetensors", "is cut short, or no safetensors file: "),
        ("text.safetensors", "is cut short, or no safetensors file: "),
        ("cut.pt", "is cut short, or no file of torch.save: RuntimeError: "),
        ("cut-old.pth", "is cut short, or no file of torch.save: RuntimeError: "),
        ("empty.pt", "is cut short, or no file of torch.save: EOFError: "),
        ("text.pt", "is broken, or holds more than tensors, which may run any code: refused"),
        ("digits.pt", "is cut short, or no file of torch.save: KeyError: "),
        ("missing.safetensors", "has no fc2.bias, which the model needs; it has fc"),
        ("shape.pt", "fc2.weight has shape (100, 301), the model's (100, 300)"),
        ("extra.safetensors", "has fc4.weight, which the model has not; it has fc1.weight, fc1.bias, "),
        ("int8.pt", "fc1.bias is torch.int8, the model's torch.float32"),
        ("code.pt", "wants to call posix.system, which may run any code: refused; save the state dict"),
        (
            "bare-code.pt",
            "is broken, or holds more than tensors, which may run any code: refused; save the state dict",
        ),
        ("module.pt", "wants to call torch.nn.modules.linear.Linear, which may run any code: refused"),
        ("checkpoint.pt", "epoch is a int, not a tensor: save the state dict alone"),
        ("list.pt", "holds a list, not tensors by name: save the state dict alone"),
    ],
)
def test_a_file_that_is_not_the_models_is_refused_with_the_reason(cards, file, expected):
    said = cards["found"][file]["error"]
    assert file in said
    assert expected in said


def test_code_in_a_file_of_weights_is_never_run(cards):
    assert "error" in cards["found"]["code.pt"]
    assert not cards["ran"]


CLASSIFY = """
import json, sys
from pathlib import Path
import numpy as np, torch
from safetensors.torch import load_file
from hwfit.worker.prepare import prepare

directory, checkpoint = Path(sys.argv[1]), Path(sys.argv[2]) / "densenet121"
# As files from before torch 0.4.1 are: without the counts of batches.
weights = load_file(checkpoint / "weights.safetensors")
torch.save({k: v for k, v in weights.items() if "num_batches" not in k}, directory / "mine.pth")
model = {
    "task": "classification",
    "data": "mine.npz",
    "sources": {"torch": {"zoo": "densenet121"}},
    "weights": str(directory / "mine.pth"),
}
prepare("mine", model, directory / "mine.npz", directory)
print((directory / "card.json").read_text().replace("\\n", " "))
"""


def test_a_deep_net_with_a_users_weights_classifies_the_users_photographs(python_of, tmp_path, checkpoints):
    with np.load(checkpoints / "photographs.npz") as stored:
        images = stored["images"][:8]
    with np.load(checkpoints / "densenet121" / "evaluation.npz") as stored:
        labels = stored["reference"][:8].argmax(axis=1)
    labels[0] = (labels[0] + 1) % 1000
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    card = run_python(python_of("torch-cpu"), CLASSIFY, str(tmp_path), str(checkpoints))
    assert card["reference_accuracy"] == 7 / 8
    assert card["provenance"].endswith("mine.pth")


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 3, 224, 224), np.uint8),
        np.zeros((2, 32, 32, 3), np.uint8),
        np.zeros((2, 224, 224, 3), np.float32),
    ],
)
def test_photographs_of_another_form_are_refused(images):
    with pytest.raises(ValueError, match=r"expected uint8 \(n, 224, 224, 3\)"):
        evaluation_inputs({"images": images})
