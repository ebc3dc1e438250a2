"""What a Snakefile looks up while it is read: a probe's answer as a short hash, the files of callables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from hwfit.config import Source
from hwfit.records import fingerprint


def presence(accelerator: str, index: int) -> str:
    """Changes when the device is plugged in, taken out, or exchanged."""
    command = [sys.executable, "-m", "hwfit.worker", "probe", "--accelerator", accelerator]
    done = subprocess.run(
        [*command, "--index", str(index)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        text=True,
        check=True,
    )
    return fingerprint(done.stdout)


def code_files(sources: Iterable[Source]) -> list[str]:
    """The files of the callables that make a model, as far as they lie where the workflow runs."""
    modules = {source.callable.partition(":")[0].replace(".", "/") for source in sources if source.callable}
    paths = (Path(f"{module}{end}") for module in sorted(modules) for end in (".py", "/__init__.py"))
    return [str(path) for path in paths if path.is_file()]
