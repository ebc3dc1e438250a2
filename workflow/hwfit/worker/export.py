"""The ONNX file that a runtime reads: a torch model exported, or the user's own file taken over.

An exported file is checked before anything is measured: ONNX Runtime's outputs on real inputs, at two
batch sizes that the exporter has not seen, are those of the torch module.
"""

from __future__ import annotations

import logging
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.records import SCHEMA_VERSION, checksums, file_sha256, read_json, write_record
from hwfit.worker import models, onnx_graphs, outputs
from hwfit.worker.errors import Incorrect, Unsupported
from hwfit.worker.evaluation_set import EvaluationSet

EXAMPLE_BATCH = 2
CHECKED_BATCHES = (1, 3)
# A serialized model holds 2 GiB at most; larger weights go to a file beside it.
LARGEST_BYTES = 1.8e9
FILE = "model.onnx"
# What an artifact's card says of a network that became smaller.
CUT = (
    "flops_per_sample",
    "activation_bytes_per_sample",
    "peak_activation_bytes_per_sample",
    "fused_activation_bytes_per_sample",
)


def export(name: str, model: Mapping[str, Any], source: Path, checkpoint: Path, out: Path) -> None:
    """Write model.onnx and, last, card.json.

    Parameters
    ----------
    source : directory of the prepared model
    checkpoint : directory of the weights: the model's own, or what artifact passes made of them

    Raises Unsupported where the model cannot be exported, Incorrect where the file says something else.
    """
    started = time.perf_counter()
    weights = read_json(checkpoint / "card.json")
    if weights["status"] != "ok":
        write_record(out / "card.json", weights)
        return
    card = read_json(source / "card.json")
    file = out / FILE
    given = next((entry["onnx"] for entry in model["sources"].values() if entry.get("onnx")), None)
    if given:
        exporter, error = "none: the user's own file", None
        take_over(Path(given), out)
    else:
        exporter, error = export_torch(card, checkpoint, EvaluationSet(source / "evaluation.npz"), file)
    parameters, nonzero = onnx_graphs.parameter_counts(file)
    # Weights may lie beside the graph, under names of the user's.
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    write_record(
        out / "card.json",
        {
            "schema_version": SCHEMA_VERSION,
            "status": "ok",
            "reason": "",
            "model": name,
            "passes": weights.get("passes", []),
            "steps": weights.get("steps", []),
            **{key: weights[key] for key in CUT if key in weights},
            "exporter": exporter,
            "relative_error": error,
            "seconds": time.perf_counter() - started,
            "parameters": parameters,
            "nonzero_parameters": nonzero,
            "weights_sha256": [file_sha256(out / name) for name in files],
            "files": files,
            "sha256": checksums(out, files),
            "file_bytes": sum((out / name).stat().st_size for name in files),
        },
    )


def take_over(given: Path, out: Path) -> None:
    """Copy a user's file and what holds its weights. Raises Unsupported where it is no ONNX model."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        onnx.checker.check_model(str(given))
        model = onnx_graphs.read(given)
    except Exception as error:  # protobuf's own errors have no common class
        raise Unsupported(f"{given} is no valid ONNX model: {str(error).strip().splitlines()[0]}") from error
    for location in {ExternalDataInfo(t).location for t in model.graph.initializer if uses_external_data(t)}:
        (out / location).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(given.parent / location, out / location)
    shutil.copyfile(given, out / FILE)


def export_torch(
    card: Mapping[str, Any], checkpoint: Path, data: EvaluationSet, file: Path
) -> tuple[str, float]:
    """Export by torch's exporter, or by the older one; returns which it was, and the largest error."""
    import torch

    module = models.torch_network(card["source"], card["task"])
    models.load_torch_weights(module, checkpoint / "weights.safetensors")
    module.eval()
    names = [entry["name"] for entry in card["inputs"]]

    def batch(size: int) -> tuple[Any, ...]:
        rows = data.rows(np.arange(size) % data.samples)
        return tuple(torch.from_numpy(rows[name]) for name in names)

    failures = []
    for exporter in (by_graph_capture, by_tracing):
        file.unlink(missing_ok=True)
        try:
            exporter(module, batch(EXAMPLE_BATCH), names, file)
            forget_origins(file)
            error = largest_error(module, [batch(size) for size in CHECKED_BATCHES], names, file)
        except ImportError as missing:
            raise Unsupported(f"export to ONNX needs {missing.name} beside torch") from missing
        except Exception as failure:  # the exporters raise whatever a model's code leads them to
            failures.append(f"{exporter.__name__}: {type(failure).__name__}: {first_line(failure)}")
            continue
        if error > card["tolerance"]:
            raise Incorrect(
                f"the exported file's outputs differ from torch's by {error:.2g} of their largest value, "
                f"allowed {card['tolerance']:g}"
            )
        return exporter.__name__, error
    raise Unsupported(f"torch {torch.__version__} cannot export it to ONNX: {'; '.join(failures)}")


def by_graph_capture(module: Any, batch: tuple[Any, ...], names: Sequence[str], file: Path) -> None:
    """torch.export's graph, the way PyTorch recommends."""
    import torch

    for name in ("torch.onnx", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    size = torch.export.Dim("batch", min=1)
    torch.onnx.export(
        module,
        batch,
        str(file),
        input_names=list(names),
        output_names=["output"],
        dynamo=True,
        dynamic_shapes=tuple({0: size} for _ in names),
        external_data=weight_bytes(module) > LARGEST_BYTES,
        verbose=False,
    )


def by_tracing(module: Any, batch: tuple[Any, ...], names: Sequence[str], file: Path) -> None:
    """TorchScript's trace of one call: takes some models that the other refuses."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            batch,
            str(file),
            input_names=list(names),
            output_names=["output"],
            dynamo=False,
            opset_version=onnx_graphs.OPSET,
            dynamic_axes={name: {0: "batch"} for name in [*names, "output"]},
        )


def forget_origins(file: Path) -> None:
    """Remove what the exporter wrote down of the machine, so that equal models make equal files."""
    import onnx

    model = onnx_graphs.read(file)
    entries = [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer]
    for entry in [*entries, *model.graph.input, *model.graph.output, *model.functions]:
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")
    onnx.save(model, str(file))


def largest_error(module: Any, batches: Sequence[tuple[Any, ...]], names: Sequence[str], file: Path) -> float:
    """The largest difference of ONNX Runtime's outputs from the module's, over their largest value."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    errors = []
    for batch in batches:
        with torch.inference_mode():
            wanted = module(*batch).float().numpy()
        (got,) = session.run(None, {name: t.numpy() for name, t in zip(names, batch, strict=True)})
        if got.shape != wanted.shape:
            raise ValueError(f"outputs of shape {got.shape} where torch gives {wanted.shape}")
        errors.append(outputs.relative_error(got, wanted))
    return max(errors)


def weight_bytes(module: Any) -> int:
    """Bytes of a module's parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))


def first_line(error: Exception) -> str:
    """The first line of an error that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
