"""What a runtime takes of memory: for itself, for each byte of weights, and for each byte of activations.

Of a process that runs reference models, one after another, whose weights and activations are known. From
these figures `hwfit.memory_prediction` works out the peak of a model before it is run.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from hwfit.memory_prediction import MEGABYTE
from hwfit.worker import host, zoo
from hwfit.worker.memory import SessionMemory, session_memory
from hwfit.worker.reference_model import inputs_of, open_reference
from hwfit.worker.zoo import layers, reference_convolutions

CALLS = 3
SMALL_BATCH, LARGE_BATCH = 1, 16


class ReferenceProcess:
    """A process that has imported a runtime and hardly used it; sessions that it opens stay open.

    Parameters
    ----------
    runtime, module : its name, and what `runtimes.load` gives of it
    identity : the device's, as its probe gave it
    """

    def __init__(
        self,
        runtime: str,
        module: ModuleType,
        accelerator: str,
        index: int,
        identity: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.place = (runtime, module, accelerator, index, threads)
        self.accelerator, self.identity = accelerator, identity
        self.sessions: dict[str, Any] = {}

    def memory(self, model: str, batch_size: int) -> tuple[SessionMemory, float | None]:
        """What the process takes while it runs a model, with all sessions that are open.

        Beside it a peak that grows with them alone: on a CPU that of the resident set, since what of a
        process counts as shared changes when another one that uses the same libraries comes or goes.
        """
        if model not in self.sessions:
            self.sessions[model] = open_reference(model, *self.place)
        session = self.sessions[model]
        placed = session.place(inputs_of(model, batch_size))
        session.forget_compiled()
        session.run(placed)
        host.give_memory_back()
        host.reset_process_peak()
        session.reset_peak_memory()
        for _ in range(CALLS):
            session.run(placed)
        memory = session_memory(session, self.accelerator, self.identity, 0.0)
        return memory, host.resident_peak_bytes() if self.accelerator == "cpu" else memory.peak


def memory_of_weights(process: ReferenceProcess) -> dict[str, float | None]:
    """Measure what a runtime takes for itself and for weights, in this process.

    Returns
    -------
    nothing where the runtime does not tell how much of the device it uses, else
    "process_mb" : peak of the process (on an accelerator: of the device) that runs the model `mlp`
    "base_mb" : of that, what is not the model's
    "weight_copies" : bytes for each byte of weights
    "loading_copies" : bytes for each byte of the largest weight, kept by an allocator after it was loaded
    "context_mb" : on an accelerator, what the driver counts for the process beyond its allocator; else None
    """
    names = ("mlp", "reference-dense", "reference-wide")
    found = [process.memory(name, SMALL_BATCH) for name in names]
    first = found[0][0]
    peaks = [peak for _, peak in found if peak is not None]
    if first.peak is None or len(peaks) < len(found):
        return {}
    (all_mlp, largest_mlp), (all_dense, largest_dense), (all_wide, largest_wide) = map(weight_bytes, names)
    # Growth a byte = copies + loading x the largest weight's share, of two models with other shares.
    grown, grown_wide = (peaks[1] - peaks[0]) / all_dense, (peaks[2] - peaks[1]) / all_wide
    share, share_wide = largest_dense / all_dense, largest_wide / all_wide
    loading = max((grown_wide - grown) / (share_wide - share), 0.0)
    copies = max(grown - share * loading, 0.0)
    known = first.share is not None and first.reserved is not None
    return {
        "process_mb": first.peak / MEGABYTE,
        "base_mb": (first.peak - copies * all_mlp - loading * largest_mlp) / MEGABYTE,
        "weight_copies": copies,
        "loading_copies": loading,
        "context_mb": (first.share - first.reserved) / MEGABYTE if known else None,  # type: ignore[operator]
    }


def memory_of_activations(process: ReferenceProcess) -> dict[str, float | None]:
    """Measure what a runtime takes for activations, in this process, in which nothing large was loaded.

    Returns
    -------
    nothing where the runtime does not tell how much of the device it uses, else
    "activation_copies" : bytes for each byte of the largest set of activations that PyTorch holds at once
    """
    model = "reference-convolutions"
    (_, one), (_, many) = (process.memory(model, size) for size in (SMALL_BATCH, LARGE_BATCH))
    if one is None or many is None:
        return {}
    grown = (many - one) / (LARGE_BATCH - SMALL_BATCH)
    return {"activation_copies": max(grown / reference_convolutions.PEAK_ACTIVATION_BYTES, 0.0)}


def weight_bytes(model: str) -> tuple[int, int]:
    """Bytes of all of a reference model's dense layers in fp32, and of the largest."""
    network = zoo.model(model).LAYERS
    found = [4 * layer.outputs * (layer.inputs + 1) for layer in network if isinstance(layer, layers.Dense)]
    return sum(found), max(found)
