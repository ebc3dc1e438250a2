"""From the records of training to rows: every run of the plan has one, whatever happened to it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hwfit.layout import site_of
from hwfit.records import TRANSIENT_STATUSES, RecordError, read_json
from hwfit.training.halving import Standing, judge, standing_of
from hwfit.training.plan import TRAINING, Group, verdict_file
from hwfit.training.records import (
    RUN_FIELDS,
    TrainingRecord,
    TrainingRun,
    read_log,
    read_training_record,
    record_path,
    run_of,
)

# Of a run that learnt something: its record says what.
TRAINED = ("ok", "diverged")
# Of a curve, as many as a chart can show.
MOST_POINTS = 60


@dataclass
class TrainingRow:
    """One run: its last record, and where and why the search stopped it, if it did."""

    run: TrainingRun
    planned: Mapping[str, Any]
    status: str
    reason: str = ""
    record: TrainingRecord | None = None
    stopped: str = ""

    @property
    def metrics(self) -> Mapping[str, float | None]:
        return self.record.metrics if self.record else {}

    @property
    def valid(self) -> bool:
        return self.record is not None and self.record.valid


def read_training(plan: Mapping[str, Any], directory: Path | str = ".") -> list[TrainingRow]:
    """The rows of a plan's runs, from the records below a directory."""
    directory = Path(directory)
    ends = read_ends(plan, directory)
    return comparable([read_row(planned, ends, directory) for planned in plan.get("training", [])])


def read_row(planned: Mapping[str, Any], ends: Mapping[str, tuple[int, str]], directory: Path) -> TrainingRow:
    """One run's row: the record of the last rung that it came to."""
    run = run_of(planned)
    if planned["status"]:
        return TrainingRow(run, planned, planned["status"], planned["reason"])
    last, why = ends.get(run.path, (len(planned["rung_epochs"]) - 1, ""))
    try:
        record = read_training_record(record_path(directory / TRAINING / run.path, last))
        if record.run != run.to_dict():
            raise RecordError(f"speaks of {TrainingRun(**record.run)}")
    except RecordError as error:
        return TrainingRow(run, planned, "crashed", f"no record that can be read: {error}")
    # A run that failed was not stopped by the search: its status says what ended it.
    stopped = f"rung {last}, {why}" if why and record.status == "ok" else ""
    return TrainingRow(run, planned, record.status, record.reason, record, stopped)


def comparable(rows: list[TrainingRow]) -> list[TrainingRow]:
    """The rows, those of other sites as skipped that learnt something else.

    Of each model the first run that trained says what it is: this site's, then the others' in their order.
    One that failed says nothing of it, and keeps its status.
    """
    leads: dict[str, TrainingRow] = {}
    found = []
    for row in rows:
        has_trained = row.record is not None and row.status in TRAINED
        lead = leads.setdefault(row.run.model, row) if has_trained else row
        reason = what_differs(row, lead) if site_of(row.run.device) else ""
        found.append(TrainingRow(row.run, row.planned, "skipped", reason) if reason else row)
    return found


def what_differs(row: TrainingRow, lead: TrainingRow) -> str:
    """Why a run of another site is not compared with the first of its model; empty where it is."""
    there, here = (f"at {site}" if (site := site_of(each.run.device)) else "here" for each in (row, lead))
    targets = row.planned["target_accuracy"], lead.planned["target_accuracy"]
    if targets[0] != targets[1]:
        return f"target_accuracy is {targets[0]:g} {there} and {targets[1]:g} {here}; set them equal there"
    if not row.record or not lead.record:
        return ""
    data = [each.record.fingerprints.get("data") for each in (row, lead) if each.record]
    if data[0] != data[1]:
        said = f"{row.run.model} was trained on data {data[0]} {there} and {data[1]} {here}"
        return f"{said}; give both the same, and the same version of hwfit, and train again"
    sizes = [each.metrics.get("parameters") for each in (row, lead)]
    if None not in sizes and sizes[0] != sizes[1]:
        said = f"{row.run.model} has {sizes[0]:.0f} parameters {there} and {sizes[1]:.0f} {here}"
        return f"{said}; give one of them another name"
    return ""


def read_ends(plan: Mapping[str, Any], directory: Path) -> dict[str, tuple[int, str]]:
    """Of the runs that ended before the last rung: in which, and why where the search stopped them."""
    found: dict[str, tuple[int, str]] = {}
    for group, rungs in groups_of(plan).items():
        for rung in range(rungs - 1):
            path = directory / verdict_file(group, rung)
            try:
                verdict = read_json(path)
                found |= {run: (at, "") for run, at in verdict["finished"].items()}
                found |= {run: (rung, each["reason"]) for each in verdict["stopped"] for run in each["runs"]}
            except (RecordError, KeyError, TypeError, AttributeError) as error:
                print(f"{path}: does not say which runs ended ({error})", file=sys.stderr)
                break
    return found


def groups_of(plan: Mapping[str, Any]) -> dict[Group, int]:
    """The groups of runs that were made, with their number of rungs."""
    return {
        (planned["device"], planned["runtime"], planned["model"]): len(planned["rung_epochs"])
        for planned in plan.get("training", [])
        if not planned["status"]
    }


def judge_rung(
    plan: Mapping[str, Any], group: Group, rung: int, directory: Path | str = "."
) -> dict[str, Any]:
    """The verdict on a rung of a group, as `results/halving/` holds it."""
    directory = Path(directory)
    planned = {
        run_of(each).path: each
        for each in plan["training"]
        if not each["status"] and (each["device"], each["runtime"], each["model"]) == group
    }
    going, finished = list(planned), {}
    if rung:
        before = read_json(directory / verdict_file(group, rung - 1))
        going, finished = before["go_on"], before["finished"]
    at = {path: rung for path in going} | finished
    # The seed that came to the target alone, of a configuration that was stopped, competes no more.
    out = {
        stopped["configuration"]
        for earlier in range(rung)
        for stopped in read_json(directory / verdict_file(group, earlier))["stopped"]
    }
    standings = [
        read_standing(run, at[path], directory)
        for path in at
        if path in planned and (run := run_of(planned[path])).configuration not in out
    ]
    any_run = next(iter(planned.values()))
    verdict = judge(standings, any_run["eta"])
    return {
        "group": list(group),
        "rung": rung,
        "epochs": any_run["rung_epochs"][rung],
        "go_on": verdict.go_on,
        "finished": finished | {path: at[path] for path in verdict.finished},
        "stopped": [asdict(each) for each in verdict.stopped],
    }


def read_standing(run: TrainingRun, rung: int, directory: Path) -> Standing:
    """Where a run stands after a rung; where its record cannot be read, it has failed."""
    try:
        record = read_training_record(record_path(directory / TRAINING / run.path, rung))
    except RecordError as error:
        return Standing(run, failure=f"crashed: {error}")
    return standing_of(run, record.to_dict())


def forget_training(directory: Path) -> list[Path]:
    """Remove the records of what may go away by itself, to be tried again; returns what was removed.

    A run that was disturbed begins anew, since its time counts from the start; one that broke off goes on
    from its checkpoint.
    """
    removed: list[Path] = []
    for path in sorted((directory / TRAINING).glob("**/rung*.json")):
        # One of another site can be made again there alone.
        if not path.exists() or any(map(site_of, path.relative_to(directory).parts)):
            continue
        try:
            record = read_training_record(path)
        except RecordError:
            gone = [path]
        else:
            is_disturbed = record.status == "ok" and not record.valid
            gone = sorted(path.parent.iterdir()) if is_disturbed else []
            gone += [path] if record.status in TRANSIENT_STATUSES else []
        for file in gone:
            file.unlink(missing_ok=True)
        removed += gone
    return removed


@dataclass(frozen=True)
class Curve:
    """The learning curve that stands for a configuration: (seconds trained, validation accuracy) an epoch."""

    path: str
    points: list[tuple[float, float]]


def typical_curves(runs: pd.DataFrame, directory: Path | str = ".") -> list[Curve]:
    """For each configuration of a table of runs the curve of the run in the middle of its seeds."""
    found = []
    names = [name for name in RUN_FIELDS if name != "seed"]
    for _, seeds in runs.groupby(names, sort=False):
        measured = seeds[seeds["epochs"].notna()]
        if measured.empty:
            continue
        ranked = measured.sort_values(
            ["seconds_to_target", "best_validation_accuracy"], ascending=[True, False]
        )
        run = run_of(ranked.iloc[(len(ranked) - 1) // 2].to_dict())
        known = [(each.get("seconds"), each.get("validation_accuracy")) for each in curve_of(run, directory)]
        points = [(float(s), float(a)) for s, a in known if s and a is not None]
        every = max(1, len(points) // MOST_POINTS)
        # The last stays: it may be the one that is at the target.
        found.append(Curve(run.configuration, points[:-1:every] + points[-1:]))
    return found


def curve_of(run: TrainingRun, directory: Path | str = ".") -> list[dict[str, Any]]:
    """A line an epoch, see `training.records.LOG`."""
    return read_log(Path(directory) / TRAINING / run.path)
