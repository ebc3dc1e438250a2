"""Language models say and write the same in every runtime, and the same as transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from frameworks import CATALOGUE, ENVIRONMENTS, run_python
from hwfit.catalog import FRAMEWORKS
from hwfit.data import write_dataset

WRITTEN = 64
# Untied, in groups of three, with numbers that no other model has: what is built by mistake shows.
TINY = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
    "rms_norm_eps": 1e-3,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    "initializer_range": 0.3,
}
PREPARE = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM
from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.compress import compress, counted
from hwfit.worker.passes import prune
from hwfit.worker.prepare import prepare

directory, written = Path(sys.argv[1]), int(sys.argv[4])
(directory / "smollm2").mkdir()
prepare("smollm2", json.loads(sys.argv[2]), directory / "python-topics.npz", directory / "smollm2")
# The pass alone: `compress` would deflate half a gigabyte, so it is tried on the tiny model.
source, pruned = directory / "smollm2", directory / "smollm2-pruned"
pruned.mkdir()
card = json.loads((source / "card.json").read_text())
checkpoint = Checkpoint(load_file(source / "weights.safetensors"), card, source, None, pruned)
prune.apply(checkpoint, amount=0.1)
save_file(checkpoint.arrays, pruned / "weights.safetensors")
(pruned / "counted.json").write_text(json.dumps(counted(checkpoint)))

# The same weights as a folder of Hugging Face's.
numbers = json.loads((directory / "smollm2/card.json").read_text())["architecture"]
theta = numbers.pop("rope_theta")
LlamaConfig(**numbers, rope_theta=theta).save_pretrained(directory / "smollm2-folder")
(directory / "smollm2-folder/model.safetensors").symlink_to(directory / "smollm2/weights.safetensors")

torch.manual_seed(0)
LlamaForCausalLM(LlamaConfig(**json.loads(sys.argv[3]))).save_pretrained(directory / "tiny-folder")
np.savez(directory / "tokens.npz", tokens=np.random.default_rng(0).integers(0, 300, 3000))
source = {"huggingface": str(directory / "tiny-folder")}
model = {"task": "generation", "data": "tokens.npz", "sources": {"torch": source}}
(directory / "tiny").mkdir(), (directory / "tiny-pruned").mkdir()
prepare("tiny", model, directory / "tokens.npz", directory / "tiny")
compress("tiny", [{"pass": "prune", "amount": 0.1}], directory / "tiny", directory / "tiny-pruned")

for name in ("smollm2", "tiny"):
    with np.load(directory / name / "evaluation.npz") as stored:
        windows = torch.from_numpy(stored["input_ids"][:2]).long()
    network = LlamaForCausalLM.from_pretrained(directory / f"{name}-folder", dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = network(windows).logits.numpy()
        text = network.generate(
            windows[:1], attention_mask=torch.ones(1, windows.shape[1], dtype=int), do_sample=False,
            max_new_tokens=written, min_new_tokens=written, eos_token_id=-1, pad_token_id=0,
        )
    np.savez(directory / f"{name}-reference.npz", logits=logits, written=text[:, windows.shape[1]:].numpy())
print("{}")
"""
GENERATE = """
import json, sys
from pathlib import Path
import numpy as np
from hwfit.worker import outputs, runtimes
from hwfit.worker.errors import Unsupported
from hwfit.worker.generation import evaluation
from hwfit.worker.generation.text import TextSet

directory, runtime, written = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
module, found = runtimes.load(runtime), {}
CAST = [{"pass": "cast", "dtype": "bfloat16"}]
WEIGHTS = {"pass": "quantize_weights", "dtype": "int4", "group_size": 32}
VARIANTS = {
    "zoo": ("smollm2", {"zoo": "smollm2"}, "smollm2", []),
    "bfloat16": ("smollm2", {"zoo": "smollm2"}, "smollm2", CAST),
    "pruned": ("smollm2", {"zoo": "smollm2"}, "smollm2-pruned", []),
    "int8": ("smollm2", {"zoo": "smollm2"}, "smollm2", [{"pass": "quantize_dynamic", "dtype": "int8"}]),
    "int4-weights": ("smollm2", {"zoo": "smollm2"}, "smollm2", [WEIGHTS]),
    "int8-cache": ("smollm2", {"zoo": "smollm2"}, "smollm2", [{"pass": "quantize_cache", "dtype": "int8"}]),
    "folder": ("smollm2", {"huggingface": str(directory / "smollm2-folder")}, "smollm2", []),
    "tiny": ("tiny", {"huggingface": str(directory / "tiny-folder")}, "tiny", []),
}
if runtime != "torch":
    # The folder of SmolLM2 is built there as the zoo's model is.
    for variant in ("int8", "int4-weights", "int8-cache", "folder"):
        del VARIANTS[variant]
for variant, (name, source, weights, passes) in VARIANTS.items():
    card = json.loads((directory / name / "card.json").read_text())
    weights = directory / weights / "weights.safetensors"
    try:
        session = module.open_session(
            runtimes.Request(source, "generation", weights, card, "cpu", 0, passes, output_tokens=written)
        )
    except Unsupported as error:
        found[variant] = {"unsupported": str(error)}
        continue
    data = TextSet(directory / name / "evaluation.npz", card["inputs"][0]["shape"][0])
    windows = data.windows[:2]
    with np.load(directory / f"{name}-reference.npz") as stored:
        reference = dict(stored)
    logits = session.logits(windows)
    found[variant] = {
        "relative_error": outputs.relative_error(logits, reference["logits"]),
        "likeliest": float((logits.argmax(-1) == reference["logits"].argmax(-1)).mean()),
        "model_size_bytes": session.model_size_bytes(),
        "parameters": card["parameters"],
    }
    if variant in ("pruned", "int8", "int4-weights", "int8-cache"):
        continue
    alone = session.run(session.place({"input_ids": windows[:1]}))
    again = session.fetch(session.run(session.place({"input_ids": windows[:1]})))
    together = session.fetch(session.run(session.place({"input_ids": windows})))
    share, shortfall = evaluation.consistency(session, windows, together)
    graphs = {
        "torch": lambda: None,
        "tensorflow": lambda: session.decoder.step.experimental_get_tracing_count(),
        # The last batch size's.
        "mindspore": lambda: len(session.cache.step.compile_cache),
    }
    found[variant] |= {
        "written": session.fetch(alone).tolist(),
        "again": again.tolist(),
        "together": together.tolist(),
        "stamps": len(alone.stamps_s),
        "reference": reference["written"].tolist(),
        "consistency": share,
        "shortfall": shortfall,
        "cache_bytes": session.cache_bytes(),
        "length": int(windows.shape[1]),
        "graphs": graphs[runtime](),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def prepared(python_of, tmp_path_factory) -> Path:
    """A directory with SmolLM2 and a tiny model, prepared, as folders, and what transformers says of them."""
    directory = tmp_path_factory.mktemp("language")
    write_dataset("python-topics", directory / "python-topics.npz")
    model, tiny = json.dumps(CATALOGUE["smollm2"]), json.dumps(TINY)
    run_python(python_of("torch-cpu"), PREPARE, str(directory), model, tiny, str(WRITTEN))
    return directory


@pytest.fixture(scope="module", params=FRAMEWORKS)
def generated(request, python_of, prepared):
    """What the sessions of one runtime say and write, by variant."""
    python = python_of(ENVIRONMENTS[request.param])
    return request.param, run_python(python, GENERATE, str(prepared), request.param, str(WRITTEN))


LOSSLESS = ("zoo", "folder", "tiny")


def lossless(generated):
    return {name: found for name, found in generated[1].items() if name in LOSSLESS}


def test_fp32_logits_are_those_of_transformers(generated):
    assert {"zoo", "tiny"} <= set(lossless(generated))
    for variant, found in lossless(generated).items():
        assert found["relative_error"] <= 1e-3, variant
        assert found["likeliest"] >= 0.99, variant


def test_the_same_tokens_are_written_as_by_transformers(generated):
    """And so by every runtime: 64 of them, greedily, after a real prompt."""
    for variant, found in lossless(generated).items():
        assert found["stamps"] == WRITTEN
        assert found["written"] == found["reference"], variant


def test_a_second_request_finds_a_clean_cache(generated):
    for variant, found in generated[1].items():
        if "again" in found:
            assert found["again"] == found["written"], variant


def test_a_batch_writes_what_each_sequence_writes_alone(generated):
    for variant, found in lossless(generated).items():
        assert found["together"][:1] == found["written"], variant
        assert found["together"][1] != found["together"][0], variant
        assert found["consistency"] == 1, variant
        assert found["shortfall"] <= 1e-4, variant


def test_decoding_is_one_graph_for_all_positions(generated):
    runtime, found = generated
    if runtime == "torch":
        pytest.skip("eager")
    # One request of each of two batch sizes: as many graphs, not as many as there were tokens.
    assert found["zoo"]["graphs"] == {"tensorflow": 2, "mindspore": 1}[runtime]


def test_the_cache_has_the_size_that_its_shape_says(generated):
    for variant, found in lossless(generated).items():
        layers, heads, width = (3, 2, 16) if variant == "tiny" else (30, 3, 64)
        tokens = found["length"] + WRITTEN
        assert found["cache_bytes"] == 2 * 2 * layers * heads * width * tokens * 4, variant


def test_an_fp32_session_holds_four_bytes_a_weight_and_tied_ones_once(generated):
    for variant, found in lossless(generated).items():
        assert found["model_size_bytes"] == pytest.approx(4 * found["parameters"], rel=0.03), variant


def test_bfloat16_halves_weights_and_cache_or_says_why_it_cannot(generated):
    runtime, found = generated
    half, whole = found["bfloat16"], found["zoo"]
    if "unsupported" in half:
        assert runtime == "mindspore"
        assert "mindspore" in half["unsupported"]
        return
    assert half["model_size_bytes"] == pytest.approx(whole["model_size_bytes"] / 2, rel=0.02)
    assert half["cache_bytes"] == whole["cache_bytes"] / 2
    assert 1e-4 < half["relative_error"] < 0.1
    assert half["likeliest"] > 0.9
    assert half["consistency"] > 0.8


def test_pruning_reaches_every_runtime_through_the_checkpoint(generated):
    found = generated[1]
    assert found["pruned"]["relative_error"] > 1e-3
    assert found["pruned"]["likeliest"] > 0.5


def test_int8_makes_the_model_smaller_and_changes_what_it_says(generated):
    runtime, found = generated
    if runtime != "torch":
        pytest.skip("int8 is a torch pass")
    # The embedding stays fp32: 28 of the 134 million weights.
    assert found["int8"]["model_size_bytes"] < 0.5 * found["zoo"]["model_size_bytes"]
    assert found["int8"]["relative_error"] > 0.01


def test_whole_numbers_lose_little_of_what_was_published_in_four_bits(generated):
    runtime, found = generated
    if runtime != "torch":
        pytest.skip("passes of torch")
    weights, cache = found["int4-weights"], found["int8-cache"]
    # Five bits a weight with their scales, eight in the table that embedding and head share.
    assert weights["model_size_bytes"] < 0.18 * found["zoo"]["model_size_bytes"]
    assert weights["likeliest"] > 0.9
    # Evaluated through the cache, or there would be no difference.
    assert 1e-4 < cache["relative_error"] < 0.1
    assert cache["likeliest"] > 0.9


def test_the_card_of_a_language_model(prepared):
    card = json.loads((prepared / "smollm2" / "card.json").read_text())
    assert card["status"] == "ok"
    assert card["parameters"] == 134_515_008
    assert card["context_tokens"] == 8192
    # Of windows of 128 tokens of Python's help; a wrong rotation or a wrong scale gives thousands.
    assert 10 < card["reference_perplexity"] < 30
    with np.load(prepared / "smollm2" / "evaluation.npz") as stored:
        assert stored["input_ids"].shape == stored["likeliest"].shape == (32, 128)
        assert len(stored["tokens"]) > 100_000
    tiny = json.loads((prepared / "tiny" / "card.json").read_text())
    assert tiny["architecture"]["model_type"] == "llama"


def test_pruning_leaves_the_embedding_alone(prepared):
    left = json.loads((prepared / "smollm2-pruned" / "counted.json").read_text())
    whole = json.loads((prepared / "smollm2" / "card.json").read_text())
    matrices = 134_515_008 - 49_152 * 576 - 61 * 576
    # A tenth of the matrices, of which some weights were zero before.
    gone = whole["nonzero_parameters"] - left["nonzero_parameters"]
    assert 0.09 * matrices < gone <= 0.1 * matrices


def test_the_card_of_a_pruned_language_model_says_what_is_left(prepared):
    whole, card = (
        json.loads((prepared / name / "card.json").read_text()) for name in ("tiny", "tiny-pruned")
    )
    assert card["status"] == "ok"
    assert card["parameters"] == whole["parameters"]
    embedding, norms = 300 * 48, 7 * 48
    gone = whole["nonzero_parameters"] - card["nonzero_parameters"]
    assert gone == pytest.approx(0.1 * (whole["parameters"] - embedding - norms), abs=1)
