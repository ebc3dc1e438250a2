"""Settings that are valid alone and wrong together are refused, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hwfit.config import ConfigError, read_study
from hwfit.config_checks import check_config, check_devices, check_models, check_optimizations
from hwfit.device_sections import Composite, Device
from hwfit.presence import files_behind
from hwfit.sections import Config, Model, Optimization

OWN = Path(__file__).parents[2] / "config"
MODEL = {"task": "features", "data": "photograph-patches", "sources": {"torch": {"zoo": "mlp"}}}
CAST = {"pass": "cast", "dtype": "bfloat16"}
QUANTIZE = {"pass": "quantize_dynamic"}
STATIC = {"pass": "quantize_static"}
WEIGHTS = {"pass": "quantize_weights", "dtype": "int8"}
PRUNE = {"pass": "prune", "amount": 0.5}
DEVICES = {
    "cpu": Device(accelerator="cpu", runtimes={"torch": "torch-cpu", "tensorflow": "tensorflow-cpu"}),
    "gpu0": Device(accelerator="cuda", runtimes={"torch": "torch-cuda"}, price_per_hour=2.5),
}


OWNED = {"price": 30_000, "years": 4}


def config_findings(matrix: Any = None, **sections: Any) -> list[tuple[tuple[Any, ...], str]]:
    entry = {"models": ["mlp", "minilm"], "devices": ["cpu"], "batch_sizes": [1, 8]}
    matrix = [entry | one for one in matrix] if isinstance(matrix, list) else entry | (matrix or {})
    return list(check_config(Config(matrix=matrix, **sections), DEVICES))


def pass_findings(*passes: dict[str, Any], name: str = "x") -> list[str]:
    return [text for _, text in check_optimizations({name: Optimization(passes=list(passes))})]


@pytest.mark.parametrize(
    "passes",
    [
        [],
        [CAST],
        [QUANTIZE],
        [PRUNE],
        [PRUNE, CAST],
        [PRUNE, QUANTIZE],
        [PRUNE, CAST, WEIGHTS],
        [WEIGHTS, {"pass": "quantize_cache"}, {"pass": "keep_memory"}],
    ],
)
def test_passes_that_make_sense_together_are_taken(passes: list[dict[str, Any]]) -> None:
    assert pass_findings(*passes) == []


@pytest.mark.parametrize(
    ("passes", "reason"),
    [
        ([CAST, QUANTIZE], "works on fp32 weights and activations, and cast leaves neither"),
        ([QUANTIZE, CAST], "works on fp32 weights and activations, and cast leaves neither"),
        ([PRUNE, PRUNE], "is prune again, as x.passes[0]"),
        ([CAST, CAST | {"dtype": "float16"}], "is cast again, as x.passes[0]"),
        ([CAST, PRUNE], "write prune first"),
        ([WEIGHTS, QUANTIZE], "each turns the same fp32 weights into whole numbers"),
        ([STATIC, WEIGHTS], "each turns the same fp32 weights into whole numbers"),
        ([{"pass": "offload"}, {"pass": "compile"}], "offload moves them"),
    ],
)
def test_passes_that_make_no_sense_together_are_refused(passes: list[dict[str, Any]], reason: str) -> None:
    (text,) = pass_findings(*passes)
    assert reason in text


def test_the_baseline_has_no_passes() -> None:
    assert pass_findings(CAST, name="baseline") == [
        "must be empty: baseline is what all others are compared with"
    ]


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"sources": {"torch": {}}}, ("sources", "torch"), "has none of zoo, callable"),
        (
            {"sources": {"torch": {"zoo": "mlp", "callable": "a:b"}}},
            ("sources", "torch"),
            "has both zoo and callable",
        ),
        (
            {"sources": {"torch": {"zoo": "mlp"}, "tensorflow": {"callable": "a:b"}}},
            ("sources",),
            "mixes sources",
        ),
        ({"task": "embedding"}, ("task",), "is 'embedding'; allowed for mlp: features"),
        (
            {"task": "classification", "data": "photographs", "sources": {"torch": {"zoo": "alexnet"}}},
            ("task",),
            "allowed for alexnet: features; with `weights` of your own: features, classification",
        ),
        ({"data": "digits"}, ("data",), "is 'digits'; allowed for mlp: photograph-patches"),
        ({"data": "absent.npz"}, ("data",), "absent.npz: not there"),
        (
            {"sources": {"torch": {"callable": "a:b"}}, "training": {}},
            ("training",),
            "is for zoo models",
        ),
        ({"weights": "absent.safetensors"}, ("weights",), "absent.safetensors: not there"),
        (
            {"task": "embedding", "data": "python-help", "sources": {"tensorflow": {"zoo": "minilm"}}},
            ("sources", "tensorflow"),
            "minilm does not come in; allowed: torch",
        ),
    ],
)
def test_a_model_is_used_for_what_it_is(change: dict[str, Any], path: tuple[str, ...], reason: str) -> None:
    ((found, text),) = check_models({"a": Model(**MODEL | change)})
    assert found == ("a", *path)
    assert reason in text


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({}, (), ""),
        ({"task": "features"}, (), ""),
        ({"task": "embedding"}, ("task",), "is 'embedding'; allowed for alexnet: features; with"),
        (
            {"sources": {"torch": {"callable": "a:b"}}},
            ("weights",),
            "is for zoo models; list what",
        ),
        ({"training": {"epochs": 3}}, ("training",), "is for a model without `weights`"),
        ({"data": "digits"}, ("data",), "allowed for alexnet: photographs"),
    ],
)
def test_weights_of_ones_own_are_for_a_zoo_model_that_may_then_classify(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    path: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.safetensors").touch()
    mine = {"task": "classification", "data": "photographs", "sources": {"torch": {"zoo": "alexnet"}}}
    findings = list(check_models({"a": Model(**mine | {"weights": "mine.safetensors"} | change)}))
    assert [found for found, _ in findings] == ([("a", *path)] if path else [])
    assert all(reason in text for _, text in findings)


@pytest.mark.parametrize("weights", ["mine.bin", "safetensors", "", "a\n.pt"])
def test_weights_are_a_file_of_a_known_kind(weights: str) -> None:
    with pytest.raises(ValidationError, match="weights"):
        Model(**MODEL | {"weights": weights})


def test_a_changed_file_of_weights_makes_the_model_anew() -> None:
    assert files_behind(Model(**MODEL | {"weights": "mine.pt"})) == ["mine.pt"]


ONNX = {"task": "features", "sources": {"onnxruntime": {"onnx": "net.onnx"}}}


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"inputs": {"x": {"batch_axis": "none"}}}, ("inputs", "x"), "has batch_axis: none and no value"),
        ({"inputs": {"x": {"value": 1, "range": [0, 1]}}}, ("inputs", "x"), "has both value and range"),
        ({"inputs": {"x": {"range": [2, 1]}}}, ("inputs", "x", "range"), "write the least value first"),
        (
            {"image": {"size": 9}},
            ("image",),
            "is for a folder of images or IDX files, and data is 'signature'",
        ),
        ({"data": "digits", "samples": 9}, ("samples",), "and data is 'digits'"),
        ({"data": "text.txt"}, ("data",), "text.txt: not there"),
        (
            {
                "task": "classification",
                "data": "images/",
                "sources": {"torch": {"zoo": "efficientnet-lite0"}},
                "image": {"size": 224, "std": [2]},
            },
            ("image",),
            "has std, and efficientnet-lite0 makes floats of pixels itself; allowed: size, crop",
        ),
        ({"data": "photos/"}, ("data",), "photos: not there"),
        (
            {"data": "images/", "image": {"mean": [1, 2], "channels": 3}},
            ("image", "mean"),
            "has 2 numbers for 3 channels",
        ),
        (
            {"sources": {"onnxruntime": {"onnx": "net.onnx"}, "openvino": {"onnx": "other.onnx"}}},
            ("sources", "openvino", "onnx"),
            "is 'other.onnx', and onnxruntime has 'net.onnx': one model is one file",
        ),
        ({"sources": {"torch": {"callable": "a:b"}}}, (), "lacks `data`; only ONNX files tell"),
        (
            {"data": "signature", "sources": {"torch": {"callable": "a:b"}}},
            ("data",),
            "is signature, which only ONNX files have",
        ),
        (
            {"data": "inputs.npz", "sources": {"torch": {"callable": "a:b"}}, "output": "y"},
            ("output",),
            "is for models whose every source is an ONNX file",
        ),
    ],
)
def test_what_is_said_of_inputs_has_a_use(
    change: dict[str, Any],
    path: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "other.onnx", "inputs.npz"):
        (tmp_path / name).touch()
    (tmp_path / "images").mkdir()
    assert list(check_models({"a": Model(**ONNX)})) == []
    ((found, text),) = check_models({"a": Model(**ONNX | change)})
    assert found == ("a", *path)
    assert reason in text


@pytest.mark.parametrize(
    "data", ["my data.npz", "Fotos für mich/", "t10k-images-idx3-ubyte.gz", "a 'text'.txt"]
)
def test_ordinary_names_of_files_are_taken(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / data).mkdir() if data.endswith("/") else (tmp_path / data).touch()
    model = Model(task="features", data=data, sources={"torch": {"callable": "a:b"}})
    assert list(check_models({"a": model})) == []


@pytest.mark.parametrize("data", ["-x.npz", "~/x.npz", "a{b}.npz", "a\nb.npz", " x.npz", "mnists", "x.csv"])
def test_names_that_snakemake_or_a_shell_would_read_otherwise_are_refused(data: str) -> None:
    with pytest.raises(ValidationError):
        Model(task="features", data=data, sources={"torch": {"callable": "a:b"}})


def test_a_callable_takes_data_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs.npz").touch()
    model = Model(task="features", data="inputs.npz", sources={"torch": {"callable": "a.b:c"}})
    assert list(check_models({"a": model})) == []


def test_a_runtime_can_drive_the_accelerator() -> None:
    device = Device(accelerator="tpu", runtimes={"mindspore": "mindspore-cpu", "torch": "torch-cpu"})
    ((path, text),) = check_devices({"tpu0": device})
    assert path == ("tpu0", "runtimes", "mindspore")
    assert text == "cannot drive the accelerator tpu; allowed there: torch, tensorflow"


def test_every_device_of_an_entry_lists_its_runtimes() -> None:
    ((path, text),) = config_findings({"devices": ["cpu", "gpu0"], "runtimes": ["torch", "tensorflow"]})
    assert path == ("matrix", "runtimes", 1)
    assert text.startswith("is 'tensorflow', which device 'gpu0' does not list; it lists: torch")


def test_without_runtimes_each_device_has_its_own() -> None:
    exclude = [{"device": "cpu", "runtime": "tensorflow"}]
    assert config_findings({"devices": ["cpu", "gpu0"], "exclude": exclude}) == []


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({}, "is empty; allowed: at least one of model, device"),
        ({"batch_size": 64}, "(batch_size: 64) matches no combination of matrix"),
        ({"model": "lenet-5"}, "(model: lenet-5) matches no combination"),
        ({"runtime": "mindspore"}, "(runtime: mindspore) matches no combination"),
        ({"model": "mlp", "optimization": "int8"}, "(model: mlp, optimization: int8) matches no combination"),
    ],
)
def test_an_exclusion_matches_something(rule: dict[str, Any], reason: str) -> None:
    ((path, text),) = config_findings({"exclude": [rule]})
    assert path == ("matrix", "exclude", 0)
    assert reason in text


def test_an_exclusion_speaks_of_its_own_entry() -> None:
    ((path, _),) = config_findings([{}, {"models": ["minilm"], "exclude": [{"model": "mlp"}]}])
    assert path == ("matrix", 1, "exclude", 0)


def test_something_remains_to_be_measured() -> None:
    everything = {"exclude": [{"device": "cpu"}]}
    assert config_findings([everything, everything]) == [
        (("matrix",), "excludes every combination; allowed: at least one that remains")
    ]
    assert config_findings([everything, {}]) == []


@pytest.mark.parametrize(
    ("measurement", "expected"),
    [
        ({"min_seconds": 5, "max_seconds": 2}, "is 2, below min_seconds (5); allowed: min_seconds or more"),
        ({"max_seconds": 0.5}, "is 0.5, below min_seconds (1); allowed: min_seconds or more"),
        ({"timeout_seconds": 5}, "is 5, below max_seconds (10); allowed: max_seconds or more"),
    ],
)
def test_times_are_in_order(measurement: dict[str, float], expected: str) -> None:
    assert [text for _, text in config_findings(measurement=measurement)] == [expected]


def test_the_cheapest_cannot_be_found_without_a_price() -> None:
    cost = {"objective": "cost"}
    ((path, text),) = config_findings(decision=cost)
    assert path == ("decision", "objective")
    assert "none of cpu has a price_per_hour" in text
    assert config_findings({"devices": ["gpu0"]}, decision=cost) == []


@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        (
            {"price_per_hour": 2.5, "owned": OWNED},
            ("owned",),
            "is there beside price_per_hour (2.5); allowed",
        ),
        (
            {"owned": OWNED | {"residual_value": 30_000}},
            ("owned", "residual_value"),
            "is 30000, not below the price (30000); allowed: what it is still worth after `years`",
        ),
        (
            {"owned": OWNED | {"power_w": 300, "idle_power_w": 400}},
            ("owned", "idle_power_w"),
            "is 400, above power_w (300); allowed: power_w or less",
        ),
        ({"owned": OWNED | {"idle_power_w": 40}}, ("owned", "idle_power_w"), "is 40, without power_w; add"),
    ],
)
def test_a_device_is_rented_or_owned_and_owned_in_figures_that_go_together(
    changes: dict[str, Any], place: tuple[str, ...], reason: str
) -> None:
    device = Device(accelerator="cpu", runtimes={"torch": "torch-cpu"}, **changes)
    ((path, text),) = check_devices({"box": device})
    assert path == ("box", *place)
    assert reason in text


def test_what_is_owned_has_a_price() -> None:
    device = Device(accelerator="cpu", runtimes={"torch": "torch-cpu"}, owned=OWNED)
    assert list(check_devices({"box": device})) == []
    config = Config(matrix={"models": ["mlp"], "devices": ["box"]}, decision={"objective": "cost"})
    assert list(check_config(config, {"box": device})) == []


def test_electricity_is_for_what_is_owned() -> None:
    ((path, text),) = config_findings({"devices": ["gpu0"]}, cost={"electricity_per_kwh": 0.2})
    assert path == ("cost", "electricity_per_kwh")
    assert "is 0.2, but none of gpu0 is owned: a price_per_hour has its electricity in it" in text
    box = Device(accelerator="cpu", runtimes={"torch": "torch-cpu"}, owned=OWNED)
    devices = {"box": box, "gpu0": DEVICES["gpu0"], "pair": Composite(members=["box", "gpu0"])}
    matrix = {"models": ["mlp"], "devices": ["pair"]}
    config = Config(matrix=matrix, cost={"electricity_per_kwh": 0.2})
    assert list(check_config(config, devices)) == []


def test_a_limit_in_dollars_meets_no_other_currency() -> None:
    priced, euros = {"devices": ["gpu0"]}, {"currency": "EUR"}
    decision: dict[str, Any] = {"constraints": {"max_cost_usd_per_million": 5}}
    assert config_findings(priced, decision=decision) == []
    ((path, text),) = config_findings(priced, decision=decision, cost=euros)
    assert path == ("decision", "constraints", "max_cost_usd_per_million")
    assert text == "is in US dollars, and cost.currency is EUR; write max_cost_per_million, which is in EUR"
    decision = {"per_model": {"mlp": {"constraints": {"max_cost_per_million": 5}}}}
    assert config_findings(priced, decision=decision, cost=euros) == []


def test_one_limit_on_cost_is_enough() -> None:
    decision = {
        "constraints": {"max_cost_usd_per_million": 5},
        "per_model": {"mlp": {"constraints": {"max_cost_per_million": 3}}},
    }
    ((_, text),) = config_findings({"devices": ["gpu0"]}, decision=decision)
    assert "for mlp, which mean the same; allowed: one of the two" in text


def test_a_limit_on_cost_that_nobody_can_know_is_refused() -> None:
    ((path, text),) = config_findings(decision={"constraints": {"max_cost_per_million": 5}})
    assert path == ("decision", "constraints", "max_cost_per_million")
    assert "is a limit on cost, but none of cpu has a price_per_hour or `owned`" in text


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://:5000", "'http://:5000' has no host"),
        ("https://user:secret@", "'https://***@' has no host"),
        ("http://user:secret", "'http://user:***' has a port that is no number"),
        ("http://host:99999", "'http://host:99999' has a port that is no number"),
    ],
)
def test_a_tracking_server_has_a_host_and_a_port(uri: str, reason: str) -> None:
    ((path, text),) = config_findings(tracking={"uri": uri})
    assert path == ("tracking", "uri")
    assert text.startswith(reason)


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///results/mlflow.db",
        "sqlite:////absolute/path with a space.db",
        "http://localhost:5000",
        "https://user:pass%40word@mlflow.example.org/base",
        "postgresql+psycopg2://user:word@host:5432/mlflow",
        "file:///srv/mlruns",
        "databricks",
    ],
)
def test_uris_of_mlflow_are_taken(uri: str) -> None:
    assert config_findings(tracking={"uri": uri}) == []


def test_what_follows_from_a_broken_catalog_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "devices.yaml").write_text("cpu: {accelerator: cpu, runtimes: {}}\n")
    with pytest.raises(ConfigError) as caught:
        read_study({"matrix": {"models": ["mlp"], "devices": ["cpu"]}}, tmp_path, OWN)
    assert len(caught.value.problems) == 1


LANGUAGE = {"task": "generation", "data": "python-topics"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face folder as far as its names go."""
    (tmp_path / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 512}')
    (tmp_path / "model.safetensors").touch()
    return tmp_path


def folder_findings(
    folder: Path, runtime: str = "torch", trust: bool | None = None, **model: Any
) -> list[tuple[tuple[Any, ...], str]]:
    source = {"huggingface": str(folder)} | ({} if trust is None else {"trust": trust})
    return list(check_models({"a": Model(**LANGUAGE | {"sources": {runtime: source}} | model)}))


@pytest.mark.parametrize("runtime", ["torch", "tensorflow", "mindspore"])
def test_a_llama_folder_is_for_every_framework(folder: Path, runtime: str) -> None:
    assert folder_findings(folder, runtime) == []


@pytest.mark.parametrize(
    ("config", "model", "path", "reason"),
    [
        (
            '{"model_type": "gpt2"}',
            {"runtime": "tensorflow"},
            "huggingface",
            "generation by a 'gpt2'; allowed",
        ),
        ('{"auto_map": {"AutoModel": "x.Y"}}', {}, "huggingface", "brings code of its own; set trust: true"),
        ("nonsense", {}, "huggingface", "config.json that is not JSON"),
        ("{}", {"task": "features"}, "task", "allowed for a Hugging Face folder: generation, embedding"),
        ("{}", {"data": "digits"}, "data", "allowed for generation: python-topics, python-help, or a .npz"),
        ("{}", {"training": {}}, "training", "yours brings its own weights"),
    ],
)
def test_a_folder_is_used_for_what_it_is(
    folder: Path, config: str, model: dict[str, Any], path: str, reason: str
) -> None:
    (folder / "config.json").write_text(config)
    ((found, text),) = folder_findings(folder, **model)
    assert found[-1] == path
    assert reason in text


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    ((_, text),) = folder_findings(tmp_path / "absent")
    assert "absent: has no config.json" in text


def test_pickled_weights_are_refused_unless_they_are_trusted(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    ((_, text),) = folder_findings(folder)
    assert "weights that are pickles run code when they are read; convert them, or set trust: true" in text
    assert folder_findings(folder, trust=True) == []


def test_trust_is_for_folders_alone() -> None:
    sources = {"torch": {"zoo": "smollm2", "trust": True}}
    ((path, text),) = check_models({"a": Model(**LANGUAGE, sources=sources)})
    assert path == ("a", "sources", "torch", "trust")
    assert "is for a Hugging Face folder" in text


def test_a_callable_does_not_generate() -> None:
    ((_, text),) = check_models({"a": Model(**LANGUAGE, sources={"torch": {"callable": "a:b"}})})
    assert "allowed for generation: a zoo model, or a Hugging Face folder" in text


def context_findings(model: dict[str, Any], **lengths: int) -> list[str]:
    config = Config(matrix={"models": ["a"], "devices": ["cpu"]}, measurement={"generation": [{}, lengths]})
    return [text for _, text in check_config(config, DEVICES, {"a": Model(**model)})]


def test_prompt_and_output_fit_into_the_context(folder: Path) -> None:
    ours = LANGUAGE | {"sources": {"torch": {"zoo": "smollm2"}}}
    theirs = LANGUAGE | {"sources": {"torch": {"huggingface": str(folder)}}}
    assert context_findings(ours, prompt_tokens=8000, output_tokens=192) == []
    assert context_findings(ours, prompt_tokens=8000, output_tokens=193) == [
        "is 8000 + 193 tokens; allowed for a: 8192, its context"
    ]
    assert context_findings(theirs, prompt_tokens=500, output_tokens=13) == [
        "is 500 + 13 tokens; allowed for a: 512, its context"
    ]
    assert context_findings(MODEL, prompt_tokens=500_000) == []


@pytest.mark.parametrize("scenario", ["single_stream", "generate-128-32"])
def test_an_exclusion_by_scenario_finds_what_is_measured(scenario: str) -> None:
    excluded = {"exclude": [{"scenario": scenario, "batch_size": 1}]}
    assert config_findings(excluded) == []


def test_an_exclusion_by_a_scenario_that_is_not_measured_excludes_nothing() -> None:
    ((path, text),) = config_findings({"exclude": [{"scenario": "generate-1-1"}]})
    assert path == ("matrix", "exclude", 0)
    assert "generate-1-1" in text


@pytest.mark.parametrize("wanted", ["cost", {"cost": 0.5, "latency": 0.5}])
def test_a_cost_that_nobody_can_know_is_refused_in_every_objective(wanted: Any) -> None:
    decision = {"per_model": {"mlp": {"objective": wanted}}}
    ((path, text),) = config_findings(decision=decision)
    assert path == ("decision", "per_model", "mlp", "objective")
    assert "none of cpu has a price_per_hour" in text
    assert config_findings({"devices": ["cpu", "gpu0"]}, decision=decision) == []


def test_what_is_wanted_of_a_model_that_is_not_there_is_refused() -> None:
    decision = {
        "per_model": {"mlp": {"objective": "latency"}, "lenet-5": {"objective": "latency"}},
        "share_device": {"box": ["minilm", "lenet-5"]},
    }
    assert [path for path, _ in config_findings(decision=decision)] == [
        ("decision", "per_model", "lenet-5"),
        ("decision", "share_device", "box", 1),
    ]


def test_a_share_of_a_baseline_that_is_not_in_the_matrix_is_refused() -> None:
    decision: dict[str, Any] = {"constraints": {"max_memory_mb": "60% of baseline"}}
    assert config_findings({"optimizations": ["baseline", "bf16"]}, decision=decision) == []
    found = config_findings({"optimizations": ["bf16"]}, decision=decision)
    assert found[0][0] == ("decision", "baseline")
    assert "optimization is 'baseline', which the matrix does not have for mlp; allowed: bf16" in found[0][1]
    decision["baseline"] = {"device": "gpu0", "batch_size": 2}
    texts = [text for _, text in config_findings(decision=decision)]
    assert any("device is 'gpu0'" in text for text in texts)
    assert any("batch_size is 2" in text for text in texts)


def test_rounds_of_confirmation_are_in_order() -> None:
    for least, most in ((3, 2), (0, 5)):
        measurement = {"confirm_rounds": least, "most_confirm_rounds": most}
        assert [path for path, _ in config_findings(measurement=measurement)] == [
            ("measurement", "most_confirm_rounds")
        ]


def test_a_server_needs_a_limit_in_ms_for_each_model() -> None:
    measurement = {"scenarios": ["server"]}
    relative = {"constraints": {"latency_p99_ms": "50% of baseline"}}
    assert "to a number of ms" in config_findings(measurement=measurement, decision=relative)[0][1]
    one = {"per_model": {"mlp": {"constraints": {"latency_p99_ms": 50}}}}
    assert config_findings(measurement=measurement, decision=one) != []
    both = {"constraints": {"latency_p99_ms": 90}} | one
    assert config_findings(measurement=measurement, decision=both) == []


def test_an_external_meter_says_what_its_watts_are_those_of() -> None:
    device = {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}}
    alone = Device(**device, power_command="read-meter")
    (place, text), *others = check_devices({"cpu": alone})
    assert place == ("cpu", "power_command")
    assert "needs power_scope beside it; allowed: board, package, node" in text
    assert not others
    both = Device(**device, power_command="read-meter", power_scope="node", power_interval_s=5)
    assert not list(check_devices({"cpu": both}))
    for key, value in {"power_scope": "node", "power_interval_s": 1}.items():
        assert list(check_devices({"cpu": Device(**device, **{key: value})})) == [
            (("cpu", key), "is for a device with a power_command")
        ]


@pytest.mark.parametrize(
    ("objective", "said"), [("energy", "is 'energy'"), ({"energy": 1, "latency": 1}, "has energy in it")]
)
def test_the_least_energy_cannot_be_found_where_none_is_measured(objective: Any, said: str) -> None:
    decision = {"objective": objective}
    texts = [text for _, text in config_findings(decision=decision, measurement={"energy_seconds": 0})]
    assert f"{said}, but measurement.energy_seconds is 0, so that none is measured" in texts
    texts = [text for _, text in config_findings(decision=decision)]
    assert not any("energy_seconds" in text for text in texts)
