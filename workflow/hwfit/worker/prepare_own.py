"""The reference of a callable of another framework than torch: its own runtime in fp32 on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker import runtimes

REFERENCE_BATCH = 32


def of_own_runtime(
    model: Mapping[str, Any], card: Mapping[str, Any], inputs: Mapping[str, np.ndarray], out: Path
) -> tuple[np.ndarray, dict[str, Any]]:
    """Its fp32 outputs for all samples by the first runtime that it has a source for, and what its card says.

    There is no checkpoint: the callable brings its weights, the same each time it is called.
    """
    name, source = next(iter(model["sources"].items()))
    runtime = runtimes.load(name)
    runtime.describe("cpu", 0)
    request = runtimes.Request(source, model["task"], out / "weights.safetensors", card, "cpu")
    session = runtime.open_session(request)
    samples = len(next(iter(inputs.values())))
    size = min(REFERENCE_BATCH, samples)
    found = []
    for start in range(0, samples, size):
        # Whole batches: a graph is compiled for each size.
        rows = np.arange(start, start + size) % samples
        batch = {key: array[rows] for key, array in inputs.items()}
        found.append(session.fetch(session.run(session.place(batch)))[: samples - start])
    told = {"source": source, "reference_runtime": name, "parameters": session.parameters()}
    return np.concatenate(found), told
