"""Cut whole channels out of a network, those of least weight: it becomes smaller, in every runtime.

Channels that hang together (through additions, concatenations, batch norms, depthwise filters) go together,
by Torch-Pruning's dependency graph (Fang et al., *DepGraph: Towards Any Structural Pruning*, CVPR 2023); a
group's importance is the L2 norm of its weights. The outputs stay all, and so do the heads of attention,
whose size is written into their code. What is left is built anew from the definition and the checkpoint, as
each runtime will do it, and has to say the same: a network with other sizes in its code cannot be cut so.

Some kernels work on blocks of channels. Of EfficientNet-Lite0, of which each layer keeps 70%, a call of ONNX
Runtime takes 1.7 times as long as of the whole network, and 0.6 times as long with multiples of 4 or 8 (a
CPU with AVX-512, one thread, batch sizes 1 and 8, the quickest of 120 and of 12 interleaved calls). To torch
and OpenVINO it makes no clear difference.

Run on: CPU (torch 2.13.0, torch-pruning 1.6.1).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from hwfit.worker import outputs
from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.errors import Unsupported

EXAMPLE_BATCH = 2
# Another size than the example's, at which nothing of it was traced.
VERIFIED_BATCHES = (1, 3)
# How torch and transformers call what a layer of attention has of heads.
HEADS = ("num_heads", "num_attention_heads", "num_key_value_heads", "head_dim", "attention_head_size")


def apply(
    checkpoint: Checkpoint,
    amount: float,
    multiple_of: int = 8,
    epochs: int = 0,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> None:
    """Remove a share of the channels of each layer, and retrain what is left where epochs are asked for.

    How many stay is rounded to the nearest multiple, one at least.

    Raises Unsupported where the network cannot be cut so, or has no labelled data to retrain on.
    """
    from hwfit.worker import finetuning

    training = checkpoint.training() if epochs else None
    module = checkpoint.module()
    checkpoint.facts |= cut(module, checkpoint.evaluation, amount, multiple_of)
    if training:
        started = time.perf_counter()
        accuracies = finetuning.finetune(module, training, epochs, learning_rate, seed)
        checkpoint.facts |= {
            "epochs": epochs,
            "seed": seed,
            "validation_accuracies": accuracies,
            "retraining_seconds": time.perf_counter() - started,
        }
    checkpoint.take(module)
    verify(checkpoint, module)


def cut(module: Any, data: Any, amount: float, multiple_of: int) -> dict[str, Any]:
    """Remove channels of a module, in place; returns how many output channels its layers had and have."""
    import torch

    try:
        import torch_pruning
    except ImportError as missing:
        raise Unsupported(f"to cut channels needs torch-pruning beside torch: {missing}") from missing
    batch = tensors(data, EXAMPLE_BATCH)
    with torch.inference_mode():
        wanted = module(*batch).shape
    before = channels(module)
    try:
        # The graph of dependencies is read from the gradients' graph.
        with torch.enable_grad():
            module.requires_grad_(True)
            torch_pruning.pruner.MagnitudePruner(
                module,
                example_inputs=tuple(batch),
                importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=amount,
                pruning_ratio_dict=ratios(module, amount, multiple_of),
                ignored_layers=[*last_layers(module, batch), *attention_layers(module)],
            ).step()
        with torch.inference_mode():
            got = module(*batch).shape
    except Exception as error:  # whatever a model's code and the graph's reader lead to
        raise Unsupported(f"its channels cannot be cut: {first_line(error)}") from error
    if got != wanted:
        raise Unsupported(
            f"its channels cannot be cut: the outputs would be {tuple(got)}, not {tuple(wanted)}"
        )
    return {"channels_before": before, "channels_after": channels(module)}


def ratios(module: Any, amount: float, multiple_of: int) -> dict[Any, float]:
    """By layer the share of its channels to remove, so that what stays is a multiple."""
    found = {}
    for layer in module.modules():
        count = getattr(layer, "out_channels", None) or getattr(layer, "out_features", None)
        if count:
            multiples = max(round(count * (1 - amount) / multiple_of), 1)
            # Torch-Pruning rounds down what stays, count * (1 - ratio): half a channel more is safe.
            found[layer] = max(1 - (multiples * multiple_of + 0.5) / count, 0.0)
    return found


def last_layers(module: Any, batch: list[Any]) -> list[Any]:
    """The layers between which and the outputs no other lies: their channels are those of the outputs."""
    import torch

    kinds = (torch.nn.modules.conv._ConvNd, torch.nn.Linear)
    made_by: dict[Any, Any] = {}

    def note(layer: Any, _: Any, output: Any) -> None:
        made_by[output.grad_fn] = layer

    layers = [layer for layer in module.modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    waiting, seen, found = [module(*batch).grad_fn], set(), []
    for hook in hooks:
        hook.remove()
    while waiting:
        node = waiting.pop()
        if node in made_by:
            found.append(made_by[node])
        elif node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    if not found:
        raise ValueError("the outputs come from no convolution and no dense layer")
    return found


def attention_layers(module: Any) -> list[Any]:
    """The layers whose channels are divided among heads: without some, the others came to other heads."""
    return [layer for layer in module.modules() if any(hasattr(layer, name) for name in HEADS)]


def channels(module: Any) -> int:
    """The output channels of all convolutions and dense layers together."""
    return sum(
        getattr(layer, "out_channels", 0) + getattr(layer, "out_features", 0) for layer in module.modules()
    )


def verify(checkpoint: Checkpoint, module: Any) -> None:
    """Raises Unsupported where the network built anew from the checkpoint says something else."""
    import torch

    try:
        rebuilt = checkpoint.module()
        for size in VERIFIED_BATCHES:
            batch = tensors(checkpoint.evaluation, size)
            with torch.inference_mode():
                got, wanted = rebuilt(*batch).numpy(), module(*batch).numpy()
            error = outputs.relative_error(got, wanted)
            if got.shape != wanted.shape or not error <= checkpoint.card["tolerance"]:
                raise ValueError(f"its outputs differ by {error:.2g} of their largest value")
    except Exception as error:  # whatever a model's code leads to
        raise Unsupported(
            f"its channels can be cut, but not its definition built so much smaller: {first_line(error)}"
        ) from error


def tensors(data: Any, size: int) -> list[Any]:
    """The first samples of an evaluation set as the module takes them."""
    import torch

    batch: Mapping[str, np.ndarray] = data.rows(np.arange(size) % data.samples)
    return [torch.from_numpy(array) for array in batch.values()]


def first_line(error: Exception) -> str:
    """An error by its kind and its first line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
