"""LeNet-300-100, two hidden dense layers (LeCun et al., 1998): 266,610 weights."""

from __future__ import annotations

from hwfit.worker.zoo import layers
from hwfit.worker.zoo.lenet_5 import evaluation_inputs

__all__ = ["evaluation_inputs"]

TOLERANCE = 1e-4
IS_TRAINED_HERE = True
PROVENANCE = "trained by hwfit on its data set"
INPUT_SHAPE = (1, 28, 28)
LAYERS = (
    layers.Flatten(),
    layers.Dense("fc1", 784, 300),
    layers.ReLU(),
    layers.Dense("fc2", 300, 100),
    layers.ReLU(),
    layers.Dense("fc3", 100, 10),
)
