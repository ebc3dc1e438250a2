"""AlexNet in its one-column form (Krizhevsky, *One weird trick*, 2014), as torchvision has it: 61,100,840
weights under torchvision's names. Dropout, which inference has not, is left out, and so is torchvision's
pooling to 6x6, which is what an image of 224x224 comes to.
"""

from __future__ import annotations

from hwfit.worker.zoo import layers
from hwfit.worker.zoo.photographs import INPUT_SHAPE, evaluation_inputs
from hwfit.worker.zoo.settling import PROVENANCE, settle

__all__ = ["INPUT_SHAPE", "PROVENANCE", "evaluation_inputs", "settle"]

TOLERANCE = 1e-3
IS_TRAINED_HERE = False
LAYERS = (
    layers.Block(
        "features",
        (
            layers.Convolution("0", 3, 64, 11, stride=4, padding=2),
            layers.ReLU(),
            layers.MaxPool(3, stride=2),
            layers.Convolution("3", 64, 192, 5, padding=2),
            layers.ReLU(),
            layers.MaxPool(3, stride=2),
            layers.Convolution("6", 192, 384, 3, padding=1),
            layers.ReLU(),
            layers.Convolution("8", 384, 256, 3, padding=1),
            layers.ReLU(),
            layers.Convolution("10", 256, 256, 3, padding=1),
            layers.ReLU(),
            layers.MaxPool(3, stride=2),
        ),
    ),
    layers.Flatten(),
    layers.Block(
        "classifier",
        (
            layers.Dense("1", 9216, 4096),
            layers.ReLU(),
            layers.Dense("4", 4096, 4096),
            layers.ReLU(),
            layers.Dense("6", 4096, 1000),
        ),
    ),
)
