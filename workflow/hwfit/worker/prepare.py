"""A model's checkpoint, evaluation set and card, made once in an environment with torch."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwfit.records import SCHEMA_VERSION, file_sha256, write_bytes, write_json
from hwfit.worker import hugging_face, models, outputs, zoo

TRAINING = {"epochs": 30, "seed": 0}
TRAINING_BATCH = 128
LEARNING_RATE = 1e-3
REFERENCE_BATCH = 32
CALLABLE_TOLERANCE = 1e-3


def prepare(name: str, model: Mapping[str, Any], data: Path, out: Path, code: Sequence[Path] = ()) -> None:
    """Write weights.safetensors, evaluation.npz and, last, card.json.

    A model that has no torch source builds itself in its own runtime: its card then has no checkpoint
    and no reference, and its own labels, if any, speak for it.

    Parameters
    ----------
    code : files of the user's callables, whose content is part of what is measured
    """
    sources = model["sources"]
    # Where several runtimes load one checkpoint, it is torch's.
    shared = (s for s in sources.values() if s.get("zoo") or s.get("huggingface"))
    source = sources.get("torch") or next(shared, None)
    definition = zoo.model(source["zoo"]) if source and "zoo" in source else None
    with np.load(data) as stored:
        dataset = {key: stored[key] for key in stored.files}
    if "unavailable" in dataset:
        write_json(
            out / "card.json",
            {
                "schema_version": SCHEMA_VERSION,
                "status": "unavailable",
                "reason": str(dataset["unavailable"]),
            },
        )
        return
    is_generation = model["task"] == "generation"
    inputs, labels = ({}, None) if is_generation else evaluation_set(dataset, definition, source, name, data)
    card: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "status": "ok",
        "reason": "",
        "model": name,
        "task": model["task"],
        "source": source,
        "inputs": [{"name": k, "dtype": str(v.dtype), "shape": list(v.shape[1:])} for k, v in inputs.items()],
        "samples": len(next(iter(inputs.values()), ())),
        "labelled": labels is not None,
        "provenance": getattr(definition, "PROVENANCE", "the user's own"),
        "parameters": None,
        "flops_per_sample": None,
        "reference_accuracy": None,
        "tolerance": getattr(definition, "TOLERANCE", CALLABLE_TOLERANCE),
        "training": None,
        "code_sha256": [file_sha256(path) for path in code],
    }
    arrays = dict(inputs)
    if labels is not None:
        arrays["labels"] = labels
    if source and is_generation:
        from hwfit.worker.generation import reference

        module, tokenizer = reference.language_model(source)
        arrays, facts = reference.describe(module, tokenizer, dataset, str(data))
        card |= facts | save_checkpoint(module, out)
    elif source:
        training = TRAINING | (model.get("training") or {})
        torch.manual_seed(training["seed"])
        module = models.torch_module(source, model["task"])
        if definition is not None and definition.IS_TRAINED_HERE:
            card["training"] = train(module, dataset, **training)
        module.eval()
        predicted = predict(module, inputs)
        arrays["reference"] = predicted
        if model["task"] == "classification":
            outputs.require_classes(predicted, labels, str(data))
            if labels is not None:
                card["reference_accuracy"] = outputs.accuracy(predicted, labels)
        card["output_shape"] = list(predicted.shape[1:])
        card["flops_per_sample"] = count_flops(module, inputs)
        card |= save_checkpoint(module, out)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_bytes(out / "evaluation.npz", content.getvalue())
    card["evaluation_sha256"] = file_sha256(out / "evaluation.npz")
    write_json(out / "card.json", card)


def save_checkpoint(module: Any, out: Path) -> dict[str, Any]:
    """Write weights.safetensors; returns what the card says of it."""
    from safetensors.torch import save_file, save_model

    parameters, arrays = dict(module.named_parameters()), module.state_dict()
    tied = arrays.keys() - parameters.keys() - dict(module.named_buffers()).keys()
    if tied:
        # By the name that torch knows them by first, as Hugging Face's own checkpoints have them.
        kept = {name: array.contiguous() for name, array in arrays.items() if name not in tied}
        save_file(kept, out / "weights.safetensors")
    else:
        save_model(module, str(out / "weights.safetensors"))
    return {
        "parameters": sum(p.numel() for p in parameters.values()),
        "nonzero_parameters": sum(int(p.count_nonzero()) for p in parameters.values()),
        "parameter_names": list(parameters),
        "weights_sha256": file_sha256(out / "weights.safetensors"),
    }


def evaluation_set(
    dataset: Mapping[str, np.ndarray],
    definition: Any,
    source: Mapping[str, Any] | None,
    name: str,
    data: Path,
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The inputs by name, in torch's layout, and the labels if there are any.

    Raises ValueError where a user's file holds no array, or arrays of different lengths.
    """
    if definition is not None:
        try:
            return definition.evaluation_inputs(dataset)
        except KeyError as error:
            raise ValueError(f"{data} has no array {error}, which {name} needs") from error
    if source and "huggingface" in source and "texts" in dataset:
        tokenizer = hugging_face.tokenizer(source)
        if tokenizer is None:
            raise ValueError(f"{data} holds texts, and {source['huggingface']} has no tokenizer")
        return hugging_face.text_inputs(dataset, tokenizer), dataset.get("labels")
    inputs = {key: as_float32(value) for key, value in dataset.items() if key != "labels"}
    if not inputs:
        raise ValueError(f"{data} holds no input array")
    if "reference" in inputs:
        raise ValueError(f"{data}: an input cannot be called reference, which the fp32 outputs are called")
    lengths = {key: len(value) for key, value in dataset.items()}
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        raise ValueError(f"{data}: the arrays differ in length, or are empty: {lengths}")
    return inputs, dataset.get("labels")


def as_float32(array: np.ndarray) -> np.ndarray:
    """The array, in single precision where it is in double: numpy's default, and no model's."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


def train(module: Any, dataset: Mapping[str, np.ndarray], epochs: int, seed: int) -> dict[str, Any]:
    """Train a classifier with Adam on the training split; returns what was done, with its seconds."""
    started = time.perf_counter()
    inputs, labels = (torch.from_numpy(dataset[key]) for key in ("x_train", "y_train"))
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    module.train()
    loss = torch.zeros(())
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(TRAINING_BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    return {
        "optimizer": "adam",
        "learning_rate": LEARNING_RATE,
        "batch_size": TRAINING_BATCH,
        "epochs": epochs,
        "seed": seed,
        "final_loss": float(loss),
        "seconds": time.perf_counter() - started,
    }


@torch.inference_mode()
def predict(module: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The fp32 outputs on the CPU for all samples. Raises ValueError where they are not one tensor."""
    found = []
    for start in range(0, len(next(iter(inputs.values()))), REFERENCE_BATCH):
        batch = [torch.from_numpy(array[start : start + REFERENCE_BATCH]) for array in inputs.values()]
        output = module(*batch)
        if not isinstance(output, torch.Tensor):
            raise ValueError(f"the model returned a {type(output).__name__}, not one tensor")
        found.append(output.float().numpy())
    return np.concatenate(found)


@torch.inference_mode()
def count_flops(module: Any, inputs: Mapping[str, np.ndarray]) -> int:
    """FLOPs of one sample by torch's counter, multiply and add counted as two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(*[torch.from_numpy(array[:1]) for array in inputs.values()])
    return counter.get_total_flops()
