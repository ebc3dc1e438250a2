"""A user's ONNX file, as its model card describes it: inputs by its signature, reference outputs, sizes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker import onnx_graphs, onnx_signature
from hwfit.worker.arrangement import Batch, arranged, samples_first
from hwfit.worker.errors import Unsupported
from hwfit.worker.onnx_signature import Argument

REFERENCE_BATCH = 32
# ONNX's element types as ONNX Runtime names them.
NUMPY_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint64)": "uint64",
    "tensor(uint32)": "uint32",
    "tensor(uint16)": "uint16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


class OnnxModel:
    """The file, open in ONNX Runtime on the CPU, in fp32 as it is.

    Parameters
    ----------
    told : `inputs` of models.yaml, by name
    output : the output that is compared; the first where None

    Raises Unsupported where it cannot be opened there (what cannot be read has no reference), or where what
    models.yaml says does not fit it.
    """

    def __init__(
        self, path: Path, told: Mapping[str, Mapping[str, Any]] | None = None, output: str | None = None
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise Unsupported("an ONNX file's reference needs onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.path, self.told = path, told or {}
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # one class a failure, all of them private
            raise Unsupported(f"{path}: {said(error)}") from error
        signature = [
            Argument(
                entry.name,
                tuple(size if isinstance(size, int) else None for size in entry.shape),
                NUMPY_TYPES.get(entry.type, ""),
                entry.type,
            )
            for entry in self.session.get_inputs()
        ]
        names = [entry.name for entry in self.session.get_outputs()]
        if output and output not in names:
            raise Unsupported(f"{path} has no output {output}; it has {', '.join(names)}")
        try:
            entries, batch_size = onnx_signature.described(signature, self.told)
        except Unsupported as error:
            raise Unsupported(f"{path}: {error}") from error
        # What a session needs to know, as the card keeps it.
        self.card: dict[str, Any] = {"inputs": entries, "output": output or names[0]}
        if batch_size is not None:
            self.card["batch_size"] = batch_size

    def generated(self, samples: int) -> dict[str, np.ndarray]:
        """Inputs made from the signature."""
        try:
            return onnx_signature.generated(self.card["inputs"], self.told, samples)
        except Unsupported as error:
            raise Unsupported(f"{self.path}: {error}") from error

    def matched(self, arrays: Batch, where: str) -> dict[str, np.ndarray]:
        """Of a user's data, what the model takes."""
        return onnx_signature.matched(self.card["inputs"], arrays, where)

    def settle(self, inputs: Batch) -> None:
        """Write down the sizes that the data have, and where the batch stands in the output."""
        for entry in self.card["inputs"]:
            if entry["name"] in inputs:
                entry["shape"] = list(inputs[entry["name"]].shape[1:])
        if axis := self.output_axis(inputs):
            self.card["output_axis"] = axis

    def output_axis(self, inputs: Batch) -> int:
        """Where the batch stands in the output: the first axis that follows its size."""
        fixed = self.card.get("batch_size")
        shapes = {size: self.run(rows(inputs, 0, size)).shape for size in ([fixed] if fixed else [2, 3])}
        least = min(len(shape) for shape in shapes.values())
        axes = (a for a in range(least) if all(shape[a] == size for size, shape in shapes.items()))
        found = next(axes, None)
        if found is None:
            told = " and ".join(f"{list(shape)} for a batch of {size}" for size, shape in shapes.items())
            raise Unsupported(
                f"{self.path}: no axis of the output {self.card['output']} is the batch ({told}); "
                "name another by `output`, or say which inputs have a batch by `inputs`"
            )
        return found

    def run(self, batch: Batch) -> np.ndarray:
        """The output for a batch, as the model gives it."""
        try:
            (output,) = self.session.run([self.card["output"]], arranged(batch, self.card))
        except Unsupported:
            raise
        except Exception as error:  # one class a failure, all of them private
            raise Unsupported(f"{self.path}: {said(error)}") from error
        if not isinstance(output, np.ndarray) or output.dtype.kind not in "fiub":
            raise Unsupported(f"{self.path}: the output {self.card['output']} is no tensor of numbers")
        return output

    def predict(self, inputs: Batch) -> np.ndarray:
        """The output in fp32 for all samples, first axis the samples."""
        samples = len(next(iter(inputs.values())))
        size = self.card.get("batch_size") or min(REFERENCE_BATCH, samples)
        found = []
        for start in range(0, samples, size):
            output = samples_first(self.run(rows(inputs, start, size)), self.card)
            found.append(output[: samples - start].astype(np.float32))
        return np.concatenate(found)

    def counts(self, inputs: Batch) -> dict[str, Any]:
        """Weights of the file, those that are not zero, and FLOPs of one sample where they can be told."""
        parameters, nonzero = onnx_graphs.parameter_counts(self.path)
        size = self.card.get("batch_size") or 1
        flops = self.flops(arranged(rows(inputs, 0, size), self.card))
        return {
            "parameters": parameters or None,
            "nonzero_parameters": nonzero or None,
            "flops_per_sample": round(flops / size) if flops else None,
        }

    def flops(self, inputs: Mapping[str, np.ndarray]) -> int | None:
        """FLOPs of a call by onnx-tool's counter, multiply and add counted as two; None where it cannot tell.

        It stops at operators that it does not know, and counts them as nothing where it does not stop.
        """
        try:
            import onnx_tool
        except ImportError:
            return None

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                model = onnx_tool.Model(str(self.path), {"constant_folding": True, "verbose": False})
                model.graph.shape_infer(dict(inputs))
                model.graph.profile()
            except Exception:  # whatever its handlers of single operators raise
                return None
        return round(2 * model.graph.macs[0]) or None


def rows(inputs: Batch, start: int, size: int) -> dict[str, np.ndarray]:
    """A whole batch, filled from the first sample where the data end."""
    return {name: array[np.arange(start, start + size) % len(array)] for name, array in inputs.items()}


def said(error: Exception) -> str:
    """The part of ONNX Runtime's message that matters: without its own source files and codes."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^Load model from .*? failed:", "", text)
    return re.sub(r"/onnxruntime_src/\S+:\d+ .*?\) (?=[A-Z])", "", text)
