"""A model's checkpoint, evaluation set and card, made once in an environment of the runtime that can."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwfit.catalog import SAMPLES
from hwfit.records import SCHEMA_VERSION, file_sha256, write_bytes, write_record
from hwfit.worker import outputs, user_data, zoo
from hwfit.worker.errors import Unavailable, Unsupported

if TYPE_CHECKING:
    from hwfit.worker.onnx_model import OnnxModel

CALLABLE_TOLERANCE = 1e-3
# Most inputs that are kept for passes that calibrate, and what a data set calls those it holds out for them.
CALIBRATION_SAMPLES = 256
HELD_OUT = "calibration_"
EVALUATED = "evaluated inputs"


def prepare(
    name: str,
    model: Mapping[str, Any],
    data: Path | None,
    out: Path,
    code: Sequence[Path] = (),
    calibration: Path | None = None,
) -> None:
    """Write weights.safetensors, evaluation.npz, calibration.npz and, last, card.json.

    A model that has no torch source builds itself in its own runtime: its card then has no checkpoint, and
    its reference is what that runtime says on the CPU in fp32.

    Parameters
    ----------
    data : a .npz file; None where an ONNX file's inputs are generated from its signature
    code : the user's files, of callables or of weights, whose content is part of what is measured
    calibration : a .npz file of inputs by name, for passes that calibrate
    """
    sources = model["sources"]
    # Where several runtimes load one checkpoint, it is torch's.
    shared = (s for s in sources.values() if s.get("zoo") or s.get("huggingface") or s.get("onnx"))
    source = sources.get("torch") or next(shared, None)
    definition = zoo.model(source["zoo"]) if source and "zoo" in source else None
    where = model.get("data") or (str(data) if data else "signature")
    dataset = user_data.read(data) if data else {}
    if "unavailable" in dataset:
        write_record(
            out / "card.json",
            {
                "schema_version": SCHEMA_VERSION,
                "status": "unavailable",
                "reason": str(dataset["unavailable"]),
            },
        )
        return
    taken_from = dataset.pop("provenance", None)
    is_generation = model["task"] == "generation"
    if not is_generation and "texts" in dataset and (model.get("text") or {}).get("tokenizer"):
        dataset = user_data.tokenised(dataset, model["text"])
    original = None
    if source and "onnx" in source:
        from hwfit.worker.onnx_model import OnnxModel

        original = OnnxModel(Path(source["onnx"]), model.get("inputs"), model.get("output"))
    if is_generation:
        inputs, labels = {}, None
    elif original and not data:
        inputs, labels = original.generated(model.get("samples") or SAMPLES), None
    else:
        inputs, labels = evaluation_set(dataset, definition, source, name, where)
        inputs = original.matched(inputs, where) if original else inputs
    user_data.require_sound(inputs, where)
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
        "data_provenance": str(taken_from) if taken_from is not None else where,
        "synthetic_inputs": data is None,
        "parameters": None,
        "weight_bytes": None,
        "flops_per_sample": None,
        "activation_bytes_per_sample": None,
        "peak_activation_bytes_per_sample": None,
        "fused_activation_bytes_per_sample": None,
        "reference_accuracy": None,
        "tolerance": getattr(definition, "TOLERANCE", CALLABLE_TOLERANCE),
        "training": None,
        "code_sha256": [file_sha256(path) for path in code],
    }
    arrays = dict(inputs)
    if labels is not None:
        arrays["labels"] = labels
    # Imported where they are used: each belongs to an environment of its own.
    reference: np.ndarray | None = None
    if source and is_generation:
        from hwfit.worker.prepare_torch import of_language_model

        arrays, told = of_language_model(source, dataset, where, out)
    elif original:
        reference, told = of_onnx_file(original, inputs)
    elif source:
        from hwfit.worker.prepare_torch import of_torch_module

        reference, told = of_torch_module(source, definition, model, dataset, inputs, out)
    else:
        from hwfit.worker.prepare_own import of_own_runtime

        reference, told = of_own_runtime(model, card, inputs, out)
    card |= told
    if reference is not None:
        outputs.require_finite(reference)
        arrays["reference"] = reference
        card["output_shape"] = list(reference.shape[1:])
        if model["task"] == "classification":
            require_classes(reference, labels, where)
            if labels is not None:
                card["reference_accuracy"] = outputs.accuracy(reference, labels)
    write_arrays(out / "evaluation.npz", arrays)
    card["evaluation_sha256"] = file_sha256(out / "evaluation.npz")
    if not is_generation:
        held_out, card["calibration"] = calibration_inputs(
            inputs, calibration, dataset, definition, source, name, where, original
        )
        write_arrays(out / "calibration.npz", held_out)
    write_record(out / "card.json", card)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a .npz file."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_bytes(path, content.getvalue())


def of_onnx_file(original: OnnxModel, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
    """A user's ONNX file: its outputs for all samples by ONNX Runtime on the CPU, and what its card says."""
    original.settle(inputs)
    return original.predict(inputs), original.counts(inputs) | original.card | {
        "weights_sha256": file_sha256(original.path),
    }


def require_classes(reference: np.ndarray, labels: np.ndarray | None, where: str) -> None:
    """Raises Unsupported where the model is no classifier, Unavailable where labels are not its classes."""
    try:
        outputs.require_classes(reference, None, where)
    except ValueError as error:
        raise Unsupported(str(error)) from error
    try:
        outputs.require_classes(reference, labels, where)
    except ValueError as error:
        raise Unavailable(str(error)) from error


def described(inputs: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Inputs as a card names them, in the order in which the model takes them."""
    return [{"name": k, "dtype": str(v.dtype), "shape": list(v.shape[1:])} for k, v in inputs.items()]


def evaluation_set(
    dataset: Mapping[str, np.ndarray],
    definition: Any,
    source: Mapping[str, Any] | None,
    name: str,
    where: str,
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The inputs by name, in torch's layout, and the labels if there are any.

    Raises Unavailable where a user's file holds no array, or arrays of different lengths.
    """
    if definition is not None:
        try:
            return definition.evaluation_inputs(dataset)
        except KeyError as error:
            has = ", ".join(dataset) or "none"
            raise Unavailable(f"{where} has no array {error}, which {name} needs; it has {has}") from error
        except ValueError as error:
            raise Unavailable(f"{where}: {error}") from error
    if source and "huggingface" in source and "texts" in dataset:
        from hwfit.worker import hugging_face

        tokenizer = hugging_face.tokenizer(source)
        if tokenizer is None:
            raise Unavailable(f"{where} holds texts, and {source['huggingface']} has no tokenizer")
        return hugging_face.text_inputs(dataset, tokenizer), dataset.get("labels")
    if {"x_test", "y_test"} <= set(dataset):
        dataset = {"x": dataset["x_test"], "labels": dataset["y_test"]}
    inputs = {
        key: as_float32(value)
        for key, value in dataset.items()
        if key != "labels" and not key.startswith(HELD_OUT)
    }
    if not inputs:
        raise Unavailable(f"{where} holds no input array")
    if "reference" in inputs:
        raise Unavailable(f"{where}: an input cannot be called reference, which the fp32 outputs are called")
    judged = {key: value for key, value in dataset.items() if not key.startswith(HELD_OUT)}
    lengths = {key: len(value) if value.ndim else 0 for key, value in judged.items()}
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        raise Unavailable(f"{where}: the arrays differ in length, or are empty: {lengths}")
    return inputs, judged.get("labels")


def as_float32(array: np.ndarray) -> np.ndarray:
    """The array, in single precision where it is in double: numpy's default, and no model's."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


def calibration_inputs(
    inputs: Mapping[str, np.ndarray],
    given: Path | None,
    dataset: Mapping[str, np.ndarray],
    definition: Any,
    source: Mapping[str, Any] | None,
    name: str,
    where: str,
    original: OnnxModel | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Inputs for passes that calibrate, and what the card says of them.

    The user's own where given; else training data, or what a data set holds out as `calibration_<array>`;
    else some of the evaluated inputs. Raises Unavailable where the user's do not fit the model.
    """
    found: Mapping[str, np.ndarray]
    if given:
        found, origin = user_data.read(given), str(given)
        user_data.require_fit(found, inputs, origin)
        found = {key: found[key].astype(inputs[key].dtype, copy=False) for key in inputs}
    else:
        found, origin = held_out_inputs(inputs, dataset, definition, source, name, where, original)
    rows = spread(len(next(iter(found.values()))))
    return {key: found[key][rows] for key in inputs}, {
        "samples": len(rows),
        "origin": origin,
        "is_evaluated": origin == EVALUATED,
    }


def held_out_inputs(
    inputs: Mapping[str, np.ndarray],
    dataset: Mapping[str, np.ndarray],
    definition: Any,
    source: Mapping[str, Any] | None,
    name: str,
    where: str,
    original: OnnxModel | None,
) -> tuple[Mapping[str, np.ndarray], str]:
    """Inputs that a model is not judged by, and what they are; those it is judged by where there are none, or
    none that fit it: what they are for may not be asked for at all.
    """
    if {"x_train", "y_train"} <= set(dataset):
        rows = spread(len(dataset["x_train"]))
        others = {"x_test": dataset["x_train"][rows], "y_test": dataset["y_train"][rows]}
        origin = "training data"
    else:
        others = {k.removeprefix(HELD_OUT): v for k, v in dataset.items() if k.startswith(HELD_OUT)}
        origin = "held out"
    if not others:
        return inputs, EVALUATED
    try:
        found, _ = evaluation_set(others, definition, source, name, where)
        found = original.matched(found, where) if original else found
        user_data.require_fit(found, inputs, where)
    except Unavailable:
        return inputs, EVALUATED
    return found, origin


def spread(count: int) -> np.ndarray:
    """The rows of at most CALIBRATION_SAMPLES of so many samples, evenly spread."""
    return np.arange(min(count, CALIBRATION_SAMPLES)) * count // min(count, CALIBRATION_SAMPLES)
