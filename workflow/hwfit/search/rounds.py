"""The verdict of a round of looks: which combinations go on, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hwfit.collect import read_inventories
from hwfit.decision_sections import Decision as Wanted
from hwfit.layout import site_of
from hwfit.recommendation import baseline_of, wanted_in
from hwfit.records import Cell
from hwfit.search.curves import screened_sizes
from hwfit.search.judge import Look, judge
from hwfit.search.looks import looks_of, read_cell, starts_long
from hwfit.search.records import ROUNDS, GivenUp, Key, Verdict, read_verdict, verdict_file

# Of a model in a scenario so many combinations are measured in full that are known to fit, and at most as
# many ahead of them that may fit. Fresh rounds then confirm five.
MOST_IN_FULL = 8
# What an inference is wanted to take least of, by what training with so many inferences is to take least of.
OF_INFERENCES = {"seconds": "throughput", "energy": "energy", "cost": "cost"}


def choose_round(plan: Mapping[str, Any], round: int, directory: Path | str = ".") -> Verdict:
    """The verdict of a round, which holds those of the rounds before.

    Raises RecordError where the verdict before cannot be read.
    """
    verdicts = [read_verdict(Path(directory) / verdict_file(each)) for each in range(round)]
    before = verdicts[-1].given_up if verdicts else []
    gone = {each.key for each in before}
    keys = [key for key in planned(plan) if key not in gone]
    cells = list(dict.fromkeys(cell for cell, _ in keys))
    looked = [first_looks(plan), *(verdict.look_again for verdict in verdicts)]
    records = {cell: read_cell(Path(directory), cell, looked) for cell in cells}
    looks, failed = looks_of(plan, keys, records, read_inventories(plan, directory))
    gone = {each.key for each in failed}
    beaten = {each.key: each for each in judged(looks, plan, is_last=round == ROUNDS - 1)}
    left = [key for key in keys if key not in gone and key not in beaten]
    needed = baselines_of(left, wanted_in(plan))
    going = by_cell(key for key in keys if key not in gone and (key not in beaten or key in needed))
    again = {cell: sizes for cell, sizes in going.items() if not starts_long(records[cell])}
    given_up = [*failed, *(each for key, each in beaten.items() if key not in needed)]
    return Verdict(round, going, again, [*before, *given_up])


def by_cell(keys: Iterable[Key]) -> dict[Cell, list[int]]:
    """The batch sizes of each cell."""
    sizes: dict[Cell, list[int]] = {}
    for cell, size in keys:
        sizes.setdefault(cell, []).append(size)
    return sizes


def first_looks(plan: Mapping[str, Any]) -> dict[Cell, list[int]]:
    """The batch sizes at which each cell is looked at in the first round."""
    return {cell: screened_sizes(sizes) for cell, sizes in by_cell(planned(plan)).items()}


def planned(plan: Mapping[str, Any]) -> list[Key]:
    """The combinations that can be measured here, as far as the config tells."""
    return [
        (Cell(**{name: entry[name] for name in Cell.__dataclass_fields__}), entry["batch_size"])
        for entry in plan["combinations"]
        if not entry["status"] and not site_of(entry["device"])
    ]


def judged(looks: Iterable[Look], plan: Mapping[str, Any], *, is_last: bool) -> list[GivenUp]:
    """What is given up of each model in each scenario; after the last looks, all but the best."""
    wanted = wanted_in(plan)
    questions: dict[tuple[str, str], list[Look]] = {}
    for look in looks:
        cell = look.candidate.row.cell
        questions.setdefault((cell.model, cell.scenario), []).append(look)
    # Where one device has to serve several models, or to train too, each device needs a winner of its own.
    apart = {model for models in wanted.share_device.values() for model in models}
    if wanted.training.plus_inferences is not None:
        apart |= {model for model, _ in questions}

    def given_up(model: str, group: list[Look], objective: str | Mapping[str, float]) -> list[GivenUp]:
        return judge(
            *(group, objective, wanted.limits_of(model)),
            is_apart_by_device=model in apart,
            most=MOST_IN_FULL if is_last else None,
        )

    found = []
    for (model, _), group in questions.items():
        of_model = given_up(model, group, wanted.wanted_of(model))
        if wanted.training.plus_inferences is not None:
            # What is cheapest for training and all inferences together may be another row than the best one.
            behind = {each.key for each in given_up(model, group, OF_INFERENCES[wanted.training.objective])}
            of_model = [each for each in of_model if each.kind != "dominated" or each.key in behind]
        found += of_model
    return found


def baselines_of(keys: Iterable[Key], wanted: Wanted) -> set[Key]:
    """The rows that relative limits of some rows look at: measured too, though they cannot win."""
    return {
        baseline_of(wanted, cell, size)
        for cell, size in keys
        if any(isinstance(bound, str) for bound in wanted.limits_of(cell.model).values())
    }
