"""The Python of a runtime: a virtual environment made from its pinned requirements file.

An environment is keyed by its requirements, the Python version and the machine's architecture; an
environment with that key is used again, and one that is half made is made anew. Where none of the
devices that would use it is there, nothing is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hwfit.process import die_with_parent
from hwfit.records import read_json, write_json
from hwfit.worker.errors import require_space

LIST_PACKAGES = (
    "import importlib.metadata as m, json, platform;"
    "print(json.dumps([platform.python_version(),"
    # What is found first is what is imported.
    " {d.metadata['Name'].lower(): d.version for d in reversed([*m.distributions()])"
    " if d.metadata['Name']}]))"
)


class NotBuilt(Exception):
    """The environment cannot be had: the message says why."""


def build(name: str, kind: str, requirements: Path, probes: list[Path], directory: Path) -> dict[str, Any]:
    """Provide an environment; what stands in the way is a result, not an error.

    Parameters
    ----------
    kind : venv builds one below `directory`; conda takes the `python` that Snakemake put on the PATH;
        host takes the Python that is running
    probes : of the devices that would use it; empty where it is wanted whatever devices there are

    Returns
    -------
    {"name", "status", "reason", "python", "python_version", "packages", "seconds"}
    """
    started = time.perf_counter()
    found: dict[str, Any] = {
        "name": name,
        "status": "ok",
        "reason": "",
        "python": None,
        "python_version": None,
        "packages": {},
    }
    devices = [read_json(path) for path in probes]
    if devices and all(device["status"] != "ok" for device in devices):
        reason = "; ".join(dict.fromkeys(device["reason"] for device in devices))
        return found | {"status": "unavailable", "reason": reason}
    try:
        python = {"venv": build_venv, "conda": conda_python, "host": host_python}[kind](
            name, requirements, directory
        )
        version, packages = installed(python)
    except (NotBuilt, subprocess.CalledProcessError, OSError) as error:
        require_space(error)
        return found | {"status": "unavailable", "reason": f"environment {name}: {error}"}
    seconds = time.perf_counter() - started
    return found | {
        "python": str(python),
        "python_version": version,
        "packages": packages,
        "seconds": round(seconds, 1),
    }


def build_venv(name: str, requirements: Path, directory: Path) -> Path:
    """Make the virtual environment, or find it made. Returns its Python."""
    text = requirements.read_text()
    base, version = suitable_python(text, name)
    pins = [line.partition("#")[0].strip() for line in text.splitlines()]
    key = json.dumps([sorted(filter(None, pins)), version, platform.machine()])
    home = directory.resolve() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    python = home / "bin" / "python"
    stamp = home / "complete.json"
    home.parent.mkdir(parents=True, exist_ok=True)
    # Two workflows may share the directory: one builds, the other waits and finds it built.
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and python.exists():
            return python
        shutil.rmtree(home, ignore_errors=True)
        run(
            [base, "-m", "venv", home],
            f"python -m venv failed; on Debian, apt-get install python{version}-venv",
        )
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        run([*pip, "--requirement", requirements], "pip could not install it")
        write_json(stamp, {"requirements": pins, "python": version})
    return python


def suitable_python(requirements: str, name: str) -> tuple[str, str]:
    """A Python for which the pins install: the running one, or another on the PATH.

    The range is the file's comment `# python: >=3.10,<3.14`. Returns the command and its version, x.y.
    """
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    match = re.search(r"^# python: >=3\.(\d+),<3\.(\d+)\s*$", requirements, re.MULTILINE)
    low, high = (int(match[1]), int(match[2])) if match else (0, 1000)
    if low <= sys.version_info.minor < high:
        # The interpreter behind a virtual environment, since that environment may go away.
        return getattr(sys, "_base_executable", sys.executable), running
    for minor in range(high - 1, low - 1, -1):
        command = shutil.which(f"python3.{minor}")
        if command and subprocess.run([command, "-c", "import venv"], capture_output=True).returncode == 0:
            return command, f"3.{minor}"
    raise NotBuilt(f"needs Python >=3.{low},<3.{high}; this is {running} and no other is on the PATH")


def conda_python(name: str, requirements: Path, directory: Path) -> Path:
    """The Python of the environment that `--sdm conda` activated."""
    command = shutil.which("python")
    if command is None:
        raise NotBuilt("no python on the PATH; run snakemake with --sdm conda")
    return Path(command)


def host_python(name: str, requirements: Path, directory: Path) -> Path:
    """The Python that is running, with whatever frameworks it has."""
    return Path(sys.executable)


def installed(python: Path) -> tuple[str, dict[str, str]]:
    """The version of a Python and of the packages it sees."""
    done = subprocess.run([python, "-c", LIST_PACKAGES], capture_output=True, text=True, check=True)
    version, packages = json.loads(done.stdout)
    return version, dict(sorted(packages.items()))


def run(command: list[Any], explanation: str) -> None:
    """Run a command with its output in the job's log. Raises NotBuilt with its last word."""
    parent = os.getpid()
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # An installation that outlives its job would write into the environment that the next one makes.
        preexec_fn=lambda: die_with_parent(parent),
    )
    print(done.stdout, file=sys.stderr)
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if line.strip()]
        said = next(
            (line for line in reversed(errors) if line.startswith("ERROR")), (errors or ["nothing"])[-1]
        )
        raise NotBuilt(f"{explanation}: {said.strip()}")
