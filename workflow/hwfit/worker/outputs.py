"""Comparing two sets of outputs: what a compressed or foreign session says, and what the reference says."""

from __future__ import annotations

import numpy as np

from hwfit.worker.errors import Incorrect

# Two calls of one session on the same inputs may differ by the order of a parallel sum, in the narrowest
# of float formats by a few of its steps; skipped work or another input's output differ by far more.
SAME_OUTPUT_TOLERANCE = 0.02


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of samples whose largest output is at the label; outputs (n, classes), labels (n,)."""
    return float((outputs.argmax(axis=-1) == labels).mean())


def require_classes(outputs: np.ndarray, labels: np.ndarray | None, where: str) -> None:
    """Raises ValueError where outputs or labels are not those of a classifier.

    Parameters
    ----------
    outputs : shape (n, ..., classes), a score a class
    labels : shape (n, ...), whole numbers from 0 to classes - 1
    """
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        raise ValueError(
            f"a classifier gives scores of two or more classes on the last axis; this model's outputs have "
            f"shape {outputs.shape[1:]} a sample. Call the task features, or give both classes a score"
        )
    if labels is None:
        return
    if labels.shape != outputs.shape[:-1]:
        raise ValueError(f"{where}: labels have shape {labels.shape}, expected {outputs.shape[:-1]}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{where}: labels are {labels.dtype}, expected whole numbers")
    if labels.min() < 0 or labels.max() >= outputs.shape[-1]:
        classes = outputs.shape[-1]
        found = f"labels go from {labels.min()} to {labels.max()}"
        raise ValueError(f"{where}: {found}, the model has {classes} classes")


def fidelity(task: str, outputs: np.ndarray, reference: np.ndarray) -> float:
    """Agreement with the reference, 1 at best: share of equal top-1 for classification, else mean cosine.

    A cosine of single numbers would only be their sign: there it is one minus the root mean square of
    the differences over that of the reference.
    """
    if task == "classification":
        return float((outputs.argmax(axis=-1) == reference.argmax(axis=-1)).mean())
    got = outputs.reshape(len(outputs), -1).astype(np.float64)
    wanted = reference.reshape(len(reference), -1).astype(np.float64)
    if wanted.shape[1] == 1:
        return max(0.0, 1 - float(np.linalg.norm(got - wanted)) / max(float(np.linalg.norm(wanted)), 1e-30))
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(wanted, axis=1)
    return float(((got * wanted).sum(axis=1) / np.maximum(norms, 1e-30)).mean())


def relative_error(outputs: np.ndarray, reference: np.ndarray) -> float:
    """Largest absolute difference over the reference's largest absolute value."""
    return float(np.abs(outputs - reference).max() / max(float(np.abs(reference).max()), 1e-30))


def require_close(error: float | None, tolerance: float | None) -> None:
    """Raises Incorrect where a `relative_error` is above the tolerance; None: there is none to keep."""
    if tolerance and error is not None and error > tolerance:
        raise Incorrect(
            f"largest difference from the fp32 reference is {error:.2g} of its largest value, "
            f"allowed {tolerance:g}"
        )


def require_finite(outputs: np.ndarray) -> None:
    """Raises Incorrect where an output is NaN or infinite."""
    if not np.isfinite(outputs).all():
        raise Incorrect(f"{(~np.isfinite(outputs)).mean():.1%} of the outputs are NaN or infinite")


def require_same(timed: np.ndarray, expected: np.ndarray) -> None:
    """Raises Incorrect where a timed call's outputs are not those the session gave for the same inputs."""
    require_finite(timed)
    if timed.shape != expected.shape:
        raise Incorrect(f"a timed call gave outputs of shape {timed.shape}, expected {expected.shape}")
    if np.issubdtype(expected.dtype, np.integer):
        # Tokens are names, not quantities: the next number is another word.
        if not np.array_equal(timed, expected):
            share = float((timed != expected).mean())
            raise Incorrect(
                f"{share:.1%} of a timed call's tokens are not those of the same call before timing"
            )
        return
    error = relative_error(timed, expected)
    if error > SAME_OUTPUT_TOLERANCE:
        raise Incorrect(f"the outputs of a timed call differ by {error:.2g} from the same call before timing")
