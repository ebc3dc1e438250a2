"""A multilayer perceptron of two dense layers, 1000 to 1000 to 1000: the guide's smallest model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwfit.worker.zoo import layers

TOLERANCE = 1e-4
IS_TRAINED_HERE = False
PROVENANCE = "untrained: torch's initial weights, seed 0; it is measured for its speed and fidelity alone"
INPUT_SHAPE = (1000,)
LAYERS = (layers.Dense("fc1", 1000, 1000), layers.ReLU(), layers.Dense("fc2", 1000, 1000))


def evaluation_inputs(dataset: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], None]:
    """Patches (n, 1000) as they are; there are no labels."""
    return {"x": dataset["x"]}, None
