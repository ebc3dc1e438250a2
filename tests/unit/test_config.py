"""A study is read from four files, with defaults, fallbacks and what the command line changed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwfit.config import Config, ConfigError, Matrix, Study, environment_file, main, read_study

ROOT = Path(__file__).parents[2]
OWN = ROOT / "config"
SHIPPED = [OWN / "config.yaml", *sorted((OWN / "examples").glob("*.yaml"))]


def study_config(**sections: Any) -> dict[str, Any]:
    return {"matrix": {"models": ["mlp"], "devices": ["cpu"]}} | sections


def read(directory: Path, **sections: Any) -> Study:
    return read_study(study_config(**sections), directory, OWN)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_studies_are_valid(path: Path) -> None:
    study = read_study(yaml.safe_load(path.read_text()), OWN, OWN, [path])
    assert study.config.matrices or study.config.training_matrices


def test_the_examples_are_those_that_the_readme_names() -> None:
    named = set(re.findall(r"\]\(examples/([\w.-]+)", (OWN / "README.md").read_text()))
    assert {path.name for path in (OWN / "examples").iterdir()} == named


def test_the_example_of_an_onnx_file_is_valid_where_its_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = OWN / "examples" / "silero-vad" / "config"
    source = yaml.safe_load((directory / "config.yaml").read_text())
    with pytest.raises(ConfigError, match=r"onnx is 'silero_vad/data.*not there"):
        read_study(source, directory, OWN)
    (tmp_path / "silero_vad" / "data").mkdir(parents=True)
    (tmp_path / "silero_vad" / "data" / "silero_vad_op18_ifless.onnx").touch()
    assert list(read_study(source, directory, OWN).models) == ["silero-vad"]


def test_the_example_of_deep_compression_is_valid() -> None:
    directory = OWN / "examples" / "deep-compression" / "config"
    source = yaml.safe_load((directory / "config.yaml").read_text())
    study = read_study(source, directory, OWN)
    seeds = [model.training.seed for model in study.models.values() if model.training]
    assert seeds == [0, 1, 2, 0, 1, 2]


def test_a_directory_without_catalogs_takes_those_of_hwfit(tmp_path: Path) -> None:
    study = read(tmp_path)
    assert {"mlp", "minilm"} <= set(study.models)
    assert {"cpu", "gpu0"} <= set(study.devices)
    assert study.optimizations["baseline"].passes == []


def test_a_catalog_of_ones_own_replaces_that_of_hwfit(tmp_path: Path) -> None:
    (tmp_path / "devices.yaml").write_text("cpu: {accelerator: cpu, runtimes: {torch: torch-cpu}}\n")
    assert list(read(tmp_path).devices) == ["cpu"]


def test_what_is_absent_has_its_default(tmp_path: Path) -> None:
    config = read(tmp_path).config
    assert config.matrices[0].optimizations == ["baseline"]
    assert config.matrices[0].batch_sizes == [1]
    assert config.matrices[0].runtimes is None
    assert config.decision.objective == "throughput"
    assert config.tracking.uri == "sqlite:///results/mlflow.db"


def test_a_matrix_is_one_mapping_or_a_list_of_them(tmp_path: Path) -> None:
    one = {"models": ["mlp"], "devices": ["cpu"]}
    as_mapping = read(tmp_path, matrix=one).config
    as_list = read(tmp_path, matrix=[one, one | {"models": ["minilm"]}]).config
    assert as_mapping.matrices == [Matrix(**one)]
    assert [matrix.models for matrix in as_list.matrices] == [["mlp"], ["minilm"]]


def test_a_whole_number_is_fine_where_a_fraction_is_allowed(tmp_path: Path) -> None:
    constraints = read(
        tmp_path, decision={"constraints": {"latency_p90_ms": 100}}
    ).config.decision.constraints
    assert constraints.latency_p90_ms == 100.0


def test_passes_keep_their_key_when_written_out(tmp_path: Path) -> None:
    study = read(tmp_path)
    assert study.optimizations["prune50"].model_dump(mode="json", by_alias=True) == {
        "passes": [{"pass": "prune", "amount": 0.5, "scope": "global"}]
    }


def test_a_study_written_out_is_read_again(tmp_path: Path) -> None:
    config = read(tmp_path).config
    assert Config.model_validate(config.model_dump(mode="json", by_alias=True)) == config


def test_an_environment_may_stand_beside_the_users_config(tmp_path: Path) -> None:
    directory = tmp_path / "config"
    directory.mkdir()
    (tmp_path / "envs").mkdir()
    own = tmp_path / "envs" / "my-torch.txt"
    own.write_text("torch\n")
    (directory / "devices.yaml").write_text("cpu: {accelerator: cpu, runtimes: {torch: my-torch}}\n")
    assert read(directory).devices["cpu"].runtimes == {"torch": "my-torch"}
    assert environment_file("my-torch", directory, OWN) == own
    assert environment_file("torch-cpu", directory, OWN) == ROOT / "envs" / "torch-cpu.txt"


def test_on_the_host_no_environment_need_exist(tmp_path: Path) -> None:
    (tmp_path / "devices.yaml").write_text("cpu: {accelerator: cpu, runtimes: {torch: none-of-hwfit}}\n")
    assert read(tmp_path, environments="host").devices["cpu"].runtimes == {"torch": "none-of-hwfit"}
    with pytest.raises(ConfigError, match="'none-of-hwfit', which is not in envs/"):
        read(tmp_path)


def test_numbers_that_the_command_line_made_text_of_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(study_config(measurement={"max_seconds": 5})))
    merged = study_config(measurement={"max_seconds": "2.5", "rounds": "2"})
    measurement = read_study(merged, tmp_path, OWN, [path]).config.measurement
    assert (measurement.max_seconds, measurement.rounds) == (2.5, 2)


def test_text_in_a_file_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(study_config(measurement={"max_seconds": "5"})))
    with pytest.raises(ConfigError, match=r"max_seconds is '5'; .* write 5 without quotes"):
        read_study(yaml.safe_load(path.read_text()), tmp_path, OWN, [path])


def test_the_command_checks_a_file_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OWN, tmp_path / "config")
    assert main(["config/config.yaml"]) == 0
    assert capsys.readouterr().out == "config/config.yaml: ok\n"
    assert main(["config/none.yaml"]) == 1
    assert "config/none.yaml: not there" in capsys.readouterr().err
