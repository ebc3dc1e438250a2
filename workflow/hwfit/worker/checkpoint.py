"""What artifact passes act on: a model's checkpoint, and what they need to judge and retrain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker import models, user_data
from hwfit.worker.errors import Unsupported

# Of the training data, what is held out to choose by: the test data decide nothing.
VALIDATION_SHARE = 0.1
VALIDATION_SEED = 0


@dataclass
class TrainingSet:
    """Labelled inputs as torch tensors, first axis the samples; those of validation are not trained on."""

    x_train: Any
    y_train: Any
    x_validation: Any
    y_validation: Any


@dataclass
class Checkpoint:
    """A model's weights on their way through artifact passes.

    Attributes
    ----------
    arrays : the weights by torch's names, in torch's layouts
    card : the model's card, as `prepare` wrote it
    source : directory of the prepared model
    data : the .npz file that the model was prepared from; None where it has none
    out : directory for what a pass writes beside the weights
    facts : what the artifact's card keeps of the pass that is acting
    files : names in `out` whose bytes are the model's size on disk; empty: those of the weights themselves
    """

    arrays: dict[str, np.ndarray]
    card: Mapping[str, Any]
    source: Path
    data: Path | None
    out: Path
    facts: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def module(self) -> Any:
        """A torch module with these weights, in evaluation mode."""
        module = models.torch_network(self.card["source"], self.card["task"])
        models.load_arrays_into(module, self.arrays)
        return module.eval()

    def take(self, module: Any) -> None:
        """Take over a torch module's weights."""
        state = module.state_dict()
        self.arrays = {name: state[name].detach().cpu().numpy().copy() for name in self.arrays}

    def training(self) -> TrainingSet:
        """The labelled training data, a stratified tenth of it held out for validation.

        Raises Unsupported where the model has none, or none that a tenth can be held out of, and where it is
        no classifier of one input.
        """
        import torch

        if self.card["task"] != "classification":
            raise Unsupported(
                f"retraining is for classification, and this model's task is {self.card['task']}"
            )
        if len(self.card["inputs"]) != 1:
            raise Unsupported(
                f"retraining is for models of one input, and this one has {len(self.card['inputs'])}"
            )
        dataset = user_data.read(self.data) if self.data else {}
        if not {"x_train", "y_train"} <= set(dataset):
            raise Unsupported(
                "retraining needs labelled training data (x_train and y_train), which this model's data lack"
            )
        # In the formats that the evaluated inputs and a loss take, whatever numpy made of the user's.
        kind = np.dtype(self.card["inputs"][0]["dtype"])
        x = torch.from_numpy(np.ascontiguousarray(dataset["x_train"], dtype=kind))
        y = torch.from_numpy(np.ascontiguousarray(dataset["y_train"], dtype=np.int64))
        held_out = stratified(dataset["y_train"], VALIDATION_SHARE, VALIDATION_SEED)
        if not held_out.any():
            raise Unsupported(
                f"a tenth of the training data is held out, and of {len(y)} samples in "
                f"{len(np.unique(dataset['y_train']))} classes none is left for it: six of a class are needed"
            )
        return TrainingSet(x[~held_out], y[~held_out], x[held_out], y[held_out])

    @cached_property
    def evaluation(self) -> Any:
        """The samples that cells are evaluated on: to run the network on, never to choose by."""
        from hwfit.worker.evaluation_set import EvaluationSet

        return EvaluationSet(self.source / "evaluation.npz")


def stratified(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A mask of about a share of the samples, the same of each class."""
    generator = np.random.default_rng(seed)
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mask[generator.permutation(members)[: round(share * len(members))]] = True
    return mask
