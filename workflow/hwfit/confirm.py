"""Confirmation: fresh rounds of the contenders, interleaved, in random order, until they can be told apart.

One job a device runs them all, so that the order is in its hands: each round visits every contender
once, each in a process of its own, in an order shuffled anew. After the rounds that all of them get, only
those go on that the decision cannot tell apart, up to a bound: what is left then is a tie.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hwfit.collect import read_inventories, read_rows
from hwfit.layout import attempts_file
from hwfit.matrix import Plan
from hwfit.process import die_with_parent
from hwfit.recommendation import still_open
from hwfit.records import Cell

Rounds = dict[tuple[Cell, int], list[int]]


def confirm(
    plan: Plan,
    contenders: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]] = (),
    measure: Callable[[Plan, Cell, int, list[int]], None] | None = None,
    seed: int = 0,
    merged: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Measure the contenders of one device again.

    Parameters
    ----------
    others : the contenders of other devices, beside which these may be undecided too
    merged : the plan as results/plan.json has it, where it has rows of other sites too
    measure : runs one round of a cell's batch sizes; supervised, in a process of its own, where absent

    Returns
    -------
    for each combination {"cell", "batch_size", "rounds"}: which rounds confirm it
    """
    measurement = plan.study.config.measurement
    most = measurement.most_confirm_rounds
    most = 2 * measurement.confirm_rounds if most is None else most
    rounds: Rounds = {key: [] for key in keys_of(contenders)}
    left, beside = set(rounds), keys_of(others)
    order = random.Random(seed)
    for number in range(most):
        if number >= measurement.confirm_rounds:
            left &= undecided_of(merged or plan.to_dict(), rounds, [*left, *beside])
        round = measurement.rounds + number
        cells = sorted({cell for cell, _ in left})
        order.shuffle(cells)
        for cell in cells:
            sizes = [size for other, size in rounds if other == cell and (other, size) in left]
            (measure or measure_supervised)(plan, cell, round, sizes)
        for key in left:
            rounds[key].append(round)
    return [
        {"cell": cell.__dict__, "batch_size": size, "rounds": confirming}
        for (cell, size), confirming in rounds.items()
    ]


def keys_of(contenders: Sequence[Mapping[str, Any]]) -> list[tuple[Cell, int]]:
    """The combinations that entries of results/contenders.json name."""
    return [(Cell(**entry["cell"]), entry["batch_size"]) for entry in contenders]


def undecided_of(
    data: Mapping[str, Any], rounds: Rounds, nominated: Sequence[tuple[Cell, int]]
) -> set[tuple[Cell, int]]:
    """Of combinations that were nominated, with the rounds that confirm them so far, those that the decision
    cannot tell apart.
    """
    found = still_open(read_rows(data, confirming=rounds), data, read_inventories(data), nominated)
    return {(candidate.row.cell, candidate.row.batch_size) for candidate in found}


def measure_supervised(plan: Plan, cell: Cell, round: int, batch_sizes: list[int]) -> None:
    """One supervised round of a cell. A supervisor that fails ends the job, and Snakemake tries it again."""
    command = [sys.executable, "-m", "hwfit.worker", "supervise"]
    command += ["--job", json.dumps(plan.job(cell, round, batch_sizes), sort_keys=True)]
    command += ["--attempts", attempts_file(cell, round)]
    parent = os.getpid()
    # Politely, so that a supervisor ends its worker and knows why.
    end = signal.SIGTERM
    subprocess.run(command, check=True, preexec_fn=lambda: die_with_parent(parent, end))
