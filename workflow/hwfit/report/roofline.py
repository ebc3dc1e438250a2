"""The roofline as the report draws it: a place for each row, and the roofs of each device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hwfit.identities import is_of_several
from hwfit.roofline import Roofs, roofs_of, work_of


def places(rows: pd.DataFrame) -> pd.DataFrame:
    """Where each row stands: "intensity" in FLOP a byte, and "achieved_gflops"; NaN where not told."""
    works = [work_of(line) for line in rows.to_dict("records")]
    told = [(work.intensity, work.gflops) if work else (None, None) for work in works]
    return pd.DataFrame(told, columns=["intensity", "achieved_gflops"], index=rows.index, dtype=float)


def roofs(inventories: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The roofs of each device whose two limits were measured: {"device", "format", "gflops", "gb_s"}."""
    known: dict[str, Roofs] = {
        device: roofs_of(inventory)
        for device, inventory in inventories.items()
        if not is_of_several(inventory)
    }
    return [
        {"device": device, "format": name, "gflops": gflops, "gb_s": found.gb_s}
        for device, found in known.items()
        if found.gb_s
        for name, gflops in found.gflops.items()
    ]
