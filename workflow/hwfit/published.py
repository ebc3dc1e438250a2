"""What makers publish of their accelerators, to stand beside what was measured, and what makes it credible.

A figure "with sparsity" is twice the dense one, and both look alike: H100's bf16 peak is 989, its data sheet
prints 1,979. `doubts` tells them apart by what has nothing to do with sparsity: the number of matrix units,
what each does in a clock, and the clock.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Format = Literal["float32", "tf32", "bfloat16", "float16", "int8"]
# A boost clock is the highest, data sheets reckon with it or with a lower one.
OF_UNITS = (0.85, 1.05)
# Printed figures are rounded, some oddly: 733 beside 362.05.
ROUNDING = 0.03
# A kernel that ran cannot beat the units it ran on; clocks may be a little above what was published.
BELIEVABLE = 1.05


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Strict):
    document: str
    url: str


class MatrixUnits(Strict):
    count: int
    flop_per_clock: int
    boost_ghz: float


class Published(Strict):
    """An entry of the table; its first lines say what each field is."""

    name: str
    vendor: str
    matches: list[str]
    dense_tflops: dict[Format, float] = Field(min_length=1)
    sparse_tflops: dict[Format, float] = {}
    derived: list[Format] = []
    has_sparsity: bool = True
    matrix_units: MatrixUnits | None = None
    memory_gb_s: float | None = None
    memory_gb: float | None = None
    tdp_w: float | None = None
    source: Source
    read_in: str
    note: str = ""

    def peaks(self) -> dict[str, float]:
        """The figures by the names of the inventory's."""
        found = {f"matmul_{name}_gflops": 1e3 * value for name, value in self.dense_tflops.items()}
        return found | ({"memory_gb_s": self.memory_gb_s} if self.memory_gb_s else {})


@functools.cache
def table() -> tuple[Published, ...]:
    """The whole table. Raises pydantic.ValidationError where an entry does not hold together."""
    content = (files("hwfit") / "published_peaks.yaml").read_text(encoding="utf-8")
    return tuple(TypeAdapter(list[Published]).validate_python(yaml.safe_load(content)))


def published_of(name: str | None) -> Published | None:
    """The entry of a device by the name its driver tells; None where the table has none."""
    if not name:
        return None
    return next((each for each in table() if any(re.fullmatch(known, name) for known in each.matches)), None)


def doubts(entry: Published) -> list[str]:
    """Why the figures of an entry cannot all be dense; nothing where they can."""
    found = []
    dense, sparse = entry.dense_tflops, entry.sparse_tflops
    for name, value in sparse.items():
        if name not in dense or abs(value / dense[name] - 2) > 2 * ROUNDING:
            found.append(f"{name}: {value:g} with sparsity is not twice {dense.get(name)}")
    found += [f"{name}: derived from no figure with sparsity" for name in entry.derived if name not in sparse]
    half = [dense[name] for name in ("bfloat16", "float16") if name in dense]
    if len(set(half)) > 1:
        found.append(f"bfloat16 and float16 differ: {half}")
    for other, ratios in {"int8": (1, 2, 4), "tf32": (0.5,)}.items():
        told = next((figure for name, figure in dense.items() if name == other), None)
        if half and told and all(abs(told / half[0] / ratio - 1) > ROUNDING for ratio in ratios):
            found.append(f"{other}: {told:g} beside {half[0]:g} in half precision")
    if entry.matrix_units and half:
        units = entry.matrix_units
        made = units.count * units.flop_per_clock * units.boost_ghz / 1e3
        if not OF_UNITS[0] < half[0] / made < OF_UNITS[1]:
            found.append(f"half precision: {half[0]:g} is not what its units do, {made:.4g}")
    if not entry.has_sparsity and sparse:
        found.append("has no sparsity, and figures with it")
    if entry.has_sparsity and not entry.matrix_units and (not sparse or entry.derived):
        found.append("neither its units nor both figures tell that it is dense")
    return found


def unbelievable(peaks: Mapping[str, float], entry: Published) -> dict[str, float]:
    """The measured peaks above what is published, with their ratio to it: a kernel that did not run."""
    known = entry.peaks()
    known |= {
        name: known["memory_gb_s"]
        for name in ("memory_copy_gb_s", "memory_read_gb_s")
        if "memory_gb_s" in known
    }
    ratios = {name: value / known[name] for name, value in peaks.items() if name in known}
    return {name: ratio for name, ratio in ratios.items() if ratio > BELIEVABLE}
