"""Files that are kept in git and made from others: JSON schemas, references, conda environments.

`python -m hwfit.generated` says which of them differ from what they are made from, and `--write` makes
them anew.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from hwfit import recommendation_schema, reference, schemas
from hwfit.training import reference as training_reference

ROOT = Path(__file__).parents[2]
COMMAND = "python -m hwfit.generated --write"


def files() -> dict[Path, str]:
    """Every generated file with the content it should have."""
    made = {ROOT / f"workflow/schemas/{name}.schema.json": schemas.text(name) for name in schemas.ADAPTERS}
    made[ROOT / "workflow/schemas/recommendation.schema.json"] = recommendation_schema.schema_text()
    readme = ROOT / "config/README.md"
    made[readme] = reference.inserted(readme.read_text(encoding="utf-8"))
    training = ROOT / "docs/training.md"
    made[training] = training_reference.inserted(training.read_text(encoding="utf-8"))
    for requirements in sorted((ROOT / "envs").glob("*.txt")):
        made[requirements.with_suffix(".yaml")] = conda_environment(requirements)
    return made


def outdated() -> list[Path]:
    """Generated files that are missing or differ from what they are made from."""
    return [
        path
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def conda_environment(requirements: Path) -> str:
    """The conda environment that says what a requirements file says: its Python range, pins and comments."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    ranges = [match[1] for line in lines if (match := re.match(r"# python: (\S+)$", line))]
    comments = [line for line in lines if line.startswith("#") and not line.startswith("# python:")]
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    return "\n".join(
        [
            f"# Made from {requirements.name} by `{COMMAND}`: edit that file.",
            *comments,
            "channels: [conda-forge]",
            "dependencies:",
            f"  - python {ranges[0] if ranges else _own_python()}",
            "  - pip",
            "  - pip:",
            *(f"      - {pin}" for pin in pins),
            "",
        ]
    )


def _own_python() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["requires-python"]


def main(arguments: Sequence[str]) -> int:
    stale = outdated()
    if "--write" in arguments:
        made = files()
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
        return 0
    for path in stale:
        print(f"{path.relative_to(ROOT)} is outdated: {COMMAND}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
