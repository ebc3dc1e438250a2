"""No value of a config becomes a command: each rule's line is run as it stands, with names for mischief."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from projects import SNAKEFILE

# What a shell, Snakemake and argparse make something of; / ends a name, and braces are refused.
SPECIAL = " \t'\"`$();&|<>*?[]!#\\^%=,:@+~-\x7fü中 "
CANARY = "pwned"
PAYLOADS = (f"$(touch {CANARY})", f"`touch {CANARY}`", f"; touch {CANARY};", f"'; touch {CANARY}; '",
            f'"; touch {CANARY}; "',
            f"| touch {CANARY}", f"&& touch {CANARY}", "' --output x '", "%s%n", "*")  # fmt: skip
MODELS = 12
RECORDER = """#!{python}
import json, sys
with open({lines!r}, "a") as stream:
    stream.write(json.dumps(sys.argv[1:]) + "\\n")
"""


@pytest.fixture(scope="session", autouse=True)
def environments():
    """Nothing is measured here, so that no environment is needed."""


def mischief(generator: random.Random) -> str:
    """A text that would do something, were it not quoted."""
    noise = "".join(generator.choices(SPECIAL, k=generator.randrange(1, 12)))
    return f"x{noise.replace(chr(9), '')}{generator.choice(PAYLOADS)}{noise.replace(chr(9), '')}y"


def a_file(directory: Path, name: str) -> str:
    """A file with this name; returns the name."""
    np.savez(directory / "part.npz", x=np.zeros((4, 2), np.float32))
    (directory / "part.npz").rename(directory / name)
    return name


def mischievous_study(directory: Path, generator: random.Random) -> tuple[dict, list[str]]:
    """A study whose every text is made for mischief, as far as it is accepted; and these texts."""
    texts, models = [], {}

    def text() -> str:
        texts.append(mischief(generator))
        return texts[-1]

    for number in range(MODELS):
        model = {"task": "features"}
        if number % 4 != 3:
            model |= {"data": a_file(directory, f"{text()}.npz")}
        match number % 4:
            case 0:
                source = {"torch": {"callable": "mine:net"}}
                model |= {"files": [a_file(directory, text()), a_file(directory, text())]}
            case 1:
                source = {"onnxruntime": {"onnx": a_file(directory, f"{text()}.onnx")}}
                model |= {"output": text(), "inputs": {text(): {"shape": [2]}}}
                model |= {"calibration": a_file(directory, f"{text()}.npz")}
            case 2:
                source = {"torch": {"zoo": "mlp"}}
                model |= {"weights": a_file(directory, f"{text()}.safetensors")}
            case _:
                folder = directory / text()
                (folder / "images").mkdir(parents=True)
                a_file(folder, "a.png")
                source = {"torch": {"callable": "mine:net"}, "onnxruntime": {"export": "torch"}}
                model |= {"data": f"{folder.name}/", "image": {"size": 2}}
        models[f"model-{number}"] = model | {"sources": source}
    (directory / "mine.py").write_text("def net(): ...\n")
    matrix = {"models": list(models), "devices": ["cpu"], "optimizations": ["baseline", "prune50", "int8"]}
    study = {
        "config": {
            "matrix": matrix,
            "environments": "host",
            "tracking": {"uri": f"sqlite:///results/{text()}.db"},
        },
        "models": models,
        "devices": {
            "cpu": {
                "accelerator": "cpu",
                "runtimes": {"torch": "torch-cpu", "onnxruntime": "onnxruntime-cpu"},
                "power_command": text(),
                "power_scope": "node",
            }
        },
    }
    return study, texts


@dataclass
class Mischief:
    """A study full of it: its texts, the commands that a run gives a shell, and what these then were told."""

    directory: Path
    texts: list[str]
    commands: list[str]
    arguments: list[list[str]]


@pytest.fixture(scope="module")
def mischievous(tmp_path_factory) -> Mischief:
    """Such a study, of which each command was run, not by hwfit: by a program that notes its arguments."""
    generator = random.Random(7)
    place = tmp_path_factory.mktemp("mischief")
    directory = place / f"a {mischief(generator)} directory"
    (directory / "config").mkdir(parents=True)
    (directory / "envs").mkdir()
    (directory / "envs" / "torch-cpu.txt").write_text("numpy==2.4.6\n")
    (directory / "Snakefile").write_text(SNAKEFILE)
    study, texts = mischievous_study(directory, generator)
    for name, content in study.items():
        (directory / "config" / f"{name}.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
    commands = commands_of(directory)
    recorder, notes = place / "python", place / "notes"
    recorder.write_text(RECORDER.format(python=sys.executable, lines=str(notes)))
    recorder.chmod(0o755)
    for command in commands:
        for log in re.findall(r"> (\S+) 2>&1$", command):
            (directory / log).parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail; {command}"],
            cwd=directory,
            env={"HWFIT_PYTHON": str(recorder), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stderr)
    return Mischief(directory, texts, commands, [json.loads(line) for line in notes.read_text().splitlines()])


def commands_of(directory: Path) -> list[str]:
    """Every command that a run would give a shell."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run", "--printshellcmds", "--nocolor"],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    return re.findall(r'^Shell command: ("\$HWFIT_PYTHON" -m .*)$', said, re.MULTILINE)


def test_each_command_starts_its_program_once_and_nothing_else(mischievous):
    assert len(mischievous.arguments) == len(mischievous.commands) > 3 * MODELS
    assert not list(mischievous.directory.parent.rglob(f"*{CANARY}"))
    options = {arguments[1] for arguments in mischievous.arguments}
    assert options <= {"hwfit", "hwfit.worker"}


def test_what_is_meant_for_mischief_arrives_as_it_was_written(mischievous):
    """As an argument, or in the JSON that some are; what may hold a password goes by the environment."""
    arrived = "\n".join(argument for arguments in mischievous.arguments for argument in arguments)
    *told, uri, command = mischievous.texts
    for text in told:
        shapes = (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
        assert any(shape in arrived for shape in shapes), text
    assert command not in arrived
    assert uri not in arrived
