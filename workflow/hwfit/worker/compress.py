"""Artifact passes: a compressed checkpoint, made once for every device, runtime and batch size."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.records import SCHEMA_VERSION, checksums, file_sha256, read_json, write_bytes, write_record
from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import module_of, parameters

WEIGHTS = "weights.safetensors"


def compress(
    name: str, passes: Sequence[Mapping[str, Any]], source: Path, out: Path, data: Path | None = None
) -> None:
    """Apply passes in order to a model's checkpoint; writes weights.safetensors, then card.json.

    Parameters
    ----------
    source : directory of the prepared model
    data : the .npz file that it was prepared from, for passes that retrain; None where there is none
    """
    from safetensors.numpy import load_file, save

    started = time.perf_counter()
    card = read_json(source / "card.json")
    if card["status"] != "ok":
        write_record(out / "card.json", card)
        return
    checkpoint = Checkpoint(load_file(source / WEIGHTS), card, source, data, out)
    shapes = {key: array.shape for key, array in checkpoint.arrays.items()}
    steps = [applied(step, checkpoint, name) for step in passes]
    content = save(checkpoint.arrays, told_of_shapes(shapes, checkpoint.arrays))
    path = out / WEIGHTS
    write_bytes(path, content)
    files = checkpoint.files or [WEIGHTS]
    write_record(
        out / "card.json",
        {
            "schema_version": SCHEMA_VERSION,
            "status": "ok",
            "reason": "",
            "model": name,
            "passes": list(passes),
            "steps": steps,
            "seconds": time.perf_counter() - started,
            **counted(checkpoint),
            "weights_sha256": file_sha256(path),
            "files": files,
            "sha256": checksums(out, {WEIGHTS, *files}),
            "file_bytes": sum((out / file).stat().st_size for file in files),
            "deflated_bytes": len(zlib.compress(content, 6)),
        },
    )


def applied(step: Mapping[str, Any], checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    """Let a pass act on a checkpoint; returns its name, its seconds, and what else it says of itself.

    Raises Unsupported where it changed nothing.
    """
    started, before = time.perf_counter(), checkpoint.arrays
    checkpoint.facts, checkpoint.files = {}, []
    module_of(step).apply(checkpoint, **parameters(step))
    if before.keys() == checkpoint.arrays.keys() and all(
        np.array_equal(before[key], checkpoint.arrays[key]) for key in before
    ):
        raise Unsupported(f"{step['pass']} finds nothing to change in {name}")
    return {"pass": step["pass"], "seconds": time.perf_counter() - started} | checkpoint.facts


def told_of_shapes(
    shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray]
) -> dict[str, str] | None:
    """What the file says of itself where its arrays have other shapes than the network's definition."""
    if all(array.shape == shapes.get(key) for key, array in arrays.items()):
        return None
    from hwfit.worker import fitting

    return fitting.METADATA


def counted(checkpoint: Checkpoint) -> dict[str, Any]:
    """Parameters of the network as it is now, and its operations where passes cut parts out of it."""
    arrays, card = checkpoint.arrays, checkpoint.card
    parameters = [arrays[name] for name in card["parameter_names"] if name in arrays]
    found: dict[str, Any] = {
        "parameters": sum(array.size for array in parameters),
        "nonzero_parameters": sum(int(np.count_nonzero(array)) for array in parameters),
    }
    if found["parameters"] != card["parameters"] and card["task"] != "generation":
        from hwfit.worker import counts, live_bytes

        module, inputs = checkpoint.module(), checkpoint.evaluation.inputs
        found["flops_per_sample"] = counts.flops(module, inputs)
        found["activation_bytes_per_sample"] = counts.activation_bytes(module, inputs)
        found |= live_bytes.peak_activation_bytes(module, inputs)
    return found
