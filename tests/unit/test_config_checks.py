"""Settings that are valid alone and wrong together are refused, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from findings import config_findings
from hwfit.config import ConfigError, read_study
from hwfit.config_checks import check_devices, check_optimizations
from hwfit.device_sections import Device
from hwfit.sections import Optimization

OWN = Path(__file__).parents[2] / "config"
CAST = {"pass": "cast", "dtype": "bfloat16"}
QUANTIZE = {"pass": "quantize_dynamic"}
STATIC = {"pass": "quantize_static"}
WEIGHTS = {"pass": "quantize_weights", "dtype": "int8"}
PRUNE = {"pass": "prune", "amount": 0.5}


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


@pytest.mark.parametrize("scenario", ["single_stream", "generate-128-32"])
def test_an_exclusion_by_scenario_finds_what_is_measured(scenario: str) -> None:
    excluded = {"exclude": [{"scenario": scenario, "batch_size": 1}]}
    assert config_findings(excluded) == []


def test_an_exclusion_by_a_scenario_that_is_not_measured_excludes_nothing() -> None:
    ((path, text),) = config_findings({"exclude": [{"scenario": "generate-1-1"}]})
    assert path == ("matrix", "exclude", 0)
    assert "generate-1-1" in text


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
