"""A callable of another framework than torch has its reference from its own runtime; texts become tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from frameworks import ENVIRONMENTS, run_python

PREPARE = """
import json, sys
from pathlib import Path
from hwfit.worker import outputs, runtimes
from hwfit.worker.prepare import prepare
import numpy as np

out, model = Path(sys.argv[1]), json.loads(sys.argv[2])
prepare("mine", model, out / "mine.npz", out)
card = json.loads((out / "card.json").read_text())
((runtime, source),) = model["sources"].items()
request = runtimes.Request(source, model["task"], out / "absent", card, "cpu")
session = runtimes.load(runtime).open_session(request)
with np.load(out / "evaluation.npz") as stored:
    got = session.fetch(session.run(session.place({"x": stored["x"][:4]})))
    error = outputs.relative_error(got, stored["reference"][:4])
print(json.dumps({"card": card, "error": error, "torch": "torch" in sys.modules}))
"""
MINE = {
    "tensorflow": """
import keras

def net():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
""",
    "mindspore": """
from mindspore import nn

def net():
    return nn.Dense(6, 3)
""",
}


@pytest.mark.parametrize("runtime", MINE)
def test_weights_that_are_drawn_are_those_of_the_reference(python_of, tmp_path, runtime):
    """Each process draws its own: without a seed the reference would be of another model."""
    (tmp_path / "mine.py").write_text(MINE[runtime])
    x = np.random.default_rng(0).random((37, 6), np.float32)
    np.savez(tmp_path / "mine.npz", x=x, labels=np.arange(37) % 3)
    model = {
        "task": "classification",
        "data": "mine.npz",
        "sources": {runtime: {"callable": "mine:net"}},
    }
    runs = [
        run_python(python_of(ENVIRONMENTS[runtime]), PREPARE, str(tmp_path), json.dumps(model), cwd=tmp_path)
        for _ in range(2)
    ]
    for found in runs:
        assert found["error"] < 1e-6
        assert not found["torch"]
        assert found["card"]["parameters"] == 6 * 3 + 3
        assert found["card"]["reference_runtime"] == runtime
        assert 0 <= found["card"]["reference_accuracy"] <= 1
    assert runs[0]["card"]["evaluation_sha256"] == runs[1]["card"]["evaluation_sha256"]


TOKENS = """
import json, sys
import numpy as np
from hwfit.worker import user_data
from hwfit.worker.errors import Unavailable
from hwfit.worker.zoo import minilm

texts = {"texts": np.array(["Hello there", "A passage that is longer than eight tokens of any kind"])}
arrays = user_data.tokenised(texts, {"tokenizer": str(minilm.model_directory()), "length": 8})
try:
    user_data.tokenised(texts, {"tokenizer": sys.argv[1]})
except Unavailable as error:
    message = str(error)
print(json.dumps({name: array.tolist() for name, array in arrays.items()} | {"message": message}))
"""


def test_texts_become_token_numbers_by_a_tokenizer_on_disk(python_of, tmp_path: Path):
    found = run_python(python_of("torch-cpu"), TOKENS, str(tmp_path))
    assert found["attention_mask"] == [[1, 1, 1, 1, 0, 0, 0, 0], [1] * 8]
    assert [row[0] for row in found["input_ids"]] == [101, 101]
    assert found["message"].startswith(f"{tmp_path} has no tokenizer")
