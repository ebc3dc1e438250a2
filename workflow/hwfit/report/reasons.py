"""Why an optimization does not pay: only what the records show, and nothing where they show none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hwfit.report import numbers
from hwfit.report.language import Language

# How a format is called where operators are counted, and which flags of a CPU say that it has instructions
# for it: x86's, then Arm's.
FORMATS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bfloat16": (("bf16", "bfloat16"), ("avx512_bf16", "amx_bf16", "bf16")),
    "float16": (("f16", "float16"), ("avx512_fp16", "amx_fp16", "asimdhp")),
    "int8": (("i8", "u8", "int8", "uint8"), ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")),
}
FULL = ("f32", "fp32", "float32")
# By less than this share, zeros are not what an optimization is about.
ZEROED = 0.02
# An interval of the speedup that ends above this says too little for a reason why there is none.
TELLING = 1.5
# The pass whose zeros lie so that some devices have kernels for them.
SPARSE_KERNELS = "sparse_2_4"


def reason(
    group: pd.DataFrame,
    kind: str,
    passes: list[Mapping[str, Any]],
    inventory: Mapping[str, Any],
    words: Language,
) -> str:
    """One sentence, as plain text; '' where the records do not tell.

    Parameters
    ----------
    group : the rows of one cell, all with a speedup
    kind : what became of it: 'slower' or 'same'
    passes : of the optimization, each with its "pass" and parameters
    inventory : of the device
    """
    found = of_streams(group, passes, words)
    if not found and (kind == "slower" or group["speedup_high"].min() < TELLING):
        found = of_zeros(group, passes, words) or of_format(group, passes, inventory, words)
    return found or (words("reasons.noise").unescape() if kind == "same" else "")


def of_zeros(group: pd.DataFrame, passes: list[Mapping[str, Any]], words: Language) -> str:
    """Weights that are zero, in a network that is as large as before."""
    left = group["nonzero_ratio"].min()
    is_dense = left < 1 - ZEROED and abs(group["parameters_ratio"].min() - 1) < ZEROED
    if not is_dense or any(step.get("pass") == SPARSE_KERNELS for step in passes):
        return ""
    if abs(left - 0.5) < ZEROED:
        return words("reasons.dense_half").unescape()
    return words("reasons.dense", share=numbers.share(float(f"{left:.2g}"))).unescape()


def of_format(
    group: pd.DataFrame, passes: list[Mapping[str, Any]], inventory: Mapping[str, Any], words: Language
) -> str:
    """A narrower format that no operator computes in, that is emulated, or that some operators lack."""
    asked = next((FORMATS[step["dtype"]] for step in passes if step.get("dtype") in FORMATS), None)
    if asked is None:
        return ""
    names, flags = asked
    counted = counts_of(str(group["operator_formats"].iloc[0]))
    narrow, full = (sum(counted.get(name, 0) for name in each) for each in (names, FULL))
    if counted and not narrow:
        return words(
            "reasons.not_narrow", format=names[0], counted=group["operator_formats"].iloc[0]
        ).unescape()
    known = inventory.get("cpu_flags") if inventory.get("accelerator") == "cpu" else None
    if known and not set(flags) & set(map(str, known)):
        return words("reasons.emulated", format=names[0]).unescape()
    if narrow and full:
        return words("reasons.converted", full=full, all=sum(counted.values())).unescape()
    return ""


def counts_of(told: str) -> dict[str, int]:
    """Operators by format, from how the table writes them: "bf16 65, f32 46"."""
    pairs = [entry.rpartition(" ") for entry in told.split(", ") if entry]
    return {name: int(count) for name, _, count in pairs if count.isdigit()}


def of_streams(group: pd.DataFrame, passes: list[Mapping[str, Any]], words: Language) -> str:
    """A device cut up for many calls, of which there is one at a time."""
    asks = any((step.get("pass"), step.get("hint")) == ("performance_hint", "throughput") for step in passes)
    is_alone = (group["scenario"] != "offline").all()
    return words("reasons.streams").unescape() if asks and is_alone else ""
