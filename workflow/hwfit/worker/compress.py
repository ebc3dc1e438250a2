"""Artifact passes: a compressed checkpoint, made once for every device, runtime and batch size."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.records import SCHEMA_VERSION, file_sha256, read_json, write_bytes, write_json
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import artifact_pass


def compress(name: str, passes: Sequence[Mapping[str, Any]], source: Path, out: Path) -> None:
    """Apply passes in order to a model's checkpoint; writes weights.safetensors, then card.json."""
    from safetensors.numpy import load_file, save

    started = time.perf_counter()
    card = read_json(source / "card.json")
    if card["status"] != "ok":
        write_json(out / "card.json", card)
        return
    arrays = load_file(source / "weights.safetensors")
    for step in passes:
        changed = artifact_pass(step).apply(arrays, **{k: v for k, v in step.items() if k != "pass"})
        if all(np.array_equal(changed[key], arrays[key]) for key in arrays):
            raise Unsupported(f"{step['pass']} finds nothing to change in {name}")
        arrays = changed
    content = save(arrays)
    path = out / "weights.safetensors"
    write_bytes(path, content)
    write_json(
        out / "card.json",
        {
            "schema_version": SCHEMA_VERSION,
            "status": "ok",
            "reason": "",
            "model": name,
            "passes": list(passes),
            "seconds": time.perf_counter() - started,
            "parameters": card["parameters"],
            "nonzero_parameters": sum(
                int(np.count_nonzero(arrays[name])) for name in card["parameter_names"] if name in arrays
            ),
            "weights_sha256": file_sha256(path),
            "file_bytes": len(content),
            "deflated_bytes": len(zlib.compress(content, 6)),
        },
    )
