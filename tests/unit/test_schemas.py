"""The JSON schemas and the reference say what the pydantic models check, and are up to date in git."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hwfit import generated, schemas

ROOT = Path(__file__).parents[2]
FILES = [
    *((path.stem, path) for path in sorted((ROOT / "config").glob("*.yaml"))),
    *(("config", path) for path in sorted((ROOT / "config/examples").glob("*.yaml"))),
]
FRAGMENTS = re.findall(
    r"^```yaml\n(.*?)^```", (ROOT / "config/README.md").read_text(), re.DOTALL | re.MULTILINE
)


def validator(file: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schemas.schema(file))


def properties(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        for key, value in node.get("properties", {}).items():
            yield f"{path}/{key}", value
        for key, value in node.items():
            yield from properties(value, f"{path}/{key}")
    elif isinstance(node, list):
        for value in node:
            yield from properties(value, path)


def test_generated_files_are_up_to_date() -> None:
    outdated = [str(path.relative_to(ROOT)) for path in generated.outdated()]
    assert outdated == [], f"run {generated.COMMAND}"


def test_the_command_tells_what_is_outdated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    monkeypatch.setattr(generated, "files", lambda: {tmp_path / "schemas" / "x.json": "{}\n"})
    assert generated.main([]) == 1
    assert capsys.readouterr().out.startswith("schemas/x.json is outdated")
    assert generated.main(["--write"]) == 0
    assert (tmp_path / "schemas" / "x.json").read_text() == "{}\n"
    assert generated.main([]) == 0


@pytest.mark.parametrize("file", schemas.ADAPTERS)
def test_a_schema_is_one_and_explains_every_key(file: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas.schema(file))
    unexplained = [path for path, node in properties(schemas.schema(file)) if not node.get("description")]
    assert unexplained == []


@pytest.mark.parametrize(("file", "path"), FILES, ids=lambda value: getattr(value, "name", value))
def test_shipped_files_fit_their_schema_and_name_it(file: str, path: Path) -> None:
    validator(file).validate(yaml.safe_load(path.read_text()))
    first = path.read_text().splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named
    assert (path.parent / named[1]).resolve() == ROOT / f"workflow/schemas/{file}.schema.json"


@pytest.mark.parametrize(
    ("file", "document"),
    [
        ("config", {}),
        ("config", {"matrix": []}),
        ("config", {"matrix": {"models": ["a"], "devices": ["cpu"], "batch_sizes": [0]}}),
        ("config", {"matrix": {"models": ["a", "a"], "devices": ["cpu"]}}),
        ("config", {"matrix": {"models": ["a"], "devices": ["cpu"]}, "sweep": "A b"}),
        ("config", {"matrix": {"models": ["a"], "devices": ["cpu"]}, "tracking": {"uri": "x"}}),
        ("models", {"A": {"task": "features", "data": "digits", "sources": {"torch": {"zoo": "mlp"}}}}),
        ("models", {"a": {"task": "features", "data": "digits", "sources": {"torch": {}}}}),
        ("devices", {"cpu": {"accelerator": "cpu", "runtimes": {"jax": "x"}}}),
        ("optimizations", {"x": {"passes": [{"pass": "prune"}]}}),
    ],
)
def test_an_editor_marks_what_the_reader_refuses(file: str, document: dict[str, Any]) -> None:
    assert not validator(file).is_valid(document)


@pytest.mark.parametrize("text", FRAGMENTS, ids=lambda text: text.split(":")[0])
def test_the_examples_in_the_readme_fit_a_schema(text: str) -> None:
    assert any(validator(file).is_valid(yaml.safe_load(text)) for file in schemas.ADAPTERS)


def test_the_reference_has_a_row_for_every_key() -> None:
    reference = (ROOT / "config/README.md").read_text()
    for file in schemas.ADAPTERS:
        for path, _ in properties(schemas.schema(file)):
            assert f"| `{path.rsplit('/', 1)[1]}` |" in reference


def test_the_schemas_in_git_are_json() -> None:
    for path in (ROOT / "workflow/schemas").iterdir():
        assert json.loads(path.read_text())["$schema"].endswith("2020-12/schema")
