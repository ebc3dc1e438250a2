"""The only reader of a user's configuration: four YAML files, checked before any job starts.

`require_readable` comes before Snakemake reads a config file, `read_study` after. Both raise a
ConfigError whose text is the whole message. `python -m hwfit.config FILE` checks a config by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hwfit import config_checks, schemas
from hwfit.config_document import Document
from hwfit.config_errors import ConfigError, display, shown
from hwfit.cost_sections import Cost, Owned
from hwfit.decision_sections import Constraints, Decision
from hwfit.device_sections import Composite, Device
from hwfit.key_path import KeyPath
from hwfit.sections import (
    Config,
    Exclusion,
    Generation,
    Matrix,
    Measurement,
    Model,
    Optimization,
    Report,
    Section,
    Source,
    Study,
    Tracking,
    Training,
)
from hwfit.sites.checks import require_intact
from hwfit.yaml_source import MAX_DEPTH, YamlSource, read_yaml, require_readable

__all__ = [
    "Composite",
    "Config",
    "ConfigError",
    "Constraints",
    "Cost",
    "Decision",
    "Device",
    "Exclusion",
    "Generation",
    "Matrix",
    "Measurement",
    "Model",
    "Optimization",
    "Owned",
    "Report",
    "Section",
    "Source",
    "Study",
    "Tracking",
    "Training",
    "environment_file",
    "read_study",
    "require_readable",
]

CATALOGS = ("models", "devices", "optimizations")
# Environments of the control wing, in which no model runs.
_NOT_FOR_RUNTIMES = ("control", "test")


def read_study(
    config: Mapping[str, Any],
    directory: Path,
    fallback: Path,
    config_files: Sequence[Path | str] | None = None,
) -> Study:
    """Check a config and the catalogs beside it.

    Parameters
    ----------
    config : the content of config.yaml, as Snakemake read it
    directory : the user's config directory, where models.yaml, devices.yaml and optimizations.yaml are
    fallback : hwfit's own config directory, for those of the three that the user's lacks
    config_files : what `config` was read from, in Snakemake's order, so that a message can name the line;
        `config.yaml` in `directory`, where it is there, if not given

    Raises
    ------
    ConfigError
        Lists every problem found: file, line, key path, value, what is allowed, nearest match.
    """
    if config_files is None:
        config_files = [path for path in [directory / "config.yaml"] if path.is_file()]
    problems: list[str] = []
    study = _config_document(config, [Path(path) for path in config_files])
    documents = {}
    for name in CATALOGS:
        try:
            source = read_yaml(_catalog_path(name, directory, fallback))
            documents[name] = Document(name, source.value, (source,))
        except ConfigError as error:
            problems += error.problems

    defined = {name: list(document.value) for name, document in documents.items()}
    if study.value.get("environments") != "host":
        defined["environments"] = environments(directory, fallback)
    # Last, since a fault in a catalog may show again in the study that uses it.
    documents["config"] = study
    valid: dict[str, Any] = {}
    for name, document in documents.items():
        try:
            valid[name] = schemas.ADAPTERS[name].validate_python(document.value, context=defined)
        except ValidationError as error:
            problems += document.explain(error)
        else:
            problems += [document.problem(path, message) for path, message in _findings(name, valid)]
    if problems:
        raise ConfigError(*problems)
    return Study(**valid)


def environments(directory: Path, fallback: Path) -> list[str]:
    """Names of the environments that a runtime can have, the user's and hwfit's own."""
    found = {path.stem for root in (directory, fallback) for path in (root.parent / "envs").glob("*.txt")}
    return sorted(found.difference(_NOT_FOR_RUNTIMES))


def environment_file(name: str, directory: Path, fallback: Path) -> Path:
    """The requirements file of an environment: in envs/ beside `directory`, or hwfit's own."""
    own = directory.parent / "envs" / f"{name}.txt"
    return own if own.is_file() else fallback.parent / "envs" / f"{name}.txt"


def conda_file(requirements: Path, kind: str) -> str | None:
    """The conda file beside a requirements file; None where there is none and none is needed.

    Raises ConfigError where `environments: conda` needs it.
    """
    path = requirements.with_suffix(".yaml")
    if path.is_file():
        return str(path)
    if kind == "conda":
        raise ConfigError(
            f"environments: conda needs {path}, which is not there. Write one that names what "
            f"{requirements.name} pins, or set environments: venv"
        )
    return None


def _catalog_path(name: str, directory: Path, fallback: Path) -> Path:
    """The user's catalog, or hwfit's own where the user has none."""
    own, brought = directory / f"{name}.yaml", fallback / f"{name}.yaml"
    if own.exists() or not brought.exists():
        return own
    return brought


def _findings(name: str, valid: Mapping[str, Any]) -> Iterator[config_checks.Finding]:
    if name != "config":
        return getattr(config_checks, f"check_{name}")(valid[name])
    return config_checks.check_config(valid["config"], valid.get("devices"), valid.get("models"))


def _config_document(config: Mapping[str, Any], files: Sequence[Path]) -> Document:
    sources = tuple(read_yaml(path) for path in files)
    value = _plain(config)
    if not isinstance(value, dict):
        raise ConfigError(f"config: is {shown(value)}; allowed: a mapping")
    if not value:
        raise ConfigError(
            f"{', '.join(map(display, files)) or 'config'}: is empty; allowed: at least `matrix`"
        )
    if sources:
        value = {key: _typed(item, (key,), sources) for key, item in value.items()}
    return Document("config", value, sources)


def _plain(value: Any, depth: int = 0) -> Any:
    """Plain dictionaries and lists, whatever a loader made."""
    if depth > MAX_DEPTH:
        raise ConfigError(f"config: is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    return value


def _typed(value: Any, path: KeyPath, sources: Sequence[YamlSource]) -> Any:
    """Give the numbers of `--config 'measurement={rounds: 2}'`, which Snakemake reads as text, their type."""
    if isinstance(value, dict):
        return {key: _typed(item, (*path, key), sources) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item, (*path, index), sources) for index, item in enumerate(value)]
    from_command_line = not any(source.has(path, value) for source in sources)
    if isinstance(value, str) and len(path) > 1 and from_command_line:
        try:
            number = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            return value
        return number if isinstance(number, (int, float)) else value
    return value


def main(arguments: Sequence[str]) -> int:
    """Check one config file, with the catalogs beside it."""
    own = Path(__file__).parents[2] / "config"
    path = Path(arguments[0]) if arguments else Path("config/config.yaml")
    try:
        require_readable(path)
        source = read_yaml(path)
        require_intact(read_study(source.value, Path("config"), own, [path]).config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{display(path)}: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
