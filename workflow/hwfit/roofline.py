"""The roofline: which of a device's two limits bounds a row, and what share of it the row reaches.

S. Williams, A. Waterman, D. Patterson: Roofline, CACM 52(4), 2009: with intensity I in FLOP a byte, a device
allows min(peak, I x bandwidth). Peak and bandwidth are those that the inventory measured, the peak in the
number format that the row computes in.

Work and traffic are reckoned, not counted while the row ran. Of a model's call: its card's FLOPs; the weights
are read once a call, each layer's output is written and read once, in the format of the arithmetic. Of a
language model's further token: 2 FLOPs a parameter (J. Kaplan et al., Scaling Laws for Neural Language
Models, arXiv 2001.08361, 2.1); weights and the filled part of the key-value cache are read once for the
whole batch. Where all of that fits into the device's last cache, memory is no limit.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hwfit.catalog import PASSES, generation_lengths

PEAK = re.compile(r"matmul_(\w+)_gflops")
FORMATS = {"float32": "fp32", "tf32": "tf32", "bfloat16": "bf16", "float16": "fp16", "int8": "int8"}
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
# As runtimes call what operators compute in.
NAMES = {
    **dict.fromkeys(("f32", "fp32", "float32"), "fp32"),
    **dict.fromkeys(("bf16", "bfloat16"), "bf16"),
    **dict.fromkeys(("f16", "fp16", "float16"), "fp16"),
    **dict.fromkeys(("i8", "u8", "int8", "uint8"), "int8"),
}
BANDWIDTHS = ("memory_copy_gb_s", "memory_read_gb_s")
# A call in these reads the weights once; in others their number is not that of the calls.
SCENARIOS = ("single_stream", "offline")
# A peak is the best of a few runs in another process: nearer than this, a row is at its limit.
MARGIN = 1.05


@dataclass(frozen=True)
class Roofs:
    """What a device does at most.

    Attributes
    ----------
    gflops : of matrix products, by number format (int8: GOP/s)
    gb_s : memory bandwidth, the better of copying and reading
    cache_mb : the last cache before memory; None where not told
    """

    gflops: Mapping[str, float] = field(default_factory=dict)
    gb_s: float | None = None
    cache_mb: float | None = None


@dataclass(frozen=True)
class Work:
    """What a row does.

    Attributes
    ----------
    gflops : achieved
    intensity : FLOP a byte moved between memory and the device
    resident_mb : what one call touches
    """

    gflops: float
    intensity: float
    resident_mb: float


@dataclass(frozen=True)
class Judgement:
    """Which limit is the lower one: "compute", "memory", or "cache", where memory is none because all that a
    call touches fits into the last cache (`share` is then that of arithmetic); and the share that is reached.
    """

    bound: str
    share: float


def roofs_of(inventory: Mapping[str, Any]) -> Roofs:
    """The limits of a device, as its inventory measured them."""
    told = inventory.get("peaks")
    peaks = {
        name: known
        for name, value in (told if isinstance(told, Mapping) else {}).items()
        if (known := positive(value))
    }
    matches = ((PEAK.fullmatch(str(name)), value) for name, value in peaks.items())
    gflops = {FORMATS.get(match[1], match[1]): value for match, value in matches if match}
    gb_s = max((peaks[name] for name in BANDWIDTHS if name in peaks), default=None)
    return Roofs(gflops, gb_s, positive(inventory.get("last_cache_mb")))


def number_format(operators: Mapping[str, int], passes: Iterable[Mapping[str, Any]]) -> str | None:
    """What a row's products are computed in: as most of its operators do by their runtime, else as its passes
    ask for. None where a pass has products skipped, for which no dense peak is a limit.
    """
    steps = list(passes)
    if any(PASSES[step["pass"]].skips_products for step in steps if step.get("pass") in PASSES):
        return None
    counted: Counter[str] = Counter()
    for name, count in operators.items():
        if name.lower() in NAMES:
            counted[NAMES[name.lower()]] += count
    if counted:
        return counted.most_common(1)[0][0]
    asked = [
        step.get("dtype") or "int8"
        for step in steps
        if step.get("pass") in PASSES and PASSES[step["pass"]].computes
    ]
    return FORMATS.get(asked[-1]) if asked else "fp32"


def work_of(line: Mapping[str, Any]) -> Work | None:
    """The work of a line of the table; None where its card does not tell it."""
    lengths = generation_lengths(str(line.get("scenario")))
    if lengths:
        return work_of_token(line, *lengths)
    if line.get("scenario") not in SCENARIOS:
        return None
    batch, flops, rate, weights = (
        positive(line.get(name))
        for name in ("batch_size", "flops_per_sample", "throughput_samples_per_s", "model_size_mb")
    )
    activations, width = (
        positive(line.get("activation_mb_per_sample")),
        BYTES.get(str(line.get("number_format"))),
    )
    if not (batch and flops and rate and activations and width):
        return None
    weights, activations = weights or 0.0, activations * width / BYTES["fp32"]
    moved_mb = weights / batch + 2 * activations
    return Work(flops * rate / 1e9, flops / (moved_mb * 1e6), weights + activations * batch)


def work_of_token(line: Mapping[str, Any], prompt_tokens: int, output_tokens: int) -> Work | None:
    """The work of each further token of a language model, of the whole batch."""
    batch, parameters, rate, weights = (
        positive(line.get(name))
        for name in ("batch_size", "parameters", "decode_tokens_per_s", "model_size_mb")
    )
    if not (batch and parameters and rate and weights):
        return None
    filled = (prompt_tokens + output_tokens / 2) / (prompt_tokens + output_tokens)
    moved_mb = weights + (positive(line.get("kv_cache_mb")) or 0.0) * filled
    return Work(2 * parameters * rate / 1e9, 2 * parameters * batch / (moved_mb * 1e6), moved_mb)


def judge(work: Work | None, number_format: str | None, roofs: Roofs) -> Judgement | None:
    """What bounds a row, and how near it comes; None where the work is not told, or a limit not measured."""
    peak = roofs.gflops.get(number_format or "")
    if work is None or peak is None or roofs.gb_s is None:
        return None
    slope = roofs.gb_s * work.intensity
    if slope >= peak:
        return Judgement("compute", work.gflops / peak)
    if roofs.cache_mb and work.resident_mb <= roofs.cache_mb:
        return Judgement("cache", work.gflops / peak)
    return Judgement("memory", work.gflops / slope)


def positive(value: Any) -> float | None:
    """A number above 0, or None for anything else, an empty cell of the table among it."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return None
    found = float(value)
    return found if math.isfinite(found) and found > 0 else None
