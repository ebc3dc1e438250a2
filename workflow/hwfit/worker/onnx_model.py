"""A user's ONNX file, as its model card describes it: inputs by its signature, reference outputs, sizes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker import onnx_graphs
from hwfit.worker.errors import Unsupported

REFERENCE_BATCH = 32


class OnnxModel:
    """The file, open in ONNX Runtime on the CPU, in fp32 as it is.

    Raises Unsupported where it cannot be opened there: what cannot be read has no reference.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise Unsupported("an ONNX file's reference needs onnxruntime beside torch") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.path = path
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # one class a failure, all of them private
            raise Unsupported(f"{path}: {str(error).splitlines()[0]}") from error

    def inputs(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays that the model takes, in its order. Raises ValueError where one is not there."""
        names = [entry.name for entry in self.session.get_inputs()]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(
                f"{self.path} takes {', '.join(names)}; the data have {', '.join(arrays) or 'none'}, "
                f"not {', '.join(missing)}"
            )
        return {name: arrays[name] for name in names}

    def predict(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first output in fp32 for all samples."""
        first = self.session.get_outputs()[0].name
        samples = len(next(iter(inputs.values())))
        found = []
        for start in range(0, samples, REFERENCE_BATCH):
            batch = {name: array[start : start + REFERENCE_BATCH] for name, array in inputs.items()}
            found.append(self.session.run([first], batch)[0].astype(np.float32))
        return np.concatenate(found)

    def counts(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Weights of the file, those that are not zero, and FLOPs of one sample where they can be told."""
        parameters, nonzero = onnx_graphs.parameter_counts(self.path)
        return {
            "parameters": parameters,
            "nonzero_parameters": nonzero,
            "flops_per_sample": self.flops({name: array[:1] for name, array in inputs.items()}),
        }

    def flops(self, inputs: Mapping[str, np.ndarray]) -> int | None:
        """FLOPs of a call by onnx-tool's counter, multiply and add counted as two; None where it cannot tell.

        It stops at operators that it does not know, and counts them as nothing where it does not stop.
        """
        import onnx_tool

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                model = onnx_tool.Model(str(self.path), {"constant_folding": True, "verbose": False})
                model.graph.shape_infer(dict(inputs))
                model.graph.profile()
            except Exception:  # whatever its handlers of single operators raise
                return None
        return round(2 * model.graph.macs[0]) or None
