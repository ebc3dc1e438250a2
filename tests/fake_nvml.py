"""A GPU that is not there: NVML's library, built from a few lines of C, which the real nvidia-ml-py loads."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
UUID = "GPU-5ca1ab1e"


def build(directory: Path, compiler: str) -> Path:
    """Compile the library; returns its path."""
    library = directory / "libnvidia-ml.so.1"
    name = f"-Wl,-soname,{library.name}"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", name, "-o", library, SOURCE], check=True)
    return library


class FakeGpu:
    """What the library answers from now on; names as in fake_nvml.c.

    Parameters
    ----------
    path : the file that $FAKE_NVML names
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, object] = {"uuid": UUID}

    def says(self, **answers: object) -> None:
        """Answer so, beside what was said before; None for "not supported", a list for several values."""
        self.answers |= answers
        lines = (
            f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}\n"
            for name, value in self.answers.items()
            if value is not None
        )
        self.path.write_text("".join(lines))
