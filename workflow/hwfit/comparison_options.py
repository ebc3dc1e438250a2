"""What `snakemake compare --config against=…` and `snakemake export` are told, apart from the study's config.

It is no part of the study: it must neither change the plan nor make a job run again. Only what the command
line gives is taken; in a config file these keys are as unknown as any other that is misspelt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwfit.yaml_source import read_yaml

KEYS = ("against", "difference", "quality_tolerance")
# Of `snakemake export`.
EXPORT_KEYS = ("to", "artifacts")
# The relative difference for which to tell how many rounds it takes.
DIFFERENCE = 0.05
# How much of accuracy or fidelity may be lost, absolute.
QUALITY_TOLERANCE = 0.005


def taken_from(
    config: Mapping[str, Any], config_files: Sequence[Path | str], keys: Sequence[str] = KEYS
) -> tuple[dict[str, Any], list[str]]:
    """Split what Snakemake read.

    Returns
    -------
    the study's config, and the options of `python -m hwfit compare` (or `export`)

    Raises
    ------
    ConfigError : where a config file cannot be read
    """
    in_files = {key for path in config_files for key in read_yaml(Path(path)).value}
    told = [key for key in keys if key in config and key not in in_files]
    options = [option for key in told if (option := option_of(key, config[key]))]
    return {key: value for key, value in config.items() if key not in told}, options


def option_of(key: str, value: Any) -> str:
    """A value of `--config` as an option of a command; empty where it is not given."""
    name = f"--{key.replace('_', '-')}"
    match str(value).lower() if value is not None else "":
        case "true":
            return name
        case "" | "false":
            return ""
    return f"{name}={value}"
