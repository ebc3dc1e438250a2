"""Pruning with retraining: a growing share of the weights is zeroed while the others are trained.

The schedule is Zhu and Gupta's (2017), and the network as it was teaches what it becomes (Hinton et al.,
2015). Dense kernels multiply by the zeros all the same.
"""

from __future__ import annotations

from typing import Any

from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes.prune import is_prunable


def apply(
    checkpoint: Checkpoint,
    amount: float = 0.9,
    epochs: int = 20,
    learning_rate: float = 1e-3,
    shift_pixels: int = 0,
    seed: int = 0,
) -> None:
    """Prune and retrain. Raises Unsupported where the model has no labelled training data."""
    module, data = prepared(checkpoint, shift_pixels)
    from hwfit.worker.retraining import prune_while_training

    names = prunable(module)
    prune_while_training(module, names, data, amount, epochs, seed, learning_rate, shift_pixels)
    checkpoint.take(module)
    checkpoint.facts |= {
        "retraining_epochs": epochs,
        "learning_rate": learning_rate,
        "shift_pixels": shift_pixels,
        "seed": seed,
    }


def prunable(module: Any) -> list[str]:
    """Names of the parameters that are pruned."""
    found = [name for name, p in module.named_parameters() if is_prunable(name, p.detach().numpy())]
    if not found:
        raise Unsupported("the model has no weights of products to prune")
    return found


def prepared(checkpoint: Checkpoint, shift_pixels: int) -> tuple[Any, tuple[Any, Any, Any]]:
    """The module, and inputs, labels and its own outputs for all of the training data.

    What is held out for validation is retrained on too: it is there to choose parameters by, and here they
    are chosen.
    """
    import torch

    from hwfit.worker.retraining import outputs_of

    training = checkpoint.training()
    inputs = torch.cat([training.x_train, training.x_validation])
    labels = torch.cat([training.y_train, training.y_validation])
    if shift_pixels and inputs.ndim != 4:
        raise Unsupported(
            f"shift_pixels is for images (n, channels, height, width), not for {inputs.ndim} axes"
        )
    module = checkpoint.module()
    return module, (inputs, labels, outputs_of(module, inputs))
