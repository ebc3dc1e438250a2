"""A wrong value is named by file, line, key path and value, with what is allowed and what is near."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwfit.catalog import PASSES
from hwfit.config import ConfigError, Model, read_study, require_readable

OWN = Path(__file__).parents[2] / "config"
STUDY = {
    "matrix": [{"models": ["mlp", "lenet-5"], "devices": ["cpu"], "batch_sizes": [1, 8]}],
    "measurement": {"max_seconds": 5},
    "decision": {"constraints": {"min_fidelity": 0.98}},
    "tracking": {"experiment": "hwfit"},
}
MODEL = {"task": "features", "data": "photograph-patches", "sources": {"torch": {"zoo": "mlp"}}}
MODEL_KEYS = ", ".join(Model.model_fields)
DEVICE = {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}}
WORDS_OF_PYTHON = ("Traceback", "pydantic", "ValidationError", "Input should")


def put(document: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    inner: Any = document
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return document


def message(directory: Path, file: str, document: dict[str, Any]) -> str:
    """What is said about a document put in place of one of the four files."""
    (directory / f"{file}.yaml").write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    if file != "config":
        (directory / "config.yaml").write_text(yaml.safe_dump(STUDY))
    path = directory / "config.yaml"
    with pytest.raises(ConfigError) as caught:
        require_readable(path)
        read_study(yaml.safe_load(path.read_text()), directory, OWN, [path])
    text = str(caught.value)
    assert not any(word in text for word in WORDS_OF_PYTHON)
    return text


def said(directory: Path, path: tuple[str | int, ...], value: Any) -> str:
    return message(directory, "config", put(STUDY, path, value))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            ("matrix", 0, "models"),
            ["lenet5"],
            r"matrix\[0\]\.models\[0\] is 'lenet5'.*did you mean 'lenet-5'",
        ),
        (("matrix", 0, "devices"), ["gpu"], r"devices\[0\] is 'gpu'.*defined: cpu, gpu0.*mean 'gpu0'"),
        (("matrix", 0, "runtimes"), ["pytorch"], r"runtimes\[0\] is 'pytorch'.*did you mean 'torch'"),
        (("matrix", 0, "optimizations"), ["int-8"], r"optimizations\[0\] is 'int-8'.*did you mean 'int8'"),
        (("matrix", 0, "exclude"), [{"model": "mpl"}], r"exclude\[0\]\.model is 'mpl'.*did you mean 'mlp'"),
        (("matrix", 0, "exclude"), [{"modl": "mlp"}], r"exclude\[0\]\.modl is not a known key.*mean 'model'"),
        (("measurement", "scenarios"), ["serve"], r"scenarios\[0\] is 'serve'.*did you mean 'server'"),
        (("measurement", "scenarios"), ["server"], r"scenarios\[0\] is 'server'.*set .*latency_p99_ms"),
        (("decision", "objective"), "thruput", r"objective is 'thruput'.*did you mean 'throughput'"),
        (("environments",), "virtualenv", r"environments is 'virtualenv'; allowed: one of venv, conda, host"),
        (("measurment",), {}, r"measurment is not a known key.*did you mean 'measurement'"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(
    tmp_path: Path, path: tuple[str | int, ...], value: Any, expected: str
) -> None:
    assert re.search(expected, said(tmp_path, path, value))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (-8, "-8"),
        (1.5, "1.5"),
        (8.0, "8.0"),
        (True, "true"),
        ("8", "'8'"),
        ("eight", "'eight'"),
        (None, "empty"),
        ([8], "a list"),
        (10**9, "1000000000"),
        (10**50, "a number of 167 bits"),
        (math.nan, "nan"),
    ],
)
def test_a_batch_size_is_a_whole_number_of_one_or_more(tmp_path: Path, value: Any, shown: str) -> None:
    text = said(tmp_path, ("matrix", 0, "batch_sizes"), [1, value])
    assert f"matrix[0].batch_sizes[1] is {shown}; allowed: a whole number from 1 to 1000000" in text


@pytest.mark.parametrize("key", ["models", "devices", "runtimes", "optimizations", "batch_sizes"])
def test_a_list_of_the_matrix_is_not_empty_and_repeats_nothing(tmp_path: Path, key: str) -> None:
    first = {
        "models": "mlp",
        "devices": "cpu",
        "runtimes": "torch",
        "optimizations": "int8",
        "batch_sizes": 4,
    }[key]
    assert f"matrix[0].{key} is an empty list" in said(tmp_path, ("matrix", 0, key), [])
    text = said(tmp_path, ("matrix", 0, key), [first, first])
    assert f"matrix[0].{key}[1] is {first!r} again, as matrix[0].{key}[0]; allowed: each once" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], "matrix is an empty list; allowed: a list of mappings, at least one"),
        (None, "matrix is empty; allowed: a mapping with the keys models"),
        ("all", "matrix is 'all'; allowed: a mapping"),
        ({}, "matrix lacks `models`"),
        ([{}], "matrix[0] lacks `devices`"),
    ],
)
def test_an_empty_matrix_is_refused(tmp_path: Path, value: Any, expected: str) -> None:
    assert expected in said(tmp_path, ("matrix",), value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("latency_p90_s", 0.1, "latency_p90_s is not a known key; allowed: latency_p50_ms, latency_p90_ms"),
        ("latency_p90_s", 0.1, "did you mean 'latency_p90_ms'"),
        ("latency_p90", 100, "did you mean 'latency_p90_ms'"),
        ("max_memory_gb", 16, "did you mean 'max_memory_mb'"),
        ("latency_p90_ms", "100ms", "is '100ms'; allowed: a number above 0, or a share of the baseline's"),
        ("latency_p90_ms", "100ms", "write the number alone"),
        ("latency_p90_ms", "50%", "write '50% of baseline'"),
        ("latency_p90_ms", "0% of baseline", "or a share of the baseline's figure"),
        ("max_accuracy_drop", "50% of baseline", "allowed: a number from 0 to 1"),
        ("min_fidelity", "98%", "is '98%'; allowed: a number from 0 to 1; write 0.98"),
        ("latency_p90_ms", "1e3", "write 1000 without quotes"),
        ("latency_p90_ms", -1, "is -1; allowed: a number above 0"),
        ("latency_p90_ms", 0, "is 0; allowed: a number above 0"),
        ("latency_p90_ms", math.nan, "is nan; allowed: a number above 0"),
        ("latency_p90_ms", math.inf, "is inf; allowed: a number above 0"),
        ("latency_p90_ms", True, "is true; allowed: a number above 0"),
        ("max_accuracy_drop", 1.5, "is 1.5; allowed: a number from 0 to 1"),
        ("min_fidelity", -0.1, "is -0.1; allowed: a number from 0 to 1"),
        ("max_cost_per_million", -1, "is -1; allowed: a number above 0, or a share of the baseline's figure"),
    ],
)
def test_a_limit_has_its_unit_and_its_sign(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    assert expected in said(tmp_path, ("decision", "constraints"), {key: value})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "currency",
            "dollars",
            "is 'dollars'; allowed: an ISO 4217 code: three capital letters, such as USD",
        ),
        ("currency", "usd", "is 'usd'; allowed: an ISO 4217 code"),
        ("utilization", 0, "is 0; allowed: a number above 0 and at most 1"),
        ("utilization", 1.2, "is 1.2; allowed: a number above 0 and at most 1"),
        ("utilization", "60%", "write 0.6"),
        ("electricity_per_kwh", -0.2, "is -0.2; allowed: a number above 0"),
        ("electricity", 0.2, "is not a known key; allowed: currency, utilization, electricity_per_kwh"),
    ],
)
def test_what_prices_have_in_common_is_checked(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    text = said(tmp_path, ("cost",), {key: value})
    assert f"cost.{key} " in text
    assert expected in text


@pytest.mark.parametrize(
    "name",
    ["a/b", "a b", "a'b", 'a"b', "a;b", "..", "a..b", "naïve", "<script>", "-a", "A", "", "a" * 65, "a\n"],
)
def test_a_name_has_a_plain_alphabet(tmp_path: Path, name: str) -> None:
    assert "sweep is " in said(tmp_path, ("sweep",), name)
    for file, entry in (("models", MODEL), ("devices", DEVICE), ("optimizations", {"passes": []})):
        text = message(tmp_path, file, {name: entry})
        assert "is not a name; allowed: lowercase letters and digits" in text


def test_a_name_that_yaml_does_not_read_as_text_needs_quotes(tmp_path: Path) -> None:
    assert "sweep is false" in said(tmp_path, ("sweep",), False)
    assert said(tmp_path, ("sweep",), 12).endswith("put it in quotes")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("a", "task"), "classify", "a.task is 'classify'; allowed: one of classification"),
        (("a", "data"), "mnists", "did you mean 'mnist'"),
        (("a", "data"), "x{y}.npz", "a.data is 'x{y}.npz'; allowed: one of digits"),
        (("a", "sources"), {"jax": {"zoo": "mlp"}}, "a.sources.jax is not a known key; allowed: torch"),
        (("a", "sources"), {}, "a.sources is an empty mapping; allowed: a mapping with keys of torch"),
        (("a", "sources", "torch"), {"zoo": "lenet-6"}, "did you mean 'lenet-5'"),
        (("a", "sources", "torch"), {"callable": "os.system"}, "allowed: `package.module:function`"),
        (("a", "sources", "torch"), {"callable": "a:b; rm -r x"}, "allowed: `package.module:function`"),
        (("a", "sources", "torch"), {"url": "x"}, "a.sources.torch.url is not a known key; allowed: zoo"),
        (("a", "training"), {"epochs": 0}, "a.training.epochs is 0; allowed: a whole number from 1"),
        (
            ("a", "epochs"),
            3,
            f"a.epochs is not a known key; allowed: {MODEL_KEYS}",
        ),
        (
            ("a",),
            None,
            f"a is empty; allowed: a mapping with the keys {MODEL_KEYS}",
        ),
    ],
)
def test_models_are_checked(tmp_path: Path, path: tuple[str | int, ...], value: Any, expected: str) -> None:
    assert expected in message(tmp_path, "models", put({"a": MODEL}, path, value))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("cpu", "accelerator"), "gpu", "did you mean 'cuda'"),
        (("cpu", "index"), -1, "cpu.index is -1; allowed: a whole number from 0 to 1023"),
        (("cpu", "runtimes"), {"torch": "torch-cpuu"}, "not in envs/; defined: mindspore-ascend"),
        (("cpu", "runtimes"), {"torch": "control"}, "cpu.runtimes.torch is 'control', which is not in envs/"),
        (("cpu", "runtimes"), {"torch": "../torch-cpu"}, "is '../torch-cpu'; allowed: a name"),
        (("cpu", "runtimes"), ["torch"], "cpu.runtimes is a list; allowed: a mapping with keys of torch"),
        (("cpu", "price_per_hour"), -1, "allowed: a number above 0"),
        (("cpu", "owned"), 30_000, "cpu.owned is 30000; allowed: a mapping with the keys price, years"),
        (("cpu", "owned"), {"years": 4}, "cpu.owned lacks `price`"),
        (("cpu", "owned"), {"price": 9, "years": 0}, "years is 0; allowed: a number above 0 and at most 100"),
        (("cpu", "owned"), {"price": -9, "years": 4}, "cpu.owned.price is -9; allowed: a number above 0"),
        (
            ("cpu", "owned"),
            {"price": 9, "years": 4, "residual_value": -1},
            "cpu.owned.residual_value is -1; allowed: a number of 0 or more",
        ),
        (("cpu", "owned"), {"price": 9, "years": 4, "power": 9}, "did you mean 'power_w'"),
        (("cpu", "memory_limit_gb"), 4, "did you mean 'memory_limit_mb'"),
    ],
)
def test_devices_are_checked(tmp_path: Path, path: tuple[str | int, ...], value: Any, expected: str) -> None:
    assert expected in message(tmp_path, "devices", put({"cpu": DEVICE}, path, value))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            {"pass": "prun"},
            f"x.passes[0].pass is 'prun'; allowed: {', '.join(sorted(PASSES))}; did you mean 'prune'",
        ),
        ({"amount": 0.5}, "x.passes[0] lacks `pass`"),
        ({"pass": "prune"}, "x.passes[0] lacks `amount` (share of the weights that become zero)"),
        ({"pass": "prune", "amount": 1}, "x.passes[0].amount is 1; allowed: a number above 0 and below 1"),
        ({"pass": "cast", "dtype": "bf16"}, "dtype is 'bf16'; allowed: one of bfloat16, float16"),
        (
            {"pass": "prune", "amount": 0.5, "dtype": "int8"},
            "dtype is not a known key; allowed: pass, amount",
        ),
        ("prune", "x.passes[0] is 'prune'; allowed: a mapping with `pass`"),
    ],
)
def test_passes_are_checked(tmp_path: Path, step: Any, expected: str) -> None:
    assert expected in message(tmp_path, "optimizations", {"x": {"passes": [step]}})


@pytest.mark.parametrize(
    "uri",
    [
        "user:secret@host",
        "htp://user:secret@host/x",
        "http://user:sec ret@host",
        "http://user:se@cret@",
        "http://host:secret",
        "http://user:secret@host:port/",
        "postgresql//user:secret@host/db?password=secret",
        ["http://user:secret@host"],
        {"host": "http://user:secret@host"},
    ],
)
def test_a_uri_that_cannot_be_one_is_refused_without_its_password(tmp_path: Path, uri: Any) -> None:
    text = said(tmp_path, ("tracking", "uri"), uri)
    assert "tracking.uri" in text
    assert not any(password in text for password in ("secret", "sec ret", "se@cret"))


@pytest.mark.parametrize("place", ["tracking", "sweep", "environments"])
def test_a_password_in_the_wrong_place_is_masked_too(tmp_path: Path, place: str) -> None:
    assert "secret" not in said(tmp_path, (place,), "http://user:secret@host")


def test_a_message_names_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    path = tmp_path / "config" / "config.yaml"
    path.write_text("# a study\nmatrix:\n  models: [mlp]\n  devices:\n    - cpu\n    - gpu7\n")
    with pytest.raises(ConfigError, match=r"^config/config\.yaml:6: matrix\.devices\[1\] is 'gpu7'"):
        read_study(yaml.safe_load(path.read_text()), Path("config"), OWN)


def test_the_message_in_the_readme_is_a_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    path = tmp_path / "config" / "config.yaml"
    path.write_text((OWN / "config.yaml").read_text().replace("lenet-300-100", "lenet300", 1))
    with pytest.raises(ConfigError) as caught:
        read_study(yaml.safe_load(path.read_text()), Path("config"), OWN)
    assert f"```\n{caught.value}\n```" in (OWN / "README.md").read_text()


def test_a_value_from_the_command_line_has_no_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    merged = put(STUDY, ("decision", "constraints", "min_fidelity"), 2)
    with pytest.raises(
        ConfigError, match=r"config\.yaml or --config: decision\.constraints\.min_fidelity is 2"
    ):
        read_study(merged, tmp_path, OWN, [path])


def test_of_several_config_files_the_last_that_says_it_is_named(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(yaml.safe_dump(STUDY | {"sweep": "A"}))
    second.write_text("\nsweep: A\n")
    with pytest.raises(ConfigError, match=r"second\.yaml:2: sweep is 'A'"):
        read_study(STUDY | {"sweep": "A"}, tmp_path, OWN, [first, second])


def test_an_unknown_key_is_one_problem_whatever_stands_under_it(tmp_path: Path) -> None:
    text = message(tmp_path, "devices", put({"cpu": DEVICE}, ("cpu", "runtimes"), {"jax": "x y"}))
    assert len(text.splitlines()) == 1


def test_all_problems_are_listed_and_many_are_cut(tmp_path: Path) -> None:
    two = put(STUDY, ("matrix", 0, "batch_sizes"), [0, "x"])
    assert len(message(tmp_path, "config", two).splitlines()) == 2
    many = put(STUDY, ("matrix", 0, "batch_sizes"), [-n for n in range(50)])
    lines = message(tmp_path, "config", many).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "… and 40 more"


def test_a_fault_in_a_catalog_comes_before_what_follows_from_it(tmp_path: Path) -> None:
    text = message(tmp_path, "models", {"Mlp": MODEL})
    assert text.splitlines()[0].endswith("digits, parts joined by one of . _ - (at most 64 characters)")
    assert "matrix[0].models[0] is 'mlp', which is not in models.yaml; defined: Mlp" in text


@pytest.mark.parametrize("config", [[], "text", None, {}])
def test_a_config_that_is_no_mapping_is_refused(tmp_path: Path, config: Any) -> None:
    with pytest.raises(ConfigError, match=r"config: is "):
        read_study(config, tmp_path, OWN)


def test_a_config_of_other_programs_is_held_to_the_same_depth(tmp_path: Path) -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(ConfigError, match="nested more than 40 levels"):
        read_study({"matrix": nested}, tmp_path, OWN)
