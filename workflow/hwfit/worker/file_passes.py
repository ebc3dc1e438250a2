"""File passes: the file that one runtime loads, made once for all its devices, rounds and batch sizes."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.catalog import weights_file
from hwfit.records import SCHEMA_VERSION, checksums, file_sha256, read_json, write_record
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import module_of, parameters


@dataclass
class Workpiece:
    """A model in the form in which a runtime loads it, and what a file pass makes of it.

    Attributes
    ----------
    weights : the file as it is so far: a safetensors checkpoint, or ONNX
    source : of the model in this runtime, as models.yaml has it
    card : the model's card, as `prepare` wrote it
    calibration : inputs by name, in torch's layout, first axis the samples
    out : directory for the new file, and whatever belongs to it
    facts : what the artifact's card keeps of the pass
    """

    weights: Path
    source: Mapping[str, Any]
    card: Mapping[str, Any]
    calibration: Mapping[str, np.ndarray]
    out: Path
    facts: dict[str, Any] = field(default_factory=dict)

    def batches(self, size: int, most: int) -> list[dict[str, np.ndarray]]:
        """The calibration's samples in whole batches, `most` samples at most, one batch at least."""
        there = len(next(iter(self.calibration.values())))
        count = min(most, there)
        # Spread over all, as data may be sorted by class.
        chosen = np.arange(count) * there // count
        starts = range(0, max(count - size + 1, 1), size)
        rows = [chosen[np.arange(start, start + size) % count] for start in starts]
        return [{name: array[each] for name, array in self.calibration.items()} for each in rows]


def make_file(
    name: str,
    runtime: str,
    passes: Sequence[Mapping[str, Any]],
    source: Path,
    weights: Path,
    out: Path,
    model: Mapping[str, Any] | None = None,
) -> None:
    """Apply file passes in order, in the runtime's environment; writes a file, then card.json.

    Parameters
    ----------
    source : directory of the prepared model
    weights : directory of what the runtime would load without these passes
    model : as models.yaml has it; None where the prepared model's source is the runtime's too

    Raises Unsupported where the runtime's quantizer cannot do it.
    """
    started = time.perf_counter()
    card, before = read_json(source / "card.json"), read_json(weights / "card.json")
    for told in (card, before):
        if told["status"] != "ok":
            write_record(out / "card.json", told)
            return
    with np.load(source / "calibration.npz") as stored:
        calibration = {entry: stored[entry] for entry in stored.files}
    origin = (model or {}).get("sources", {}).get(runtime) or card["source"]
    piece = Workpiece(weights / weights_file(runtime), origin, card, calibration, out)
    steps = []
    for step in passes:
        began, piece.facts = time.perf_counter(), {}
        # It returns the name of the file that is to be loaded; all that lies in `out` belongs to it.
        piece.weights = out / made_by(step, runtime, piece)
        steps.append({"pass": step["pass"], "seconds": time.perf_counter() - began} | piece.facts)
    files = sorted(path.name for path in out.iterdir() if path.is_file() and path.name != "card.json")
    write_record(
        out / "card.json",
        {key: before[key] for key in KEPT if key in before}
        | {
            "schema_version": SCHEMA_VERSION,
            "status": "ok",
            "reason": "",
            "model": name,
            "passes": [*before.get("passes", []), *passes],
            "steps": [*before.get("steps", []), *steps],
            "seconds": time.perf_counter() - started,
            "calibration": card.get("calibration"),
            "weights_sha256": [file_sha256(out / file) for file in files],
            "file": piece.weights.name,
            "files": files,
            "sha256": checksums(out, files),
            "file_bytes": sum((out / file).stat().st_size for file in files),
        },
    )


def made_by(step: Mapping[str, Any], runtime: str, piece: Workpiece) -> str:
    """The name of the file that a pass has made. Raises Unsupported for whatever a quantizer raises."""
    try:
        return getattr(module_of(step), runtime)(piece, **parameters(step))
    except (Unsupported, MemoryError):
        raise
    except ImportError as error:
        raise Unsupported(f"{step['pass']} needs {error.name} in the environment of {runtime}") from error
    except Exception as error:
        traceback.print_exc()
        said = (str(error).strip().splitlines() or ["no message"])[0]
        raise Unsupported(f"{runtime} cannot quantize it: {type(error).__name__}: {said}") from error


# What stays true of a network whose numbers were made narrower.
KEPT = (
    "parameters",
    "nonzero_parameters",
    "flops_per_sample",
    "activation_bytes_per_sample",
    "peak_activation_bytes_per_sample",
    "fused_activation_bytes_per_sample",
)
