"""How long a submitted job may take: what its time limit should be, by arithmetic on the config alone.

A limit that is too short kills a measurement, one that is too long lets a job wait longer for its node. So
each part is taken at twice what it usually costs, and one worker may hang until the supervisor stops it:
a row that says so is worth more than a job that the scheduler killed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

# Until a worker measures: two Snakemakes and a framework are read from a shared file system.
START_S = 180.0
# Of a batch size, beside its timed calls: the first one with compilation, evaluation, warm-up, checks.
AROUND_CALLS_S = 60.0
# A further fresh process on the same node, whose files are in its cache.
PROCESS_S = 60.0
# Peaks and memory of one runtime (see hwfit.worker.inventory), where no format is emulated.
INVENTORY_S = 300.0
# Rates that the scenario server tries for a batch size.
SERVER_RATES = 12
# Contenders of a model and scenario (hwfit.recommendation.MOST_CONTENDERS, which needs pandas).
CONTENDERS = 5
SLACK = 2.0
PROBE_MINUTES = 10
# Training goes on from its checkpoint when its time is over, so that this need not be enough.
TRAINING_MINUTES = 240


def batch_seconds(measurement: Mapping[str, Any], scenario: str) -> float:
    """What one batch size usually takes at most, in s.

    Parameters
    ----------
    measurement : the section of the config
    """
    timed = float(measurement["max_seconds"])
    if scenario == "server":
        timed += SERVER_RATES * float(measurement["server_seconds"])
    return AROUND_CALLS_S + (1 + measurement["repeats"]) * timed + float(measurement["energy_seconds"])


def cell_minutes(
    measurement: Mapping[str, Any], scenario: str, batch_sizes: Iterable[int], runtimes: int
) -> int:
    """The time limit of a job that measures a cell once, in minutes.

    Parameters
    ----------
    runtimes : of the device: a job that meets a node for the first time takes its inventory with all of them
    """
    seconds = SLACK * len(list(batch_sizes)) * batch_seconds(measurement, scenario)
    return in_minutes(START_S + SLACK * INVENTORY_S * runtimes + seconds + measurement["timeout_seconds"])


def screening_minutes(measurement: Mapping[str, Any], cells: int, runtimes: int) -> int:
    """The time limit of a job that looks at cells for a moment each, of which one may hang, in minutes."""
    seconds = cells * (PROCESS_S + AROUND_CALLS_S)
    return in_minutes(START_S + SLACK * INVENTORY_S * runtimes + seconds + measurement["timeout_seconds"])


def confirmation_minutes(measurement: Mapping[str, Any], scenarios: Mapping[str, int], runtimes: int) -> int:
    """The time limit of a job that confirms contenders in fresh rounds, in minutes.

    Parameters
    ----------
    scenarios : how many contenders each scenario has
    """
    most = measurement["most_confirm_rounds"]
    rounds = 2 * measurement["confirm_rounds"] if most is None else most
    seconds = rounds * sum(
        count * (PROCESS_S + batch_seconds(measurement, scenario)) for scenario, count in scenarios.items()
    )
    return in_minutes(START_S + SLACK * INVENTORY_S * runtimes + seconds + measurement["timeout_seconds"])


def inventory_minutes(runtimes: int) -> int:
    """The time limit of a job that takes a device's inventory, in minutes."""
    return in_minutes(START_S + SLACK * INVENTORY_S * runtimes)


def in_minutes(seconds: float) -> int:
    """Seconds as whole minutes, rounded up: schedulers count in these."""
    return math.ceil(seconds / 60)
