"""Wheels made by hand, so that a test's environment needs no package index."""

from __future__ import annotations

import zipfile
from pathlib import Path


def write_wheel(directory: Path, version: str, files: dict[str, str] | None = None) -> str:
    """A wheel of a package called tiny; returns the requirement that names it."""
    path = directory / f"tiny-{version}-py3-none-any.whl"
    about = f"tiny-{version}.dist-info"
    content = (files or {"tiny.py": ""}) | {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    listed = "".join(f"{name},,\n" for name in [*content, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (content | {f"{about}/RECORD": listed}).items():
            archive.writestr(name, text)
    return f"tiny @ {path.as_uri()}\n"
