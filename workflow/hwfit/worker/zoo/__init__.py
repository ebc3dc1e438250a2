"""The models that hwfit brings: one module a model, found by its name with underscores.

A module has
- `LAYERS` and `INPUT_SHAPE` (see `layers`), from which the same network is built in each framework; or
  `torch_module()`, where it comes in torch alone: the network with its published weights; and where these
  come from a package, `torch_network()`: the network alone;
- `evaluation_inputs(dataset)`: from a data set's arrays to ({input name: array in torch's layout}, labels
  or None);
- `TOLERANCE`: the largest difference between frameworks in fp32, over the largest value;
- `PROVENANCE`: where definition and weights come from;
- `IS_TRAINED_HERE`: whether `prepare` trains it on its data;
- where it stays untrained and is deep, `settle(module, inputs)`, by which `prepare` makes its outputs depend
  on its inputs (see `settling`).

A language model has, instead of `evaluation_inputs`, `published()`, which fetches its weights: the module
with them, and its tokenizer. Its `torch_module()` leaves the weights to a checkpoint. One that can be trained
has `ARCHITECTURE` and `training_tokens(dataset)`, its tokens as one row.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


def model(name: str) -> ModuleType:
    """The module of a zoo model."""
    return importlib.import_module(f"hwfit.worker.zoo.{name.replace('-', '_')}")


def torch_module(name: str) -> Any:
    """A zoo model in torch, with its initial or published weights."""
    definition = model(name)
    if not hasattr(definition, "LAYERS"):
        return definition.torch_module()
    from hwfit.worker.zoo import torch_layers

    return torch_layers.build(definition.LAYERS)


def torch_network(name: str) -> Any:
    """A zoo model in torch, with weights that are to be replaced."""
    definition = model(name)
    return definition.torch_network() if hasattr(definition, "torch_network") else torch_module(name)
