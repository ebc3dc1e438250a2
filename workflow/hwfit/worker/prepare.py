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
from hwfit.worker import counts, hugging_face, models, outputs, zoo
from hwfit.worker.onnx_model import OnnxModel
from hwfit.worker.weights import load_weights

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
    code : the user's files, of callables or of weights, whose content is part of what is measured
    """
    sources = model["sources"]
    # Where several runtimes load one checkpoint, it is torch's.
    shared = (s for s in sources.values() if s.get("zoo") or s.get("huggingface") or s.get("onnx"))
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
        "inputs": described(inputs),
        "samples": len(next(iter(inputs.values()), ())),
        "labelled": labels is not None,
        "provenance": getattr(definition, "PROVENANCE", "the user's own"),
        "parameters": None,
        "weight_bytes": None,
        "flops_per_sample": None,
        "activation_bytes_per_sample": None,
        "reference_accuracy": None,
        "tolerance": getattr(definition, "TOLERANCE", CALLABLE_TOLERANCE),
        "training": None,
        "code_sha256": [file_sha256(path) for path in code],
    }
    arrays = dict(inputs)
    if labels is not None:
        arrays["labels"] = labels
    predicted: np.ndarray | None = None
    if source and is_generation:
        from hwfit.worker.generation import reference

        module, tokenizer = reference.language_model(source)
        arrays, facts = reference.describe(module, tokenizer, dataset, str(data))
        card |= facts | save_checkpoint(module, out)
    elif source and "onnx" in source:
        predicted, told = of_onnx_file(Path(source["onnx"]), inputs)
        card |= told
    elif source:
        predicted, told = of_torch_module(source, definition, model, dataset, inputs, out)
        card |= told
    if predicted is not None:
        arrays["reference"] = predicted
        card["output_shape"] = list(predicted.shape[1:])
        if model["task"] == "classification":
            outputs.require_classes(predicted, labels, str(data))
            if labels is not None:
                card["reference_accuracy"] = outputs.accuracy(predicted, labels)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_bytes(out / "evaluation.npz", content.getvalue())
    card["evaluation_sha256"] = file_sha256(out / "evaluation.npz")
    write_json(out / "card.json", card)


def save_checkpoint(module: Any, out: Path) -> dict[str, Any]:
    """Write weights.safetensors; returns what the card says of it."""
    from safetensors.torch import save_file

    parameters = dict(module.named_parameters())
    # Of tied weights, the name that torch knows them by first.
    kept = set(parameters) | dict(module.named_buffers()).keys()
    arrays = {name: array.contiguous() for name, array in module.state_dict().items() if name in kept}
    save_file(arrays, out / "weights.safetensors")
    return {
        "parameters": sum(p.numel() for p in parameters.values()),
        "nonzero_parameters": sum(int(p.count_nonzero()) for p in parameters.values()),
        "parameter_names": list(parameters),
        "weight_bytes": counts.weight_bytes(module),
        "weights_sha256": file_sha256(out / "weights.safetensors"),
    }


def of_torch_module(
    source: Mapping[str, Any],
    definition: Any,
    model: Mapping[str, Any],
    dataset: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    out: Path,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Make a torch model, give it its weights, and write its checkpoint.

    Returns its fp32 outputs for all samples, and what its card says of it.
    """
    training = TRAINING | (model.get("training") or {})
    torch.manual_seed(training["seed"])
    module = models.torch_module(source, model["task"])
    given = give_weights(module, model, definition, dataset, inputs, training)
    module.eval()
    return predict(module, inputs), given | save_checkpoint(module, out) | {
        "flops_per_sample": counts.flops(module, inputs),
        "activation_bytes_per_sample": counts.activation_bytes(module, inputs),
    }


def of_onnx_file(path: Path, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
    """A user's ONNX file: its outputs for all samples by ONNX Runtime on the CPU, and what its card says."""
    original = OnnxModel(path)
    taken = original.inputs(inputs)
    return original.predict(taken), original.counts(taken) | {
        "inputs": described(taken),
        "weights_sha256": file_sha256(path),
    }


def described(inputs: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Inputs as a card names them, in the order in which the model takes them."""
    return [{"name": k, "dtype": str(v.dtype), "shape": list(v.shape[1:])} for k, v in inputs.items()]


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


def give_weights(
    module: Any,
    model: Mapping[str, Any],
    definition: Any,
    dataset: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Load the user's weights, or train, or settle, or leave what came; returns what the card says of it."""
    if model.get("weights"):
        load_weights(module, Path(model["weights"]))
        return {"provenance": f"the user's weights, {model['weights']}"}
    if definition is not None and definition.IS_TRAINED_HERE:
        return {"training": train(module, dataset, **training)}
    if hasattr(definition, "settle"):
        definition.settle(module, inputs)
    return {}


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
