"""Local Hugging Face folders of other tasks in torch, and what is not read without trust."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from frameworks import run_python

FOLDERS = """
import json, sys
from pathlib import Path
import numpy as np
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
(directory / "own").mkdir()
config = json.loads((directory / "llama/config.json").read_text())
config["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
(directory / "own/config.json").write_text(json.dumps(config))
(directory / "own/model.safetensors").symlink_to(directory / "llama/model.safetensors")
(directory / "own/evil.py").write_text(f"open({str(directory / 'ran')!r}, 'w')")
"""
PREPARE = """
from hwfit.worker import outputs, runtimes
from hwfit.worker.errors import Unsupported
from hwfit.worker.prepare import prepare
from hwfit.worker.zoo import minilm


def prepared(task, data, source, out):
    try:
        prepare("mine", {"task": task, "sources": {"torch": source}}, data, out)
    except Unsupported as error:
        return {"unsupported": str(error)}
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
        inputs, _ = minilm.evaluation_inputs({"texts": np.load(data)["texts"]})
        zoo = minilm.torch_module().eval()
        with torch.inference_mode():
            said = zoo(*[torch.from_numpy(array) for array in inputs.values()]).numpy()
        found["zoo"] = outputs.relative_error(got, said)
    return found


found = {}
for name, (task, data, folder, trust) in json.loads(sys.argv[2]).items():
    out = directory / f"{name} prepared"
    out.mkdir()
    folder = minilm.model_directory() if folder == "minilm" else directory / folder
    source = {"huggingface": str(folder)} | ({"trust": True} if trust else {})
    found[name] = prepared(task, directory / f"{data}.npz", source, out)
print(json.dumps(found))
"""
TEXTS = np.array(["the quick brown fox", "jumps", "the the the", "fox jumps the fox"])
# The task, the data, the folder, and whether it is trusted.
PREPARED = {
    "encoder": ("embedding", "texts", "minilm", False),
    "texts": ("classification", "labelled", "texts", False),
    "images": ("classification", "images", "images", False),
    "pickled": ("generation", "tokens", "pickled", False),
    "trusted": ("generation", "tokens", "pickled", True),
    "safe": ("generation", "tokens", "llama", False),
    "own code": ("generation", "tokens", "own", False),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """Some data; `prepared` adds folders of tiny models with weights that nobody trained."""
    directory = tmp_path_factory.mktemp("folders")
    random = np.random.default_rng(0)
    np.savez(directory / "texts.npz", texts=TEXTS)
    np.savez(directory / "labelled.npz", texts=TEXTS, labels=np.array([0, 1, 2, 0]))
    np.savez(directory / "images.npz", pixel_values=random.random((6, 3, 32, 32), np.float32))
    np.savez(directory / "tokens.npz", tokens=random.integers(0, 50, 2000))
    return directory


@pytest.fixture(scope="module")
def prepared(python_of, directory) -> dict:
    """What came of each folder: its model was prepared on some data, and run in torch."""
    return run_python(python_of("torch-cpu"), FOLDERS + PREPARE, str(directory), json.dumps(PREPARED))


def test_a_text_encoder_is_averaged_and_normalised_as_the_zoos(prepared):
    found = prepared["encoder"]
    assert found["shape"] == [4, 384]
    assert found["relative_error"] < 1e-5
    assert found["zoo"] < 1e-5
    assert [entry["name"] for entry in found["card"]["inputs"]] == ["input_ids", "attention_mask"]


def test_texts_are_classified(prepared):
    found = prepared["texts"]
    assert found["shape"] == [4, 3]
    assert found["relative_error"] < 1e-5
    assert found["card"]["labelled"]
    assert 0 <= found["card"]["reference_accuracy"] <= 1


def test_images_are_classified(prepared):
    found = prepared["images"]
    assert found["shape"] == [6, 4]
    assert found["relative_error"] < 1e-5


def test_a_pickle_is_not_read_unless_it_is_trusted(prepared):
    said = prepared["pickled"]["unsupported"]
    assert "has no .safetensors; pickled weights run code: trust: true reads them" in said


def test_a_trusted_pickle_has_the_weights_of_the_safetensors(prepared):
    trusted, safe = (prepared[name]["card"] for name in ("trusted", "safe"))
    assert trusted["reference_perplexity"] == safe["reference_perplexity"]


def test_code_that_a_folder_brings_is_not_run_unless_it_is_trusted(prepared, directory):
    assert "brings code of its own" in prepared["own code"]["unsupported"]
    assert not (directory / "ran").exists()
