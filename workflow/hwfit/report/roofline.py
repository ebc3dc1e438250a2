"""The roofline: what a row achieves, beside what its device's measured peaks would allow at most.

S. Williams, A. Waterman, D. Patterson: Roofline, CACM 52(4), 2009. Work and traffic are those of the model's
card, not counted while it ran: a call reads the weights once, and each layer's output is written and read
once. Caches make that less, copies and padding make it more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from hwfit.report.numbers import number

PEAK = re.compile(r"matmul_(\w+)_gflops")
FORMATS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
PLAIN = "fp32"
# Of a row in a scenario with a fixed batch and one pass over the weights the card tells the traffic; a
# language model reads them anew for each token, and a service fills its batches as requests arrive.
SCENARIOS = ("single_stream", "offline")
# A peak is the best of a few runs in another process: nearer than this, a row is at its roof.
MARGIN = 1.05


def intensity(rows: pd.DataFrame) -> pd.Series:
    """FLOPs a byte: of a sample, with its share of the weights and its activations, out and in."""
    weights = rows["model_size_mb"] / rows["batch_size"].where(rows["batch_size"] > 0)
    traffic = 1e6 * (weights + 2 * rows["activation_mb_per_sample"])
    work = rows["flops_per_sample"].where(rows["scenario"].isin(SCENARIOS))
    return (work / traffic).where((work > 0) & (traffic > 0))


def achieved_gflops(rows: pd.DataFrame) -> pd.Series:
    """The work of a sample, times the samples a second."""
    work = rows["flops_per_sample"] * rows["throughput_samples_per_s"] / 1e9
    return work.where(work > 0)


def roofs(inventories: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The roofs of each device whose peaks were measured: {"device", "format", "gflops", "gb_s"}."""
    found = []
    for device, inventory in inventories.items():
        peaks = inventory.get("peaks")
        peaks = peaks if isinstance(peaks, Mapping) else {}
        gb_s = number(peaks.get("memory_copy_gb_s"))
        for name, value in peaks.items():
            match, gflops = PEAK.fullmatch(str(name)), number(value)
            if match and gflops and gb_s and gflops > 0 and gb_s > 0:
                narrow = FORMATS.get(match[1], match[1])
                found.append({"device": device, "format": narrow, "gflops": gflops, "gb_s": gb_s})
    return found


def format_of(optimization: str, plan: Mapping[str, Any]) -> str:
    """The number format that an optimization's passes compute in, as the plan tells it; else fp32."""
    told = (plan.get("optimizations") or {}).get(optimization) or {}
    formats = [step.get("dtype") for step in told.get("passes") or [] if isinstance(step, Mapping)]
    narrow = next((name for name in reversed(formats) if name), "float32")
    return FORMATS.get(narrow, narrow)


def judged(rows: pd.DataFrame, known: Iterable[Mapping[str, Any]], plan: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that have a roof, with it.

    Returns
    -------
    the rows, with "format", "roof_format", "roof_gflops" at the row's intensity, "bound" ("memory" or
    "compute"), and "share", what is achieved of the roof
    """
    by_device: dict[str, dict[str, Mapping[str, Any]]] = {}
    for each in known:
        by_device.setdefault(each["device"], {})[each["format"]] = each
    drawn = rows[rows["drawn"] & rows["intensity"].notna() & rows["achieved_gflops"].notna()]
    lines = []
    for index, device, optimization, flops_a_byte in zip(
        drawn.index, drawn["device"], drawn["optimization"], drawn["intensity"], strict=True
    ):
        own = by_device.get(device, {})
        wanted = format_of(optimization, plan)
        roof = own.get(wanted) or own.get(PLAIN)
        if roof is None:
            continue
        slope = roof["gb_s"] * flops_a_byte
        bound = "memory" if slope < roof["gflops"] else "compute"
        lines.append((index, wanted, roof["format"], min(slope, roof["gflops"]), bound))
    found = pd.DataFrame(lines, columns=["index", "format", "roof_format", "roof_gflops", "bound"])
    joined = drawn.join(found.set_index("index"), how="inner")
    return joined.assign(share=joined["achieved_gflops"] / joined["roof_gflops"])
