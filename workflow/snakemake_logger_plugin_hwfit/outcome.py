"""What a job is about, by the files that it makes, and what came of it, by what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwfit.records import DEFAULT_SCENARIO, RecordError, read_json

# What stands in a row's place where a cell lacks a batch size that others of its target have.
NOT_A_ROW = "not in the matrix"
# A job's files, and what it is about.
ABOUT = (
    (r"results/profiles/(?P<device>[^/]+)/(?P<runtime>[^/]+)/(?P<model>[^/]+)/(?P<optimization>[^/]+)/"
     r"(?P<scenario>[^/]+)/round(?P<round>\d+)/", "{model} on {device} with {runtime}, {optimization}"),
    (r"results/training/(?P<device>[^/]+)/(?P<runtime>[^/]+)/(?P<model>[^/]+)/(?P<optimizer>[^/]+)/"
     r"(?P<settings>[^/]+)/seed(?P<seed>\d+)/rung(?P<rung>\d+)\.json",
     "training {model} on {device} with {runtime}, {optimizer} {settings}, seed {seed}"),
    (r"results/confirmations/(?P<device>[^/]+)\.json", "contenders again on {device}"),
    (r"results/devices/(?P<device>[^/]+)/probe\.json", "looking for {device}"),
    (r"results/devices/(?P<device>[^/]+)/inventory\.json", "taking stock of {device}"),
    (r"results/environments/(?P<name>.+)\.json", "environment {name}"),
    (r"results/models/(?P<model>[^/]+)/", "preparing {model}"),
    (r"results/artifacts/(?P<model>[^/]+)/(?P<made>[^/]+)/", "{made} of {model}"),
    (r"results/onnx/(?P<model>[^/]+)/(?P<made>[^/]+)/", "ONNX file of {model}, {made}"),
    (r"results/files/(?P<runtime>[^/]+)/(?P<model>[^/]+)/(?P<made>[^/]+)/", "{made} of {model}, {runtime}"),
)  # fmt: skip
ROW = re.compile(r"(bs(?P<batch_size>\d+)|rung\d+)\.json")


@dataclass(frozen=True)
class Outcome:
    """What one file says: a row of the result, or something rows are made of."""

    status: str
    reason: str
    is_row: bool
    batch_size: str = ""

    def __str__(self) -> str:
        where = f"batch {self.batch_size}: " if self.batch_size else ""
        return f"{where}{self.status}" + (f", {self.reason}" if self.reason else "")


def together(found: Iterable[Outcome]) -> list[Outcome]:
    """What is not ok, batch sizes that ended alike as one."""
    alike: dict[tuple[str, str, bool], list[str]] = {}
    for each in found:
        if each.status not in ("ok", "skipped"):
            alike.setdefault((each.status, each.reason, each.is_row), []).append(each.batch_size)
    return [Outcome(*what, ", ".join(filter(None, sizes))) for what, sizes in alike.items()]


def about(rule: str, output: Sequence[str]) -> str:
    """A job in words."""
    for pattern, words in ABOUT:
        for path in output[:1]:
            if found := re.match(pattern, path):
                named = found.groupdict()
                text = words.format(**named)
                if named.get("scenario", DEFAULT_SCENARIO) != DEFAULT_SCENARIO:
                    text += f", {named['scenario']}"
                return text + (f", round {named['round']}" if named.get("round", "0") != "0" else "")
    return rule.replace("_", " ")


def outcomes(output: Sequence[str]) -> Iterator[Outcome]:
    """What the files of a job say became of it; nothing of those that do not say."""
    for name in output:
        # Snakemake may say in brackets what becomes of a file.
        path = Path(name.partition(" (")[0])
        if path.suffix != ".json":
            continue
        row = ROW.fullmatch(path.name)
        batch_size = (row["batch_size"] or "") if row else ""
        try:
            data = read_json(path)
        except RecordError as error:
            if row:
                yield Outcome("unreadable", str(error), True, batch_size)
            continue
        if not isinstance(data, dict) or not isinstance(data.get("status"), str):
            continue
        reason = str(data.get("reason") or "")
        if reason != NOT_A_ROW:
            yield Outcome(data["status"], reason, bool(row), batch_size)
