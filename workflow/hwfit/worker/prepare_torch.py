"""A torch model's checkpoint, its fp32 outputs and its sizes, as `prepare` wants them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwfit.records import checksums, file_sha256
from hwfit.worker import counts, live_bytes, models
from hwfit.worker.weights import load_weights

TRAINING = {"epochs": 30, "seed": 0, "schedule": "constant"}
TRAINING_BATCH = 128
LEARNING_RATE = 1e-3
REFERENCE_BATCH = 32


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
    sizes = {
        "flops_per_sample": counts.flops(module, inputs),
        "activation_bytes_per_sample": counts.activation_bytes(module, inputs),
    } | live_bytes.peak_activation_bytes(module, inputs)
    return predict(module, inputs), given | sizes | save_checkpoint(module, out)


def of_language_model(
    source: Mapping[str, Any], dataset: Mapping[str, np.ndarray], where: str, out: Path
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Fetch or read a language model and write its checkpoint.

    Returns the arrays of its evaluation set, and what its card says of it.
    """
    from hwfit.worker.generation import reference

    module, tokenizer = reference.language_model(source)
    arrays, facts = reference.describe(module, tokenizer, dataset, where)
    return arrays, facts | save_checkpoint(module, out)


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
        "weight_bytes": counts.weight_bytes(module),
        "largest_weight_bytes": max((p.nbytes for p in parameters.values()), default=0),
        "weights_sha256": file_sha256(out / "weights.safetensors"),
        "sha256": checksums(out, ["weights.safetensors"]),
    }


def train(
    module: Any, dataset: Mapping[str, np.ndarray], epochs: int, seed: int, schedule: str
) -> dict[str, Any]:
    """Train a classifier with Adam on the training split; returns what was done, with its seconds."""
    started = time.perf_counter()
    inputs, labels = (torch.from_numpy(dataset[key]) for key in ("x_train", "y_train"))
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(inputs) // TRAINING_BATCH)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    # Half the time of LeNet-5's convolutions and poolings on a CPU.
    module.to(memory_format=torch.channels_last)
    module.train()
    loss = torch.zeros(())
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(TRAINING_BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            if schedule == "cosine":
                falling.step()
    module.to(memory_format=torch.contiguous_format)
    return {
        "optimizer": "adam",
        "learning_rate": LEARNING_RATE,
        "schedule": schedule,
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
