"""Where the files of a run lie, relative to the directory that it is in, and what they are called.

Paths are public: users find their records by them, and Snakemake's rules their inputs.
"""

from __future__ import annotations

from typing import Any

from hwfit.catalog import READ_ONNX
from hwfit.input_sections import data_kind
from hwfit.records import Cell, fingerprint, profile_path

RESULTS = "results"
PROFILES = f"{RESULTS}/profiles"
# Of a class of nodes, below its folder: what jobs found of other hardware than its probe did.
IDENTITIES = "identities"
# What was read of the first looks, as a fingerprint: it changes when one of them does.
FIRST_LOOKS = f"{RESULTS}/first-looks.json"
# What an ONNX file is called that is made of a model as it is.
CHECKPOINT = "checkpoint"
# Of a merged plan's device, what stands between its own name and its site's; in no name of a config.
AT = "@"


def artifact_name(passes: list[dict[str, Any]]) -> str:
    """A name for what artifact passes make, shared by optimizations with the same; empty for none."""
    return "-".join([step["pass"] for step in passes] + [fingerprint(passes)[:8]]) if passes else ""


def weights_directory(model: str, artifact: str, runtime: str) -> str:
    """Where the weights lie that a runtime loads: the model's, or what artifact passes made of them; as a
    checkpoint, or in a file of their own for the runtimes that read ONNX.
    """
    if runtime in READ_ONNX:
        return f"{RESULTS}/onnx/{model}/{artifact or CHECKPOINT}"
    return checkpoint_directory(model, artifact)


def checkpoint_directory(model: str, artifact: str) -> str:
    """Where a model's checkpoint lies: its own, or the one that artifact passes made."""
    return f"{RESULTS}/artifacts/{model}/{artifact}" if artifact else model_directory(model)


def model_directory(model: str) -> str:
    """Where a model's checkpoint, card and evaluation set lie."""
    return f"{RESULTS}/models/{model}"


def environment_file(name: str) -> str:
    """What is known of an environment."""
    return f"{RESULTS}/environments/{name}.json"


def probe_file(device: str) -> str:
    """What a device's probe found."""
    return f"{RESULTS}/devices/{device}/probe.json"


def inventory_file(device: str) -> str:
    """What a device's inventory found."""
    return f"{RESULTS}/devices/{device}/inventory.json"


def identities_directory(device: str) -> str:
    """What the jobs of a class of nodes found where they met other hardware than its probe did."""
    return f"{RESULTS}/devices/{device}/{IDENTITIES}"


def data_files(name: str, data: str) -> list[str]:
    """Where a model's inputs lie: in a data set that the workflow writes, in what it makes of a user's files,
    or in a user's own .npz file; nowhere, where they are made from the model's signature.
    """
    match data_kind(data):
        case "named":
            return [f"{RESULTS}/data/{data}.npz"]
        case "npz":
            return [data]
        case "signature":
            return []
    return [f"{RESULTS}/data/models/{name}.npz"]


def profile_pattern(device: str, runtime: str, batch_size: int) -> str:
    """Where the profiles of a target lie, with Snakemake's wildcards for the rest."""
    return str(profile_path(PROFILES, wildcard_cell(device, runtime), "{round}", batch_size))


def attempts_file(cell: Cell, round: int | str) -> str:
    """Where the attempts at measuring a cell in a round are logged."""
    return f"{RESULTS}/attempts/{cell.path}/round{round}.jsonl"


def attempts_pattern(device: str, runtime: str) -> str:
    """Where the attempts of a target are logged, with Snakemake's wildcards for the rest."""
    return attempts_file(wildcard_cell(device, runtime), "{round}")


def wildcard_cell(device: str, runtime: str) -> Cell:
    """A cell of a target whose other names are Snakemake's wildcards."""
    return Cell("{model}", device, runtime, "{optimization}", "{scenario}")


def rule_name(name: str) -> str:
    """A name as Snakemake allows it in the name of a rule; no two names of a config share one."""
    return name.replace("_", "__").replace("-", "_").replace(".", "___")


def device_at(device: str, site: str) -> str:
    """What a device of another site is called here."""
    return f"{device}{AT}{site}"


def site_of(device: str) -> str:
    """The site that a device was imported from; empty for one of the study's own."""
    return device.partition(AT)[2]


def site_file(site: str) -> str:
    """What was imported of a site, beside its records."""
    return f"{RESULTS}/sites/{site}.json"


def confirmation_file(device: str) -> str:
    """Which rounds confirm a device's combinations."""
    return f"{RESULTS}/confirmations/{device}.json"
