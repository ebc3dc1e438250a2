"""What a run trains on, what it is judged by on the way, and what it is tested on at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker import user_data, zoo
from hwfit.worker.checkpoint import VALIDATION_SEED, VALIDATION_SHARE, stratified
from hwfit.worker.errors import Unavailable, Unsupported

TRAINABLE_TASKS = ("classification", "generation")
# Of a text, the end: its last tenth.
LEAST_WINDOWS = 2


@dataclass(frozen=True)
class TrainingData:
    """Samples and what is to be learnt of each, in torch's layouts.

    `train`, `validation` and `test` are each (inputs, labels): of a classifier inputs (n, ...) and labels
    (n,), of a language model tokens (n, length) and the token after each, (n, length). `test` may be None.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray] | None

    @property
    def samples(self) -> int:
        return len(self.train[0])

    def require_batch(self, batch_size: int) -> None:
        """Raises Unsupported where there are fewer samples than a batch takes."""
        if self.samples < batch_size:
            raise Unsupported(
                f"a batch takes {batch_size} samples, and there are {self.samples} to train on (a tenth is "
                "held out to judge by): take a smaller batch or more data"
            )

    def require_labels(self, classes: int, where: str) -> None:
        """Raises Unsupported where a label is none of the network's classes, or all are the same."""
        sets = {"training": self.train, "validation": self.validation, "test": self.test}
        for name, pair in sets.items():
            labels = pair[1] if pair else np.zeros(0, np.int64)
            wrong = labels[(labels < 0) | (labels >= classes)]
            if wrong.size:
                raise Unsupported(
                    f"{where}: {wrong.size} of the {labels.size} {name} labels are outside of 0 to "
                    f"{classes - 1}, the network's outputs; the first is {wrong.flat[0]}"
                )
        if (self.train[1] == self.train[1].flat[0]).all():
            raise Unsupported(
                f"{where}: all {self.train[1].size} training labels are {self.train[1].flat[0]}: there is "
                "nothing to tell apart"
            )


def read(path: Path, task: str, source: Mapping[str, Any]) -> TrainingData:
    """Read and part a model's data.

    Raises Unsupported where they are none to train on, Unavailable where they could not be had.
    """
    if task not in TRAINABLE_TASKS:
        raise Unsupported(
            f"what is trained are models of {' and '.join(TRAINABLE_TASKS)}; this one's task is {task}"
        )
    dataset = user_data.read(path)
    if "unavailable" in dataset:
        raise Unavailable(str(dataset["unavailable"]))
    definition = zoo.model(source["zoo"]) if "zoo" in source else None
    of_task = of_text if task == "generation" else of_labels
    data = of_task(dataset, definition, path)
    for name, (inputs, _) in {"x_train": data.train, "x_validation": data.validation}.items():
        user_data.require_sound({name: inputs}, str(path))
    return data


def of_labels(dataset: Mapping[str, np.ndarray], definition: Any, path: Path) -> TrainingData:
    """Labelled samples; of those to train on, a tenth of each class is held out for validation."""
    if not {"x_train", "y_train"} <= set(dataset):
        raise Unsupported(
            f"{path}: training needs x_train and y_train; the data have {', '.join(dataset) or 'no array'}"
        )
    inputs, labels = arrays_of(dataset, "train", definition, path)
    held_out = stratified(labels, VALIDATION_SHARE, VALIDATION_SEED)
    if not held_out.any():
        raise Unsupported(
            f"{path}: a tenth of the training data is held out to judge by, and of {len(labels)} samples in "
            f"{len(np.unique(labels))} classes none is left for it: six of a class are needed"
        )
    has_test = {"x_test", "y_test"} <= set(dataset)
    return TrainingData(
        (inputs[~held_out], labels[~held_out]),
        (inputs[held_out], labels[held_out]),
        arrays_of(dataset, "test", definition, path) if has_test else None,
    )


def arrays_of(
    dataset: Mapping[str, np.ndarray], part: str, definition: Any, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """A part's inputs as the network takes them, and its labels as whole numbers (n,)."""
    inputs, labels = dataset[f"x_{part}"], dataset[f"y_{part}"]
    if len(inputs) != len(labels) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise Unsupported(
            f"{path}: y_{part} is {labels.dtype} {labels.shape}; a whole number is needed for each of the "
            f"{len(inputs)} samples of x_{part}"
        )
    if definition is not None:
        # Under every name that a definition may look for: it prepares images as in inference.
        named = {"x_test": inputs, "y_test": labels, "images": inputs, "labels": labels}
        prepared, _ = definition.evaluation_inputs(named)
        if len(prepared) != 1:
            taken = ", ".join(prepared)
            raise Unsupported(f"what is trained are models of one input; this one takes {taken}")
        (inputs,) = prepared.values()
    if inputs.dtype == np.float64:
        inputs = inputs.astype(np.float32)
    return np.ascontiguousarray(inputs), labels.astype(np.int64)


def of_text(dataset: Mapping[str, np.ndarray], definition: Any, path: Path) -> TrainingData:
    """Windows of a text, each beginning where the one before ends; the last tenth is held out."""
    if not hasattr(definition, "training_tokens"):
        raise Unsupported(
            "hwfit trains language models that it defines with their tokens (byte-decoder); "
            "this one comes with weights and a tokenizer of its own"
        )
    if "texts" not in dataset:
        raise Unsupported(f"{path} holds no texts; it holds {', '.join(dataset) or 'nothing'}")
    tokens = definition.training_tokens(dataset)
    length = definition.ARCHITECTURE.max_position_embeddings
    count = (len(tokens) - 1) // length
    if count < LEAST_WINDOWS:
        raise Unsupported(f"{path}: the text has {len(tokens)} tokens, too few for two windows of {length}")
    inputs = tokens[: count * length].reshape(count, length)
    following = tokens[1 : count * length + 1].reshape(count, length)
    held_out = max(1, round(VALIDATION_SHARE * count))
    following = following.astype(np.int64)
    return TrainingData(
        (inputs[:-held_out], following[:-held_out]), (inputs[-held_out:], following[-held_out:]), None
    )
