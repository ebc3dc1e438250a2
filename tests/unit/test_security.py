"""What the code must not contain: texts that reach a shell as they are, files that run when they are read."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WORKFLOW = Path(__file__).parents[2] / "workflow"
CODE = sorted(WORKFLOW.rglob("*.py"))
RULES = sorted(WORKFLOW.rglob("*.smk"))
SCHEMAS = [
    WORKFLOW / "schemas" / f"{name}.schema.json" for name in ("config", "models", "devices", "optimizations")
]
# The texts of a config that take nearly anything; tests/workflow/test_injection.py has mischief in them.
FREE = {
    "artifacts_from",
    "calibration",
    "data",
    "files",
    "huggingface",
    "onnx",
    "output",
    "power_command",
    "sites",
    "tokenizer",
    "uri",
    "weights",
}
# Names that another file has to define, where they are of one plain alphabet.
DEFINED = {"device", "devices", "members", "model", "models", "optimization", "optimizations", "share_device"}
MISCHIEF = "x$(touch pwned)`touch pwned`; '\" && | * é"
# A fixed text of the workflow's own, made of options.
UNQUOTED = {"params.training"}


def name_of(node: ast.AST) -> str:
    """A dotted name as it was written."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults_of(call: ast.Call) -> str:
    """What is wrong with a call; empty where nothing is."""
    name = name_of(call.func)
    given = {word.arg: word.value for word in call.keywords}

    def is_true(word: str) -> bool:
        return isinstance(given.get(word), ast.Constant) and bool(given[word].value)

    if name in ("eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler"):
        return f"{name} runs what it is given"
    if is_true("allow_pickle"):
        return "allow_pickle runs what a file holds"
    if name == "torch.load" and not is_true("weights_only"):
        return "torch.load without weights_only runs what a file holds"
    if is_true("shell"):
        return "shell=True"
    if (
        name.startswith("yaml.")
        and name.endswith(("load", "load_all"))
        and "Loader" not in given
        and "safe" not in name
    ):
        return f"{name} without a safe loader"
    if name.endswith(".extractall") and "filter" not in given:
        return "extractall without a filter writes wherever an archive says"
    return ""


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(WORKFLOW)))
def test_no_call_runs_what_a_file_or_a_text_holds(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [f"{path}:{call.lineno}: {fault}" for call in calls if (fault := faults_of(call))]


@pytest.mark.parametrize("rule_file", RULES, ids=lambda path: path.name)
def test_every_value_in_a_rules_command_is_quoted(rule_file):
    text = rule_file.read_text()
    commands = re.findall(r"shell:\n((?:\s+[\"'].*\n)+)", text)
    assert len(commands) == text.count("shell:")
    for command in commands:
        for value in re.findall(r"(?<!\{)\{([^{}]+)\}", command):
            assert value.endswith(":q") or value in UNQUOTED, f"{rule_file.name}: {{{value}}}"


def texts_of(schema: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text that a schema takes: the key that it stands under, and its pattern."""
    if isinstance(schema, list):
        for part in schema:
            yield from texts_of(part, name)
    elif isinstance(schema, dict):
        if schema.get("type") == "string" and not {"enum", "const"} & schema.keys():
            yield name, schema.get("pattern", "")
        for key, part in schema.items():
            if key in ("properties", "$defs"):
                for inner, its in part.items():
                    yield from texts_of(its, inner)
            elif key != "default":
                yield from texts_of(part, name)


def test_only_these_texts_of_a_config_take_what_a_shell_would_read():
    shapes = (
        "{}",
        "{}.npz",
        "{}.safetensors",
        "sqlite:///{}.db",
        "{}/",
        "{}.onnx",
        "package:{}",
        "{}-1",
        "{}% of baseline",
    )
    found = {
        name
        for path in SCHEMAS
        for name, pattern in texts_of(json.loads(path.read_text()))
        if any(re.search(pattern, shape.format(MISCHIEF)) for shape in shapes)
    }
    assert found - DEFINED == FREE
