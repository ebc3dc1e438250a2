"""Local Hugging Face folders of other tasks in torch, and what is not read without trust."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from frameworks import run_python

FOLDERS = """
import sys
from pathlib import Path
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM
from transformers import ResNetConfig, ResNetForImageClassification

directory = Path(sys.argv[1])
torch.manual_seed(0)
sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
texts = BertForSequenceClassification(BertConfig(vocab_size=10, num_labels=3, **sizes))
texts.save_pretrained(directory / "texts")
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "brown", "fox", "jumps"]
(directory / "texts/vocab.txt").write_text("\\n".join(words))
(directory / "texts/tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
images = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=4)
ResNetForImageClassification(images).save_pretrained(directory / "images")
llama = LlamaForCausalLM(LlamaConfig(vocab_size=50, **sizes))
llama.save_pretrained(directory / "llama")
(directory / "pickled").mkdir()
(directory / "pickled/config.json").write_text((directory / "llama/config.json").read_text())
torch.save(llama.state_dict(), directory / "pickled/pytorch_model.bin")
print("{}")
"""
PREPARE = """
import json, sys
from pathlib import Path
import numpy as np
from hwfit.worker import outputs, runtimes
from hwfit.worker.errors import Unsupported
from hwfit.worker.prepare import prepare

directory, task, source = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
if source["huggingface"] == "minilm":
    from hwfit.worker.zoo import minilm
    source["huggingface"] = str(minilm.model_directory())
out = directory / "out"
out.mkdir()
try:
    prepare("mine", {"task": task, "sources": {"torch": source}}, directory / "data.npz", out)
except Unsupported as error:
    print(json.dumps({"unsupported": str(error)}))
    raise SystemExit
card = json.loads((out / "card.json").read_text())
lengths = {"output_tokens": 4} if task == "generation" else {}
request = runtimes.Request(source, task, out / "weights.safetensors", card, "cpu", **lengths)
session = runtimes.load("torch").open_session(request)
with np.load(out / "evaluation.npz") as stored:
    arrays = dict(stored)
batch = {entry["name"]: arrays[entry["name"]] for entry in card["inputs"]}
got = session.fetch(session.run(session.place(batch)))
found = {"card": card, "shape": got.shape}
if "reference" in arrays:
    found["relative_error"] = outputs.relative_error(got, arrays["reference"])
if task == "embedding":
    inputs, _ = minilm.evaluation_inputs({"texts": np.load(directory / "data.npz")["texts"]})
    zoo = minilm.torch_module().eval()
    import torch
    with torch.inference_mode():
        said = zoo(*[torch.from_numpy(array) for array in inputs.values()]).numpy()
    found["zoo"] = outputs.relative_error(got, said)
print(json.dumps(found))
"""
TEXTS = np.array(["the quick brown fox", "jumps", "the the the", "fox jumps the fox"])


@pytest.fixture(scope="module")
def folders(python_of, tmp_path_factory) -> Path:
    """Folders of tiny models with weights that nobody trained."""
    directory = tmp_path_factory.mktemp("folders")
    run_python(python_of("torch-cpu"), FOLDERS, str(directory))
    return directory


@pytest.fixture
def prepare(python_of, tmp_path):
    """Prepares a folder's model on some data, and runs it in torch."""

    def run(task: str, source: dict, **data: np.ndarray) -> dict:
        np.savez(tmp_path / "data.npz", **data)
        return run_python(python_of("torch-cpu"), PREPARE, str(tmp_path), task, json.dumps(source))

    return run


def test_a_text_encoder_is_averaged_and_normalised_as_the_zoos(prepare):
    found = prepare("embedding", {"huggingface": "minilm"}, texts=TEXTS)
    assert found["shape"] == [4, 384]
    assert found["relative_error"] < 1e-5
    assert found["zoo"] < 1e-5
    assert [entry["name"] for entry in found["card"]["inputs"]] == ["input_ids", "attention_mask"]


def test_texts_are_classified(prepare, folders):
    labels = np.array([0, 1, 2, 0])
    found = prepare("classification", {"huggingface": str(folders / "texts")}, texts=TEXTS, labels=labels)
    assert found["shape"] == [4, 3]
    assert found["relative_error"] < 1e-5
    assert found["card"]["labelled"]
    assert 0 <= found["card"]["reference_accuracy"] <= 1


def test_images_are_classified(prepare, folders):
    pixels = np.random.default_rng(0).random((6, 3, 32, 32), np.float32)
    found = prepare("classification", {"huggingface": str(folders / "images")}, pixel_values=pixels)
    assert found["shape"] == [6, 4]
    assert found["relative_error"] < 1e-5


def test_a_pickle_is_not_read_unless_it_is_trusted(prepare, folders):
    tokens = np.random.default_rng(0).integers(0, 50, 2000)
    found = prepare("generation", {"huggingface": str(folders / "pickled")}, tokens=tokens)
    assert "has no .safetensors; pickled weights run code: trust: true reads them" in found["unsupported"]


def test_a_trusted_pickle_has_the_weights_of_the_safetensors(prepare, folders, tmp_path):
    tokens = np.random.default_rng(0).integers(0, 50, 2000)
    source = {"huggingface": str(folders / "pickled"), "trust": True}
    pickled = prepare("generation", source, tokens=tokens)
    (tmp_path / "out").rename(tmp_path / "before")
    safe = prepare("generation", {"huggingface": str(folders / "llama")}, tokens=tokens)
    assert pickled["card"]["reference_perplexity"] == safe["card"]["reference_perplexity"]


def test_code_that_a_folder_brings_is_not_run_unless_it_is_trusted(prepare, folders, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    config = json.loads((folders / "llama" / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").symlink_to(folders / "llama" / "model.safetensors")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    tokens = np.random.default_rng(0).integers(0, 50, 2000)
    found = prepare("generation", {"huggingface": str(folder)}, tokens=tokens)
    assert "brings code of its own" in found["unsupported"]
    assert not (tmp_path / "ran").exists()
