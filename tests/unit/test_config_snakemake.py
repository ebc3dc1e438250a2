"""How a Snakefile reads a config: Snakemake stops before any job, with the message alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STUDY = {"matrix": {"models": ["mlp"], "devices": ["cpu"]}}
SNAKEFILE = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "workflow")!r})
from hwfit.config import ConfigError, read_study, require_readable

if not workflow.overwrite_configfiles:
    try:
        require_readable("config/config.yaml")
    except ConfigError as error:
        raise SystemExit(str(error))

    configfile: "config/config.yaml"

try:
    for path in workflow.configfiles:
        require_readable(path)
    study = read_study(config, Path("config"), Path({str(ROOT / "config")!r}), workflow.configfiles)
except ConfigError as error:
    raise SystemExit(str(error))

rule all:
    output: "out.txt"
    params: study.config.model_dump_json(by_alias=True)
    shell: "printf '%s' {{params:q}} > {{output}}"
"""


def snakemake(directory: Path, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "Snakefile").write_text(SNAKEFILE)
    (directory / "config").mkdir(exist_ok=True)
    (directory / "config" / "config.yaml").write_text(config)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("matrix: {models: [mlpp], devices: [cpu]}\n", "config/config.yaml:1: matrix.models[0] is 'mlpp'"),
        ("a: !!python/object/apply:os.mkdir [made]\n", "config/config.yaml:1: the tag !!python/object/apply"),
        ("sweep: a\nsweep: b\n", "config/config.yaml:2: the key 'sweep' is there twice"),
        ("__use_yte__: true\n?__import__('os').mkdir('made'): 1\n", "__use_yte__ would run code"),
    ],
)
def test_a_bad_config_stops_snakemake_with_one_message(tmp_path: Path, config: str, expected: str) -> None:
    done = snakemake(tmp_path, config)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert expected in done.stderr
    assert not (tmp_path / "out.txt").exists()
    assert not (tmp_path / "made").exists()


def test_the_command_line_changes_single_values(tmp_path: Path) -> None:
    change = "measurement={max_seconds: 2.5, rounds: 2}"
    done = snakemake(tmp_path, yaml.safe_dump(STUDY), "--config", "environments=host", change)
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "out.txt").read_text())
    assert written["environments"] == "host"
    assert written["measurement"]["max_seconds"] == 2.5
    assert written["measurement"]["rounds"] == 2


def test_another_config_file_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(STUDY | {"sweep": "other"}))
    done = snakemake(tmp_path, "not: used\n", "--configfile", "other.yaml")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((tmp_path / "out.txt").read_text())["sweep"] == "other"
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(STUDY | {"sweep": "Other"}))
    done = snakemake(tmp_path, "not: used\n", "--configfile", "other.yaml")
    assert done.returncode != 0
    assert done.stderr.startswith("other.yaml:6: sweep is 'Other'")
