"""What a Snakefile may know of a device while it is read: the probe's answer, as a short hash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
