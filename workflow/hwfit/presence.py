"""What a Snakefile looks up while it is read: a probe's answer as a short hash, the files of callables."""

from __future__ import annotations

import importlib.metadata
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
    return fingerprint(done.stdout)


def installed_packages() -> str:
    """Changes when a package of the running Python is installed, upgraded or removed."""
    return fingerprint(sorted(f"{d.name} {d.version}" for d in importlib.metadata.distributions()))


def files_behind(model: Model) -> list[str]:
    """What makes a user's model: its callables' modules, as far as they lie here, and its files."""
    callables = (source.callable for source in model.sources.values() if source.callable)
    modules = {path.partition(":")[0].replace(".", "/") for path in callables}
    paths = (Path(f"{module}{end}") for module in sorted(modules) for end in (".py", "/__init__.py"))
    return [*(str(path) for path in paths if path.is_file()), *model.files]
