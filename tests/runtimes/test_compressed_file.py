"""The compressed file comes back bit by bit, in another process too, and never as another network."""

from __future__ import annotations

import pytest

from frameworks import ROOT, run_python

ARRAYS = """
import json, sys
import numpy as np
from hwfit.worker.compressed_file import CompressedFileError, decode, encode

def sparse(shape, kept, values, seed=0):
    generator = np.random.default_rng(seed)
    array = np.zeros(shape, np.float32)
    # Some columns have far more than others, as pixels do.
    mask = generator.random(shape) < 2 * kept * generator.random(shape[1:])
    array[mask] = generator.choice(generator.standard_normal(values), mask.sum())
    return array

def same(arrays, others):
    return list(arrays) == list(others) and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in zip(arrays.values(), others.values())
    )
"""


@pytest.fixture(scope="module")
def python(python_of):
    return python_of("torch-cpu")


def test_what_is_encoded_comes_back(python):
    code = """
generator = np.random.default_rng(1)
cases = {
    "random": sparse((60, 90), 0.1, 16),
    "filters": sparse((9, 4, 5, 5), 0.6, 32),
    "all zero": np.zeros((5, 7), np.float32),
    "one weight": np.eye(1, 40, 3, dtype=np.float32).reshape(8, 5),
    "one value everywhere": np.full((3, 4), 0.1, np.float32),
    "all distinct": generator.standard_normal((6, 50)).astype(np.float32),
    "one row": sparse((1, 400), 0.2, 4),
    "one column": sparse((400, 1), 0.2, 4),
    "double": sparse((20, 30), 0.1, 3).astype(np.float64),
    "huge": np.where(np.eye(6, dtype=bool), np.float32(1e30), np.float32(0)),
}
plain = {
    "bias": generator.standard_normal(7).astype(np.float32),
    "half": np.float32([0.5, -0.0, np.inf]),
    "batches": np.array(3),
    "nothing": np.zeros((0, 3), np.float32),
}
failed = [n for n, array in cases.items() if not same({n: array}, decode(encode({n: array}, [n])))]
together = cases | plain
failed += [] if same(together, decode(encode(together, list(cases)))) else ["together"]
for seed in range(30):
    shape = tuple(int(n) for n in generator.integers(1, 30, int(generator.integers(2, 5))))
    array = sparse(shape, float(generator.random()), int(generator.integers(1, 40)), seed)
    failed += [] if same({"w": array}, decode(encode({"w": array}, ["w"]))) else [str(shape)]
print(json.dumps(failed))
"""
    assert run_python(python, ARRAYS + code) == []


def test_a_flipped_bit_or_a_cut_is_an_error_wherever_it_is(python):
    code = """
content = encode({"fc.weight": sparse((8, 20), 0.2, 4), "fc.bias": np.ones(8, np.float32)}, ["fc.weight"])
passed = []
for at in range(len(content)):
    flipped = [content[at] ^ 1 << bit for bit in range(8)]
    damaged = [content[:at], *(content[:at] + bytes([byte]) + content[at + 1:] for byte in flipped)]
    for other in damaged:
        try:
            decode(other)
            passed.append(at)
        except CompressedFileError:
            pass
print(json.dumps([len(content), passed]))
"""
    length, passed = run_python(python, ARRAYS + code)
    assert length > 100 and passed == []


def test_a_fresh_process_decodes_the_same_weights(python, tmp_path):
    code = """
from pathlib import Path
from safetensors.numpy import save_file
arrays = {"fc.weight": sparse((50, 80), 0.05, 16), "fc.bias": np.arange(50, dtype=np.float32) / 3}
directory = Path(sys.argv[1])
(directory / "a.hwfitdc").write_bytes(encode(arrays, ["fc.weight"]))
save_file(arrays, directory / "expected.safetensors")
print("0")
"""
    run_python(python, ARRAYS + code, str(tmp_path))
    decoded = tmp_path / "decoded.safetensors"
    arguments = ["decode", str(tmp_path / "a.hwfitdc"), "--output", str(decoded)]
    main = "import sys; from hwfit.worker.__main__ import main; print(main(sys.argv[1:]))"
    assert run_python(python, main, *arguments, cwd=ROOT) == 0
    assert decoded.read_bytes() == (tmp_path / "expected.safetensors").read_bytes()
    (tmp_path / "a.hwfitdc").write_bytes((tmp_path / "a.hwfitdc").read_bytes()[:-1])
    assert run_python(python, main, *arguments, cwd=ROOT) == 1


def test_places_that_repeat_by_column_cost_less_than_their_entropy(python):
    code = """
array = sparse((300, 784), 0.04, 16)
array[:, ::2] = 0
kept = (array != 0).mean()
entropy = -array.size * (kept * np.log2(kept) + (1 - kept) * np.log2(1 - kept)) / 8
values = array[array != 0].size * 4 / 8
print(json.dumps([len(encode({"w": array}, ["w"])), entropy + values]))
"""
    coded_bytes, bound_bytes = run_python(python, ARRAYS + code)
    assert coded_bytes < 0.97 * bound_bytes


def test_huffman_as_in_the_paper_bridges_long_gaps(python):
    code = """
from hwfit.worker.paper_coding import huffman_bits, relative_index
array = np.zeros((10, 20), np.float32)
array.ravel()[[0, 70, 72, 199]] = [1, 2, 1, 3]
gaps, values = relative_index(array, 5)
places = np.cumsum(gaps + 1) - 1
back = np.zeros(200, np.float32)
back[places] = values
print(json.dumps([bool((back.reshape(array.shape) == array).all()), gaps.tolist(), huffman_bits(array)]))
"""
    same, gaps, bits = run_python(python, ARRAYS + code)
    assert same and max(gaps) < 32 and len(gaps) == 9 and bits > 9
