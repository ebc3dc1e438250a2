"""Every runtime runs the zoo from one checkpoint, and says the same in fp32."""

import json

import numpy as np
import pytest

from frameworks import ENVIRONMENTS, MODELS, ROOT, run_python
from hwfit.catalog import PASSES, READ_ONNX

SESSIONS = """
import json, sys, time
from pathlib import Path
import numpy as np
from hwfit.catalog import PASSES, READ_ONNX, weights_file
from hwfit.worker import outputs, runtimes
from hwfit.worker.errors import Unsupported

directory, runtime, models = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
module, found = runtimes.load(runtime), {}
VARIANTS = {
    "baseline": ("", []),
    "pruned": ("-pruned", []),
    "bfloat16": ("", [{"pass": "cast", "dtype": "bfloat16"}]),
    "float16": ("", [{"pass": "cast", "dtype": "float16"}]),
    "int8": ("", [{"pass": "quantize_dynamic", "dtype": "int8"}]),
    "channels-last": ("", [{"pass": "channels_last"}]),
    "compile": ("", [{"pass": "compile"}]),
    "eager": ("", [{"pass": "eager"}]),
}
for name, model in models.items():
    if runtime not in model["sources"]:
        continue
    card = json.loads((directory / name / "card.json").read_text())
    # A deep net takes seconds a photograph in a format that the CPU only emulates.
    samples, calls = (2, 2) if card["flops_per_sample"] > 1e9 else (16, 20)
    with np.load(directory / name / "evaluation.npz") as stored:
        batch = {entry["name"]: stored[entry["name"]][:samples] for entry in card["inputs"]}
        reference = stored["reference"][:samples]
    for variant, (suffix, passes) in VARIANTS.items():
        if any(runtime not in PASSES[step["pass"]].runtimes for step in passes):
            continue
        # torch.compile takes half a minute for a deep model.
        if variant == "compile" and card["parameters"] > 3e6:
            continue
        folder = name + suffix + ("-onnx" if runtime in READ_ONNX else "")
        weights = directory / folder / weights_file(runtime)
        if suffix and not weights.exists():
            continue
        request = runtimes.Request(model["sources"][runtime], model["task"], weights, card, "cpu", 0, passes)
        try:
            session = module.open_session(request)
        except Unsupported as error:
            found[f"{name}/{variant}"] = {"unsupported": str(error)}
            continue
        placed = session.place(batch)
        # The first call may compile: what counts is what the later ones say.
        session.run(placed)
        got = session.fetch(session.run(placed))
        told = found[f"{name}/{variant}"] = {
            "relative_error": outputs.relative_error(got, reference),
            "fidelity": outputs.fidelity(model["task"], got, reference),
            "dtype": str(got.dtype),
            "shape": list(got.shape),
            "model_size_bytes": session.model_size_bytes(),
            "parameters": card["parameters"],
            "tolerance": card["tolerance"],
        }
        if variant != "baseline":
            continue
        runs, fetches = [], []
        while len(runs) < 2 or (len(runs) < calls and sum(runs) < 2):
            start = time.perf_counter()
            output = session.run(placed)
            ready = time.perf_counter()
            session.fetch(output)
            runs.append(ready - start)
            fetches.append(time.perf_counter() - ready)
        again = session.fetch(session.run(session.place({k: v[::-1] for k, v in batch.items()})))
        told |= {
            "reversed": outputs.relative_error(again[::-1], got),
            "run_s": float(np.median(runs)),
            "fetch_s": float(np.median(fetches)),
        }
print(json.dumps(found))
"""


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def sessions(request, python_of, checkpoints):
    """What the sessions of one runtime gave, by `model/variant`."""
    runtime = request.param
    python = python_of(ENVIRONMENTS[runtime])
    return runtime, run_python(python, SESSIONS, str(checkpoints), runtime, json.dumps(MODELS))


def of_variant(sessions, variant):
    found = {name: result for name, result in sessions[1].items() if name.endswith(f"/{variant}")}
    assert found
    return found


def test_fp32_outputs_are_those_of_the_reference(sessions):
    baseline = of_variant(sessions, "baseline")
    common = ("mlp", "lenet-300-100", "lenet-5", "alexnet", "densenet121")
    assert {f"{name}/baseline" for name in common} <= set(baseline)
    for name, result in baseline.items():
        assert result["relative_error"] <= result["tolerance"] <= 1e-3, name
        assert result["dtype"] == "float32"


def test_outputs_follow_the_inputs(sessions):
    for name, result in of_variant(sessions, "baseline").items():
        assert result["reversed"] < 1e-3, name


def test_an_fp32_session_holds_four_bytes_a_weight(sessions):
    for name, result in of_variant(sessions, "baseline").items():
        assert result["model_size_bytes"] == pytest.approx(4 * result["parameters"], rel=0.03), name


def test_a_cast_session_holds_two_bytes_a_weight_or_says_why_it_cannot(sessions):
    runtime, _ = sessions
    if runtime not in PASSES["cast"].runtimes:
        pytest.skip(f"{runtime} has no cast")
    for variant, error in (("bfloat16", 0.05), ("float16", 0.01)):
        for name, result in of_variant(sessions, variant).items():
            if "unsupported" in result:
                assert (runtime, variant) != ("torch", "bfloat16"), result
                assert runtime in result["unsupported"]
                continue
            # OpenVINO's plugin converts the weights while it compiles: they are not seen.
            held = 4 if runtime == "openvino" else 2
            assert result["model_size_bytes"] == pytest.approx(held * result["parameters"], rel=0.05), name
            # Not the fp32 outputs under another name, nor far from them; rounding adds up over 121 layers.
            allowed = 6 * error if name.startswith("densenet121") else error
            assert 1e-7 < result["relative_error"] < allowed, name


def test_a_graph_that_cannot_be_compiled_is_not_dumped_where_the_run_takes_place(sessions):
    """MindSpore's batch norm has no bf16, and a graph whose types do not fit is dumped into `rank_0`."""
    runtime, found = sessions
    if runtime != "mindspore":
        pytest.skip("is about MindSpore")
    assert "BatchNorm" in found["densenet121/bfloat16"]["unsupported"]
    assert not (ROOT / "rank_0").exists()


def test_how_a_model_runs_changes_nothing_of_what_it_says(sessions):
    """Layout, compilation and eager mode are no approximations."""
    found = {
        name: result
        for name, result in sessions[1].items()
        if name.endswith(("/channels-last", "/compile", "/eager"))
    }
    assert found or sessions[0] in READ_ONNX
    for name, result in found.items():
        if "unsupported" in result:
            assert name.endswith("/channels-last"), result
            assert "no two-dimensional convolution" in result["unsupported"]
        else:
            assert result["relative_error"] <= 1e-4, name


def test_pruning_changes_the_outputs_in_every_runtime_that_loads_the_checkpoint(sessions):
    for name, result in of_variant(sessions, "pruned").items():
        assert result["relative_error"] > 1e-3, name


def test_run_returns_when_its_outputs_are_ready(sessions):
    """What is left to do after `run` is a copy: a runtime that answers early would wait in `fetch`."""
    for name, result in of_variant(sessions, "baseline").items():
        assert result["fetch_s"] < 0.5 * result["run_s"] + 0.0005, name


def test_int8_makes_dense_models_smaller(sessions):
    runtime, found = sessions
    if runtime not in PASSES["quantize_dynamic"].runtimes:
        pytest.skip(f"{runtime} has no quantize_dynamic")
    assert found["minilm/int8"]["model_size_bytes"] < 0.7 * found["minilm/baseline"]["model_size_bytes"]
    for name in ("mlp", "alexnet"):
        assert found[f"{name}/int8"]["model_size_bytes"] < 0.3 * found[f"{name}/baseline"]["model_size_bytes"]
    assert found["minilm/int8"]["fidelity"] > 0.9


def test_published_sizes_and_costs(checkpoints):
    """EfficientNet-Lite0: 4.7 M parameters, 407 M multiply-adds (its authors); here without batch norm's."""
    cards = {name: json.loads((checkpoints / name / "card.json").read_text()) for name in MODELS}
    assert cards["lenet-300-100"]["parameters"] == 266_610
    assert cards["lenet-5"]["parameters"] == 431_080
    assert cards["mlp"]["parameters"] == 2_002_000
    # As torchvision states them, multiply-adds by the same counter.
    assert cards["alexnet"]["parameters"] == 61_100_840
    assert cards["alexnet"]["flops_per_sample"] == pytest.approx(2 * 0.714e9, rel=0.001)
    assert cards["densenet121"]["parameters"] == 7_978_856
    assert cards["densenet121"]["flops_per_sample"] == pytest.approx(2 * 2.834e9, rel=0.001)
    assert cards["efficientnet-lite0"]["parameters"] == pytest.approx(4.65e6, rel=0.01)
    assert cards["efficientnet-lite0"]["flops_per_sample"] == pytest.approx(2 * 407e6, rel=0.08)
    assert cards["minilm"]["parameters"] == pytest.approx(22.7e6, rel=0.01)


def test_trained_models_have_learned_their_digits(checkpoints):
    for name in ("lenet-300-100", "lenet-5"):
        card = json.loads((checkpoints / name / "card.json").read_text())
        assert card["labelled"]
        assert card["reference_accuracy"] > 0.93


def test_unlabelled_models_are_evaluated_on_real_inputs(checkpoints):
    with np.load(checkpoints / "efficientnet-lite0" / "evaluation.npz") as stored:
        assert stored["x"].shape == (96, 3, 224, 224)
        # Real photographs give confident and various answers; noise would give one.
        assert len(set(stored["reference"].argmax(axis=1))) > 10


def test_half_of_the_prunable_weights_are_zero_after_prune50(checkpoints):
    card = json.loads((checkpoints / "lenet-5-pruned" / "card.json").read_text())
    prunable = 431_080 - (20 + 50 + 500 + 10)
    assert card["parameters"] - card["nonzero_parameters"] == pytest.approx(prunable / 2, abs=2)
    assert card["deflated_bytes"] < 0.7 * card["file_bytes"]


CALLABLES = """
import json
from pathlib import Path
from hwfit.worker.prepare import prepare

found, data = {}, Path("mine.npz")
for path in ("mine:net", "mine:absent", "mine:not_a_module", "nowhere:net"):
    out = Path(path.replace(":", "-"))
    out.mkdir()
    try:
        model = {"task": "classification", "data": data.name, "sources": {"torch": {"callable": path}}}
        prepare("mine", model, data, out)
        found[path] = json.loads((out / "card.json").read_text())
    except Exception as error:
        found[path] = {"error": f"{type(error).__name__}: {error}"}
print(json.dumps(found))
"""
MINE = """
import torch

def net():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))

def not_a_module():
    return 42
"""


@pytest.fixture(scope="module")
def callables(python_of, tmp_path_factory):
    """The card of each callable's model, or the error."""
    directory = tmp_path_factory.mktemp("callables")
    (directory / "mine.py").write_text(MINE)
    x = np.random.default_rng(0).random((10, 6), np.float32)
    np.savez(directory / "mine.npz", x=x, labels=np.zeros(10, int))
    return run_python(python_of("torch-cpu"), CALLABLES, cwd=directory)


def test_a_users_callable_becomes_a_model(callables):
    card = callables["mine:net"]
    assert card["parameters"] == 6 * 8 + 8 + 8 * 3 + 3
    assert card["inputs"] == [{"name": "x", "dtype": "float32", "shape": [6]}]
    assert card["labelled"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mine:absent", "mine has no function absent"),
        ("mine:not_a_module", "returned a int, not a torch.nn.Module"),
        ("nowhere:net", "nowhere cannot be imported"),
    ],
)
def test_a_callable_that_makes_no_model_is_a_message(callables, path, expected):
    assert expected in callables[path]["error"]


PEAKS = """
import json, sys
from hwfit.worker.inventory import measure_peaks

told = list(measure_peaks(sys.argv[1], "cpu", 0, reference_only=len(sys.argv) > 2))
print(json.dumps(told[-1]))
"""


@pytest.mark.alone
@pytest.mark.parametrize("runtime", ENVIRONMENTS)
def test_the_inventory_measures_peaks_and_a_reference_model(python_of, runtime):
    # Each in a process of its own, as the inventory asks: memory that one has freed would serve the other.
    python = python_of(ENVIRONMENTS[runtime])
    whole, reference = run_python(python, PEAKS, runtime), run_python(python, PEAKS, runtime, "reference")
    assert whole["status"] == reference["status"] == "ok"
    assert whole["runtime_version"]
    assert whole["peaks"]["matmul_float32_gflops"] > 1
    assert min(whole["peaks"][f"memory_{name}_gb_s"] for name in ("copy", "read")) > 0.1
    # The reference model is 32 MFLOP a call, and cannot be faster than the peak.
    for taken in (whole, reference):
        (milliseconds,) = taken["reference_ms"]
        assert 32e6 / (milliseconds / 1e3) < 1.5 * whole["peaks"]["matmul_float32_gflops"] * 1e9
    assert "peaks" not in reference
    # Every format has a peak or a reason, and none both.
    formats = [f"matmul_{name}_gflops" for name in ("float32", "bfloat16", "float16", "int8")]
    told = [*whole["peaks"], *whole["peaks_unread"]]
    assert sorted(told) == sorted([*formats, "memory_copy_gb_s", "memory_read_gb_s"])
    # Of activations a runtime may need fewer bytes than torch holds, never none; of weights one copy or more.
    memory = whole["memory"] | reference["memory"]
    assert 0.3 < memory["activation_copies"] < 6
    assert 0.9 < memory["weight_copies"] + memory["loading_copies"] / 4 < 4
    assert 20 < memory["base_mb"] < memory["process_mb"]
    assert memory["context_mb"] is None


KERNELS = """
import json, sys

from hwfit.worker.errors import Unsupported
from hwfit.worker.runtimes import load

told = {}
for name in sys.argv[2:]:
    try:
        load(sys.argv[1]).matmul_kernel("cpu", 0, name, 8, 16)()
        told[name] = "done"
    except Unsupported as error:
        told[name] = str(error)
print(json.dumps(told))
"""


@pytest.mark.parametrize(
    ("runtime", "number_format", "expected"),
    [
        ("onnxruntime", "float16", "converted to fp32"),
        ("mindspore", "int8", "sums overflow"),
        ("tensorflow", "int8", "done"),
        ("torch", "int8", "done"),
    ],
)
def test_a_format_that_is_computed_in_another_one_has_no_kernel(python_of, runtime, number_format, expected):
    told = run_python(python_of(ENVIRONMENTS[runtime]), KERNELS, runtime, number_format)
    assert expected in told[number_format]


def test_more_batch_sizes_than_dynamo_keeps_are_all_compiled(python_of):
    code = """
import json, torch
from torch._dynamo.testing import CompileCounter
from hwfit.worker.runtimes.torch import TorchSession

counter = CompileCounter()
session = object.__new__(TorchSession)
session.module = torch.compile(torch.nn.Linear(4, 4).eval(), backend=counter, dynamic=False)
sizes = range(1, 13)
with torch.inference_mode():
    for size in sizes:
        session.forget_compiled()
        session.module(torch.rand(size, 4))
print(json.dumps({"asked": len(sizes), "compiled": counter.frame_count}))
"""
    found = run_python(python_of("torch-cpu"), code)
    assert found["compiled"] == found["asked"]
