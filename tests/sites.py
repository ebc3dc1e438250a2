"""Sites of a test's own: what a small study has measured there, as files, and the export of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.layout import (
    PROFILES,
    checkpoint_directory,
    confirmation_file,
    inventory_file,
    model_directory,
    probe_file,
)
from hwfit.matrix import Plan
from hwfit.records import Profile, profile_path, read_json, write_json
from hwfit.sites.lay import import_site
from hwfit.sites.merge import Party, merged
from hwfit.sites.write import write_export
from studies import make_plan

WEIGHTS = "a" * 64


def measure(
    directory: Path,
    *,
    site: str = "gpu-box",
    weights: str = WEIGHTS,
    artifact_weights: str = WEIGHTS,
    pace_ms: float = 2.0,
    is_confirmed: bool = False,
    **study: Any,
) -> Plan:
    """Leave behind what a run of a study would: its plan, records, cards and inventories."""
    plan = make_plan(site=site, **study)
    data = plan.to_dict()
    write_json(directory / "results/plan.json", data)
    measured = Party(site, data["study"], [], {})
    for cell in plan.cells:
        for batch_size in plan.batch_sizes[cell]:
            for round in (0, 1) if is_confirmed else (0,):
                profile = Profile(
                    *asdict(cell).values(),
                    batch_size,
                    round,
                    "ok",
                    metrics={
                        "latency_p50_ms": pace_ms,
                        "throughput_samples_per_s": batch_size / pace_ms * 1e3,
                        "accuracy": 0.98,
                        "fidelity": 1.0,
                    },
                    fingerprints={
                        "subject": "subject",
                        "protocol": measured.protocol(cell.model, cell.scenario),
                    },
                    context={"host": site},
                    details={"median_standard_error": 0.001},
                )
                path = profile_path(directory / PROFILES, cell, round, batch_size)
                write_json(path, profile.to_dict())
                np.savez_compressed(path.with_suffix(".npz"), durations_s=np.full(40, pace_ms / 1e3))
        artifact = plan.artifact(cell.optimization)
        write_model(directory / model_directory(cell.model), plan.study.models[cell.model].task, weights)
        if artifact:
            task = plan.study.models[cell.model].task
            write_model(directory / checkpoint_directory(cell.model, artifact), task, artifact_weights)
    for device in plan.devices:
        write_json(directory / inventory_file(device), {"device": device, "name": f"chip of {site}"})
        write_json(directory / probe_file(device), {"status": "ok"})
        cells = [cell for cell in plan.cells if cell.device == device and is_confirmed]
        entries = [
            {"cell": asdict(cell), "batch_size": size, "rounds": [1]}
            for cell in cells
            for size in plan.batch_sizes[cell]
        ]
        write_json(directory / confirmation_file(device), {"device": device, "contenders": entries})
    return plan


def write_model(folder: Path, task: str, weights: str) -> None:
    """A model's or an artifact's folder; the card says what was made, whatever the file holds."""
    sums = {"weights_sha256": weights, "evaluation_sha256": "e" * 64}
    write_json(folder / "card.json", {"status": "ok", "task": task, "source": {"zoo": "lenet-5"}} | sums)
    (folder / "weights.safetensors").write_bytes(weights.encode())


def export_of(directory: Path, **measured: Any) -> Path:
    """The export of a site that has measured a study."""
    measure(directory, **measured)
    output = directory / "export.zip"
    write_export(read_json(directory / "results/plan.json"), output, directory=directory)
    return output


def merge_into(directory: Path, *exports: Path) -> dict[str, Any]:
    """The merged plan of a directory that has measured a study itself, its records beside the others'."""
    plan = read_json(directory / "results/plan.json")
    cards = {
        path.parent.relative_to(directory / "results").as_posix(): read_json(path)
        for path in (directory / "results").glob("*/**/card.json")
    }
    return merged(plan, [import_site(export, directory) for export in exports], cards)
