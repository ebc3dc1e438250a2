"""What a Snakefile looks up while it is read: a probe's answer as a short hash, the user's files."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hwfit.config import Model
from hwfit.records import fingerprint


def presence(accelerator: str, index: int, cores: Sequence[int] | None = None) -> str:
    """Changes when the device is plugged in, taken out, or exchanged."""
    command = [sys.executable, "-m", "hwfit.worker", "probe", "--accelerator", accelerator]
    done = subprocess.run(
        [*command, "--index", str(index), "--cores", *map(str, cores or [])],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        text=True,
        check=True,
    )
    # What is recorded of it is another device, though the same name.
    return fingerprint(done.stdout, *filter(None, [os.environ.get("HWFIT_RECORDED")]))


def installed_packages() -> str:
    """Changes when a package of the running Python is installed, upgraded or removed."""
    return fingerprint(sorted(f"{d.name} {d.version}" for d in importlib.metadata.distributions()))


def files_behind(model: Model) -> list[str]:
    """What makes a user's model: the modules of callables that lie here, folders, graphs, weights, files."""
    callables = (source.callable for source in model.sources.values() if source.callable)
    modules = {path.partition(":")[0].replace(".", "/") for path in callables}
    paths = (Path(f"{module}{end}") for module in sorted(modules) for end in (".py", "/__init__.py"))
    folders = {source.huggingface for source in model.sources.values() if source.huggingface}
    graphs = dict.fromkeys(source.onnx for source in model.sources.values() if source.onnx)
    return [
        *(str(path) for path in paths if path.is_file()),
        *(str(path) for folder in sorted(folders) for path in files_of(Path(folder))),
        *graphs,
        *model.files,
        *([model.weights] if model.weights else []),
    ]


def files_of(folder: Path) -> list[Path]:
    """The files of a folder and those below it, without what is hidden: caches, version control."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [
        path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
