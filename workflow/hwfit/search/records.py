"""Where the guided search keeps its looks and verdicts, and what a verdict says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwfit.layout import RESULTS
from hwfit.records import Cell, RecordError, read_json

SCREENING = f"{RESULTS}/screening"
SEARCH = f"{RESULTS}/search"
# Looks at every cell, then fresh processes for what is left of them.
ROUNDS = 2
# How the reason begins for which a combination is skipped.
REASON = "guided search"
Key = tuple[Cell, int]


@dataclass(frozen=True)
class GivenUp:
    """A combination that is not measured in full.

    Attributes
    ----------
    kind : `dominated` by the leader, `infeasible` by a limit, or `failed` as its status says
    """

    cell: Cell
    batch_size: int
    kind: str
    status: str
    reason: str

    @property
    def key(self) -> Key:
        return self.cell, self.batch_size

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GivenUp:
        return cls(**dict(data) | {"cell": Cell(**data["cell"])})


@dataclass(frozen=True)
class Verdict:
    """What goes on after a round, and what was given up in it and in those before.

    Attributes
    ----------
    look_again : of what goes on, what another look is worth its time
    """

    round: int
    go_on: dict[Cell, list[int]]
    look_again: dict[Cell, list[int]]
    given_up: list[GivenUp]

    def to_dict(self) -> dict[str, Any]:
        named = {
            name: [{"cell": asdict(cell), "batch_sizes": sizes} for cell, sizes in found.items()]
            for name, found in (("go_on", self.go_on), ("look_again", self.look_again))
        }
        return {"round": self.round, **named, "given_up": [asdict(each) for each in self.given_up]}


def verdict_file(round: int | str) -> str:
    """What was decided after a round."""
    return f"{SEARCH}/round{round}.json"


def summary_file(device: str, runtime: str, model: str, round: int | str) -> str:
    """What a round of looks at a model's cells of one target took, and where their records lie."""
    return f"{SEARCH}/round{round}/{device}/{runtime}/{model}.json"


def attempts_file(cell: Cell, round: int) -> str:
    """The log of the attempts at looking at a cell."""
    return f"{SEARCH}/round{round}/{cell.path}.attempts.jsonl"


def read_verdict(path: Path | str) -> Verdict:
    """Read a verdict. Raises RecordError that names the file."""
    data = read_json(path)
    try:
        named = [
            {Cell(**entry["cell"]): list(entry["batch_sizes"]) for entry in data[name]}
            for name in ("go_on", "look_again")
        ]
        given_up = [GivenUp.from_dict(entry) for entry in data["given_up"]]
        return Verdict(data["round"], named[0], named[1], given_up)
    except (KeyError, TypeError) as error:
        raise RecordError(f"{path}: not a verdict of the guided search ({error!r})") from error


def is_guided(plan: Mapping[str, Any]) -> bool:
    """Whether a plan's study is searched with guidance."""
    return plan["study"]["config"]["measurement"].get("search") == "guided"


def with_given_up(plan: Mapping[str, Any], directory: Path | str = ".") -> dict[str, Any]:
    """A plan whose combinations say themselves what was given up: for who has no verdict."""
    gone = given_up_in(plan, directory)
    combinations = []
    for entry in plan["combinations"]:
        cell = Cell(**{name: entry[name] for name in Cell.__dataclass_fields__})
        found = gone.get((cell, entry["batch_size"]))
        combinations.append(entry | {"status": found.status, "reason": found.reason} if found else entry)
    return dict(plan) | {"combinations": combinations}


def given_up_in(plan: Mapping[str, Any], directory: Path | str = ".") -> dict[Key, GivenUp]:
    """What the last round's verdict gave up; nothing where the search is exhaustive or has no verdict yet."""
    if not is_guided(plan):
        return {}
    try:
        verdict = read_verdict(Path(directory) / verdict_file(ROUNDS - 1))
    except RecordError:
        return {}
    return {each.key: each for each in verdict.given_up}
