"""Deep Compression and gradual pruning of a small network on real digits, with the framework."""

from __future__ import annotations

import pytest

from frameworks import run_python
from hwfit.data import write_dataset

COMPRESS = """
import json, sys
from pathlib import Path
import numpy as np
from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.compressed_file import decode
from hwfit.worker.passes import deep_compression, prune_gradually
from hwfit.worker.prepare import prepare
from safetensors.numpy import load_file

directory = Path(sys.argv[1])
model = {"task": "classification", "data": "digits", "sources": {"torch": {"zoo": "lenet-300-100"}},
         "training": {"epochs": 5}}
data = directory / "digits.npz"
source, out = directory / "prepared", directory / "out"
source.mkdir(), out.mkdir()
prepare("lenet", model, data, source)
card = json.loads((source / "card.json").read_text())
before = load_file(source / "weights.safetensors")
test = np.load(data)

def accuracy(arrays):
    import torch
    from hwfit.worker.retraining import accuracy
    module = Checkpoint(arrays, card, source, data, out).module()
    return accuracy(module, torch.from_numpy(test["x_test"]), torch.from_numpy(test["y_test"]))

def run(apply, **parameters):
    checkpoint = Checkpoint(dict(before), card, source, data, out)
    apply(checkpoint, **parameters)
    weights = [array for array in checkpoint.arrays.values() if array.ndim > 1]
    zeros = sum(int((array == 0).sum()) for array in weights) / sum(array.size for array in weights)
    return checkpoint, {"accuracy": accuracy(checkpoint.arrays), "zeros": zeros, "facts": checkpoint.facts}

small, found = run(deep_compression.apply, amount=0.9, epochs=4, sharing_epochs=2)
again, _ = run(deep_compression.apply, amount=0.9, epochs=4, sharing_epochs=2)
(file,) = small.files
decoded = decode((out / file).read_bytes())
_, pruned = run(prune_gradually.apply, amount=0.8, epochs=3)
print(json.dumps({
    "before": accuracy(before), "compressed": found, "pruned": pruned,
    "bytes": (out / file).stat().st_size,
    "values": {n: len(np.unique(a[a != 0])) for n, a in decoded.items() if a.ndim > 1},
    "decoded": all(decoded[n].tobytes() == a.tobytes() for n, a in small.arrays.items()),
    "repeated": all(again.arrays[n].tobytes() == a.tobytes() for n, a in small.arrays.items()),
}))
"""


@pytest.fixture(scope="module")
def compressed(python_of, tmp_path_factory):
    directory = tmp_path_factory.mktemp("deep")
    write_dataset("digits", directory / "digits.npz")
    return run_python(python_of("torch-cpu"), COMPRESS, str(directory))


def test_the_file_is_the_network_and_a_fraction_of_its_size(compressed):
    facts = compressed["compressed"]["facts"]
    assert compressed["decoded"]
    assert compressed["bytes"] == facts["file_bytes"] < 266_610 * 4 / 20
    assert facts["ratio"] == pytest.approx(266_610 * 4 / compressed["bytes"])
    assert facts["file_bytes"] < facts["huffman_bytes"]


def test_the_share_is_removed_and_the_rest_share_values(compressed):
    assert compressed["compressed"]["zeros"] == pytest.approx(0.9, abs=0.001)
    assert all(1 < count <= 32 for count in compressed["values"].values())


def test_retraining_keeps_what_the_network_knew(compressed):
    assert compressed["compressed"]["accuracy"] > compressed["before"] - 0.02
    assert compressed["pruned"]["accuracy"] > compressed["before"] - 0.02
    assert compressed["pruned"]["zeros"] == pytest.approx(0.8, abs=0.001)


def test_images_are_moved_by_whole_pixels_and_zeros_come_in(python_of):
    code = """
import json
import torch
from hwfit.worker.retraining import shifted
torch.manual_seed(0)
image = torch.zeros(1, 1, 5, 5)
image[0, 0, 0, 2] = 1
moved = shifted(image.repeat(200, 2, 1, 1), 1)
places = {tuple(place) for one in moved for place in one[0].nonzero().tolist()}
alike = bool((moved[:, 0] == moved[:, 1]).all())
print(json.dumps([sorted(places), alike, float(moved.sum(dim=(2, 3)).max())]))
"""
    places, channels_together, largest = run_python(python_of("torch-cpu"), code)
    assert places == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2], [1, 3]]
    assert channels_together and largest == 1


def test_the_same_seed_gives_the_same_network(compressed):
    assert compressed["repeated"]
