"""Peak memory of a combination before it is run, from its model's card and its runtime's inventory.

    peak = runtime's own + weights + largest set of activations + inputs and outputs kept

Weights and activations are in bytes as PyTorch has them; how many bytes a runtime makes of one is measured
by its inventory (`hwfit.worker.reference_memory`), on this device. A linear model of this kind, without
measured factors, is in Gao et al., *Estimating GPU memory consumption of deep learning models* (ESEC/FSE
2020). Standard library only: the measuring job asks before it starts a worker.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MEGABYTE = 1e6
# Distinct inputs that timed calls rotate over, so that no call finds the last one's data in its place.
MOST_BUFFERS = 4
BUFFER_BYTES = 512e6
# Bytes a weight in a pass's format, over those of fp32. Four bits come with the scale and zero point of
# their group.
NARROW = {"int8": 1 / 4, "int4": 5 / 32, "bfloat16": 1 / 2, "float16": 1 / 2}
# As a card names the largest set of activations, where operators are fused and where not.
ACTIVATIONS = {False: "peak_activation_bytes_per_sample", True: "fused_activation_bytes_per_sample"}
NARROWS_WEIGHTS = ("cast", "quantize_dynamic", "quantize_weights")


def predicted_memory_mb(
    card: Mapping[str, Any],
    measured: Mapping[str, float | None] | None,
    weight_bytes: float | None,
    passes: Sequence[Mapping[str, Any]],
    batch_size: int,
    lengths: tuple[int, int] | None = None,
    is_fused: bool = False,
) -> float | None:
    """The peak that `peak_memory_mb` will be; None where card or inventory do not know enough.

    Parameters
    ----------
    card : the model's, with what the artifact's says beside
    measured : "memory" of the runtime in the device's inventory
    weight_bytes : the weights as they are loaded, before session passes
    passes : the session passes
    lengths : of a language model, tokens of a prompt and of what is written to it
    is_fused : whether the runtime compiles a graph, in which arithmetic joins the products beside it
    """
    activations = activation_bytes(card, passes, batch_size, lengths, is_fused)
    if not measured or weight_bytes is None or activations is None:
        return None
    base, copies, loading, spread = (
        measured.get(name) for name in ("base_mb", "weight_copies", "loading_copies", "activation_copies")
    )
    if base is None or copies is None or loading is None or spread is None:
        return None
    largest = min(card.get("largest_weight_bytes") or 0.0, weight_bytes)
    weights = copies * weight_bytes * weight_share(passes)
    kept = kept_bytes(card, batch_size) if lengths is None else cache_bytes(card, passes, batch_size, lengths)
    # What loading has left behind is taken for what comes after it.
    return base + (weights + max(loading * largest, spread * activations + kept)) / MEGABYTE


def activation_bytes(
    card: Mapping[str, Any],
    passes: Iterable[Mapping[str, Any]],
    batch_size: int,
    lengths: tuple[int, int] | None,
    is_fused: bool,
) -> float | None:
    """Bytes of the largest set of activations of a batch that PyTorch holds at once; None where not known."""
    if lengths is None:
        one = card.get(ACTIVATIONS[is_fused])
    else:
        one = card.get("peak_activation_bytes_per_token")
        one = None if one is None else one * lengths[0]
    if one is None:
        return None
    # A cast that leaves some layers alone casts back what lies between.
    casts = [step for step in passes if step["pass"] == "cast" and not step.get("keep_depthwise")]
    return one * batch_size * math.prod(NARROW[step["dtype"]] for step in casts)


def weight_share(passes: Iterable[Mapping[str, Any]]) -> float:
    """What session passes leave of the weights' bytes, as if all of them were in the last pass's format."""
    formats = [step.get("dtype", "int8") for step in passes if step["pass"] in NARROWS_WEIGHTS]
    return NARROW[formats[-1]] if formats else 1.0


def kept_bytes(card: Mapping[str, Any], batch_size: int) -> float:
    """Bytes of the batches that timed calls rotate over, and of the outputs they are compared with.

    The last call's outputs, where the device has them, are there as well.
    """
    inputs = sum(
        math.prod(entry["shape"]) * item_bytes(entry["dtype"])
        for entry in card.get("inputs", ())
        if "value" not in entry
    )
    outputs = 4 * math.prod(card.get("output_shape") or (0,))
    count = buffer_count(card.get("samples") or batch_size, batch_size, inputs)
    return batch_size * (count * inputs + (count + 1) * outputs)


def cache_bytes(
    card: Mapping[str, Any], passes: Iterable[Mapping[str, Any]], batch_size: int, lengths: tuple[int, int]
) -> float:
    """Bytes of a batch's keys and values, for prompt and output together."""
    whole = (card.get("cache_bytes_per_token") or 0.0) * sum(lengths) * batch_size
    formats = [step.get("dtype", "int8") for step in passes if step["pass"] in ("quantize_cache", "cast")]
    return whole * min((NARROW[name] for name in formats), default=1.0)


def buffer_count(samples: int, batch_size: int, sample_bytes: float) -> int:
    """How many batches timed calls rotate over: as there are, and as memory sensibly holds; two or more."""
    there = -(-samples // batch_size)
    return int(max(2, min(MOST_BUFFERS, there, BUFFER_BYTES // max(sample_bytes * batch_size, 1))))


def item_bytes(dtype: str) -> float:
    """Bytes of a value of a numpy type, by its name."""
    bits = re.search(r"\d+$", dtype)
    return int(bits[0]) / 8 if bits else 1.0


def memory_limit_mb(
    accelerator: str, limit_mb: float | None, device_mb: float | None
) -> tuple[float, str] | None:
    """What a combination has to fit into, and whose it is; None where nobody knows.

    Parameters
    ----------
    limit_mb : `memory_limit_mb` of the device, which holds for a process on the host
    device_mb : the device's memory, on a CPU the host's
    """
    known = [] if device_mb is None else [(device_mb, "the device's memory")]
    if limit_mb is not None and accelerator == "cpu":
        known.append((limit_mb, "memory_limit_mb"))
    return min(known, default=None)


def shortage(needed_mb: float | None, limit: tuple[float, str] | None) -> str | None:
    """A sentence that says what is too much for what; None where it fits, or is not known."""
    if needed_mb is None or limit is None or needed_mb <= limit[0]:
        return None
    return f"predicted to take {needed_mb:,.0f} MB of memory; {limit[1]} is {limit[0]:,.0f} MB"
