"""An environment's requirements file and its conda file say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hwfit.generated import conda_environment

ENVS = Path(__file__).parents[2] / "envs"
REQUIREMENTS = sorted(ENVS.glob("*.txt"))
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*(; python_version .*)?")


def pins(requirements: Path) -> list[str]:
    lines = requirements.read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def python_range(requirements: Path) -> str | None:
    found = re.search(r"^# python: (.*)$", requirements.read_text(), re.MULTILINE)
    return found[1] if found else None


@pytest.mark.parametrize("requirements", REQUIREMENTS, ids=lambda path: path.stem)
def test_conda_says_what_pip_says(requirements: Path) -> None:
    conda = yaml.safe_load(requirements.with_suffix(".yaml").read_text())
    python, pip, section = conda["dependencies"]
    assert conda["channels"] == ["conda-forge"]
    assert python == f"python {python_range(requirements) or '>=3.11'}"
    assert pip == "pip"
    assert section == {"pip": pins(requirements)}


@pytest.mark.parametrize("requirements", REQUIREMENTS, ids=lambda path: path.stem)
def test_every_requirement_is_pinned_once(requirements: Path) -> None:
    names = [pin.split("==")[0].lower() for pin in pins(requirements)]
    assert [pin for pin in pins(requirements) if not PIN.fullmatch(pin)] == []
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "requirements",
    [path for path in REQUIREMENTS if path.stem not in ("control", "test")],
    ids=lambda path: path.stem,
)
def test_a_runtimes_environment_says_for_which_python_it_is(requirements: Path) -> None:
    assert re.fullmatch(r">=3\.\d+,<3\.\d+", python_range(requirements) or "")


def test_no_conda_file_is_left_without_its_requirements() -> None:
    assert {path.stem for path in ENVS.glob("*.yaml")} == {path.stem for path in REQUIREMENTS}


def test_a_conda_file_keeps_the_comments(tmp_path: Path) -> None:
    requirements = tmp_path / "x.txt"
    requirements.write_text("# python: >=3.10,<3.12\n# Why this version.\na==1.0\n")
    text = conda_environment(requirements)
    assert "# Why this version.\n" in text
    assert yaml.safe_load(text)["dependencies"] == ["python >=3.10,<3.12", "pip", {"pip": ["a==1.0"]}]
