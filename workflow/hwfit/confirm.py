"""Confirmation: fresh rounds of the contenders, interleaved, in random order.

One job a device runs them all, so that the order is in its hands: each round visits every contender
once, each in a process of its own, in an order shuffled anew.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from hwfit.matrix import Plan, attempts_file
from hwfit.records import Cell


def confirm(plan: Plan, contenders: list[Mapping[str, Any]], seed: int = 0) -> list[dict[str, Any]]:
    """Measure the contenders of one device again.

    Returns
    -------
    for each combination {"cell", "batch_size", "rounds"}: which rounds confirm it
    """
    measurement = plan.study.config.measurement
    sizes: dict[Cell, list[int]] = {}
    for entry in contenders:
        sizes.setdefault(Cell(**entry["cell"]), []).append(entry["batch_size"])
    rounds = range(measurement.rounds, measurement.rounds + measurement.confirm_rounds)
    order = random.Random(seed)
    for round in rounds:
        cells = sorted(sizes)
        order.shuffle(cells)
        for cell in cells:
            measure(plan, cell, round, sizes[cell])
    return [
        {"cell": entry["cell"], "batch_size": entry["batch_size"], "rounds": list(rounds)}
        for entry in contenders
    ]


def measure(plan: Plan, cell: Cell, round: int, batch_sizes: list[int]) -> None:
    """One supervised round of a cell. A supervisor that fails ends the job, and Snakemake tries it again."""
    command = [sys.executable, "-m", "hwfit.worker", "supervise"]
    command += ["--job", json.dumps(plan.job(cell, round, batch_sizes), sort_keys=True)]
    command += ["--attempts", attempts_file(cell, round)]
    subprocess.run(command, check=True)
