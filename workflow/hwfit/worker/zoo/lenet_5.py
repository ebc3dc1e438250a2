"""LeNet-5 as in Caffe and in Deep Compression (Han, Mao, Dally, 2015): 431,080 weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwfit.worker.zoo import layers

TOLERANCE = 1e-4
IS_TRAINED_HERE = True
PROVENANCE = "trained by hwfit on its data set"
INPUT_SHAPE = (1, 28, 28)
LAYERS = (
    layers.Convolution("conv1", 1, 20, 5),
    layers.MaxPool(2),
    layers.Convolution("conv2", 20, 50, 5),
    layers.MaxPool(2),
    layers.Flatten(),
    layers.Dense("fc1", 800, 500),
    layers.ReLU(),
    layers.Dense("fc2", 500, 10),
)


def evaluation_inputs(dataset: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The test images (n, 1, 28, 28) and their labels."""
    return {"x": dataset["x_test"]}, dataset["y_test"]
