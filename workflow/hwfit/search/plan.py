"""What Snakemake asks about the guided search: its looks, and the profiles of what goes on after them.

What goes on is known only when a round is judged: a checkpoint of Snakemake's. Where the search is
exhaustive, all answers are the plan's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwfit.layout import PROFILES
from hwfit.matrix import Plan, cell_of
from hwfit.records import Cell, profile_path
from hwfit.search.curves import screened_sizes
from hwfit.search.records import (
    ROUNDS,
    SCREENING,
    Verdict,
    attempts_file,
    read_verdict,
    summary_file,
    verdict_file,
)

# Of timed calls at a batch size, and of warming up before; less where a full measurement is short itself.
SCREEN_SECONDS = 0.05
SCREEN_SHARE = 0.05
GIVEN_UP = f"given up by the guided search: see {verdict_file(ROUNDS - 1)}"
Target = tuple[str, str, str]


@dataclass(frozen=True)
class SearchPlan:
    """The looks at a plan's cells."""

    plan: Plan

    @property
    def is_guided(self) -> bool:
        return self.plan.study.config.measurement.search == "guided"

    @cached_property
    def cells(self) -> dict[Target, list[Cell]]:
        """The cells that are looked at in one job: of a device, a runtime and a model."""
        found: dict[Target, list[Cell]] = {}
        for cell in self.plan.cells:
            found.setdefault((cell.device, cell.runtime, cell.model), []).append(cell)
        return found

    # What the rules of looking ask.

    def summary_pattern(self, device: str, runtime: str) -> str:
        """What the looks of a target make, with Snakemake's wildcards for the rest."""
        return summary_file(device, runtime, "{model}", "{round}")

    def weights_cards(self, device: str, runtime: str) -> Callable[[Any], list[str]]:
        """The cards of the weights that a target's cells of a model run."""

        def cards(wildcards: Any) -> list[str]:
            found = []
            for cell in self.cells[device, runtime, wildcards.model]:
                for each in self.plan.member_cells(cell) or [cell]:
                    found.append(f"{self.plan.weights_directory(each)}/card.json")
            return list(dict.fromkeys(found))

        return cards

    def verdict_before(self, wildcards: Any) -> list[str]:
        """The verdict that says what is left to look at; none before the first round."""
        round = int(wildcards.round)
        return [verdict_file(round - 1)] if round else []

    def jobs_of(self, device: str, runtime: str) -> Callable[[Any], str]:
        """The jobs of a target's cells of a model, as JSON that says once what they have in common."""

        def jobs(wildcards: Any) -> str:
            cells = self.cells[device, runtime, wildcards.model]
            told = [self.job(cell, int(wildcards.round)) for cell in cells]
            common = {
                key: value
                for key, value in told[0].items()
                if all(key in job and job[key] == value for job in told)
            }
            rest = [{key: value for key, value in job.items() if key not in common} for job in told]
            return json.dumps({"common": common, "jobs": rest}, sort_keys=True)

        return jobs

    def job(self, cell: Cell, round: int) -> dict[str, Any]:
        """What a supervisor needs to look at a cell (see `hwfit.worker.job`), and where it logs attempts.

        In the first round at some of its batch sizes, later at all that the verdict before leaves.
        """
        measurement = self.plan.study.config.measurement
        sizes = [size for size, reason in self.plan.batch_sizes[cell].items() if not reason]
        looked = screened_sizes(sizes) if round == 0 else sorted(sizes)
        job = self.plan.job(cell, round, looked)
        asked = job["measurement"]
        settings = {name: asked[name] for name in ("timeout_seconds", "server_seconds") if name in asked}
        seconds = min(SCREEN_SECONDS, measurement.max_seconds * SCREEN_SHARE)
        return job | {
            "measurement": settings
            | {
                "relative_ci": 1.0,
                "repeats": 0,
                "screen_seconds": seconds,
                "evaluated_batch_size": max(looked),
            },
            "energy": {"seconds": 0},
            "profiles": SCREENING,
            "attempts": attempts_file(cell, round),
        }

    def looks(self, checkpoints: Any) -> Callable[[Any], list[str]]:
        """What the verdict on a round rests on.

        Its function raises Snakemake's IncompleteCheckpointException where the round before is not judged.
        """

        def summaries(wildcards: Any) -> list[str]:
            round = int(wildcards.round)
            again = set(self.verdict(checkpoints, round - 1).look_again) if round else set(self.plan.cells)
            return [
                summary_file(*target, round)
                for target, cells in self.cells.items()
                if any(cell in again for cell in cells)
            ]

        return summaries

    def verdict(self, checkpoints: Any, round: int) -> Verdict:
        """The verdict on a round, once it is there."""
        return read_verdict(str(checkpoints.choose_round.get(round=round).output[0]))

    # What the rules of measuring ask.

    def first_looks(self, checkpoints: Any) -> Any:
        """The profiles of the first rounds: of every cell, or after a guided search of those that go on."""
        if not self.is_guided:
            return self.plan.first_looks()

        def profiles(wildcards: Any) -> list[str]:
            going = self.verdict(checkpoints, ROUNDS - 1).go_on
            return [
                verdict_file(ROUNDS - 1),
                *(
                    str(profile_path(PROFILES, cell, round, batch_size))
                    for cell in going
                    for round in range(self.plan.study.config.measurement.rounds)
                    for batch_size in self.plan.rectangles[cell.device, cell.runtime]
                ),
            ]

        return profiles

    @property
    def verdict_files(self) -> list[str]:
        """What says which rows were given up; nothing where the search is exhaustive."""
        return [verdict_file(ROUNDS - 1)] if self.is_guided else []

    def job_of(self, device: str, runtime: str) -> Callable[[Any], str]:
        """The job that measures a target's cell, as JSON; without the batch sizes that do not go on."""
        if not self.is_guided:
            return self.plan.job_of(device, runtime)

        def job(wildcards: Any) -> str:
            cell = cell_of(device, runtime, wildcards)
            found = self.plan.job(cell, int(wildcards.round))
            going = going_by_the_last_verdict().get(cell)
            if going is not None:
                left_out = {str(size): GIVEN_UP for size in found["batch_sizes"] if size not in going}
                found["excluded"] = left_out | found["excluded"]
            return json.dumps(found, sort_keys=True)

        return job


def going_by_the_last_verdict() -> dict[Cell, list[int]]:
    """What goes on by the last verdict on disk; nothing where there is none.

    Every job of measuring asks, and the file is read again only when it has changed.
    """
    path = Path(verdict_file(ROUNDS - 1))
    try:
        stamp = path.stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    if _last.get("stamp") != stamp:
        _last.update(stamp=stamp, go_on=read_verdict(path).go_on)
    return _last["go_on"]


_last: dict[str, Any] = {}
