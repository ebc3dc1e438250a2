"""The models that hwfit brings: one module a model, found by its name with underscores.

A module has
- `torch_module()`: the network with its initial or published weights, in evaluation mode;
- `evaluation_inputs(dataset)`: from a data set's arrays to ({input name: array in torch's layout}, labels
  or None);
- `TOLERANCE`: the largest difference between frameworks in fp32, over the largest value;
- `PROVENANCE`: where definition and weights come from;
and, where other frameworks have it, `LAYERS` and `INPUT_SHAPE` (see `layers`), from which the same
network is built in each of them. `IS_TRAINED_HERE` says that `prepare` trains it on its data.

A language model has, instead of `evaluation_inputs`, `published()`, which fetches its weights: the module
with them, and its tokenizer. Its `torch_module()` leaves the weights to a checkpoint.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def model(name: str) -> ModuleType:
    """The module of a zoo model."""
    return importlib.import_module(f"hwfit.worker.zoo.{name.replace('-', '_')}")
