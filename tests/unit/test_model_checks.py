"""What is said of models is refused where it does not go together, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from findings import DEVICES
from hwfit.config_checks import check_config, check_models
from hwfit.presence import files_behind
from hwfit.sections import Config, Model

MODEL = {"task": "features", "data": "photograph-patches", "sources": {"torch": {"zoo": "mlp"}}}


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
