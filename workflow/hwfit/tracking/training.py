"""Runs of training in MLflow: nested under the sweep, their curves as metrics whose step is the epoch.

The one tracking job logs them when all is done. `python -m hwfit watch` shows a curve while it grows: it
makes the same runs, which stay unfinished, and which the tracking job then replaces.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from hwfit.records import fingerprint
from hwfit.tracking.store import Store, one_message, quoted, sweep_run, text
from hwfit.training.collect import curve_of
from hwfit.training.plan import TRAINING
from hwfit.training.records import RUN_FIELDS, TrainingRun, read_log, run_of

KIND = "training"
LAYOUT = 1
# What of a log's line becomes a metric.
CURVES = ("validation_accuracy", "validation_loss", "loss", "samples_per_s", "learning_rate", "energy_j")
NUMBERS = (
    "epochs_to_target",
    "seconds_to_target",
    "energy_to_target_j",
    "cost_to_target",
    "best_validation_accuracy",
    "test_accuracy",
    "step_p50_ms",
    "train_s",
    "wall_s",
    "peak_memory_mb",
)
TAGS = (*RUN_FIELDS, "status", "reason", "stopped", "valid", "flags", "reached")
FAILED_STATUSES = ("oom", "incorrect", "timeout", "crashed", "diverged")
# What MLflow takes in one request.
MOST_METRICS = 1000
REMEDY = "The records are safe; `snakemake --cores 1 track` logs them once the store answers."
# Seconds between two looks at the logs.
PAUSE_S = 2.0


def log_training(
    *, uri: str, experiment: str, sweep: str, project: str, runs: pd.DataFrame, directory: Path | str = "."
) -> dict[str, int]:
    """Log every run of a table, or bring what was logged up to date; returns how many runs were {"created",
    "replaced", "unchanged", "left"}, as `log_sweep` does.

    Parameters
    ----------
    runs : training.csv

    Raises
    ------
    TrackingError
    """
    with one_message(uri, REMEDY):
        log = TrainingLog(Store(uri, experiment), sweep, project)
        return log.update(runs, Path(directory))


class TrainingLog:
    """The runs of training of one sweep in a store."""

    def __init__(self, store: Store, sweep: str, project: str) -> None:
        self.store, self.client = store, store.client
        self.parent = sweep_run(store, sweep, project)

    def known(self) -> dict[str, list[Any]]:
        """The runs that are there, by their path."""
        query = f"tags.`mlflow.parentRunId` = {quoted(self.parent)} and tags.`hwfit.kind` = '{KIND}'"
        found: dict[str, list[Any]] = {}
        for run in self.store.runs(query):
            found.setdefault(run.data.tags.get("hwfit.key", ""), []).append(run)
        return found

    def update(self, runs: pd.DataFrame, directory: Path) -> dict[str, int]:
        """Bring the runs up to date with a table; see `log_training`."""
        known = self.known()
        counts = dict.fromkeys(("created", "replaced", "unchanged", "left"), 0)
        for line in runs.astype(object).where(runs.notna(), None).to_dict("records"):
            run, lines = run_of(line), curve_of(run_of(line), directory)
            digest = fingerprint(LAYOUT, {name: text(value) for name, value in line.items()}, lines)
            before = known.pop(run.path, [])
            if len(before) == 1 and is_finished(before[0], digest):
                counts["unchanged"] += 1
                continue
            for each in before:
                self.client.delete_run(each.info.run_id)
            self.create(run, digest, line, lines)
            counts["replaced" if before else "created"] += 1
        counts["left"] = sum(map(len, known.values()))
        return counts

    def create(
        self, run: TrainingRun, digest: str, line: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
    ) -> None:
        """One run, finished. Its end comes last: while it is running it counts as unfinished."""
        from mlflow.entities import Metric

        told = {name: text(line[name]) for name in TAGS if line.get(name) is not None}
        run_id = self.begin(run, told | {"hwfit.digest": digest})
        now, step = int(time.time() * 1000), int(line["epochs"] or 0)
        last = [Metric(name, float(line[name]), now, step) for name in NUMBERS if line.get(name) is not None]
        self.write(run_id, [*points(lines), *last])
        status = "FAILED" if line["status"] in FAILED_STATUSES else "FINISHED"
        self.client.set_terminated(run_id, status=status)

    def begin(self, run: TrainingRun, tags: Mapping[str, str]) -> str:
        """A run that has begun, without a figure; returns its id."""
        from mlflow.entities import Param

        own = {
            "mlflow.parentRunId": self.parent,
            "hwfit.kind": KIND,
            "hwfit.key": run.path,
            "configuration": run.configuration,
        }
        made = self.client.create_run(self.store.experiment_id, run_name=run.path, tags=own | dict(tags))
        given = [Param(name, text(value)) for name, value in run.to_dict().items()]
        self.client.log_batch(made.info.run_id, params=given)
        return made.info.run_id

    def write(self, run_id: str, metrics: Sequence[Any]) -> None:
        """Log metrics, in as many requests as it takes."""
        for start in range(0, len(metrics), MOST_METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + MOST_METRICS])


def is_finished(run: Any, digest: str) -> bool:
    """Whether a run shows all that it should: one that was watched is still running."""
    return run.data.tags.get("hwfit.digest") == digest and run.info.status != "RUNNING"


def points(lines: Iterable[Mapping[str, Any]]) -> list[Any]:
    """The metrics of a log's lines: the step is the epoch, the time that of its end."""
    from mlflow.entities import Metric

    return [
        Metric(name, float(line[name]), milliseconds(line.get("at")), int(line["epoch"]))
        for line in lines
        for name in CURVES
        if line.get(name) is not None and line.get("epoch") is not None
    ]


def milliseconds(at: Any) -> int:
    """A time as MLflow counts it; now, where a line does not tell it."""
    try:
        moment = datetime.fromisoformat(str(at))
    except ValueError:
        return int(time.time() * 1000)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class Watch:
    """Follows the logs of training, and logs what is new of them."""

    def __init__(self, log: TrainingLog, directory: Path, runs: Mapping[str, TrainingRun]) -> None:
        self.log, self.directory, self.runs = log, directory, runs
        self.seen: dict[str, int] = {}
        self.ids: dict[str, str] = {}

    def look(self) -> list[str]:
        """Log what is new; returns a line for each run that went on."""
        said = []
        for path, run in self.runs.items():
            lines = read_log(self.directory / TRAINING / path)
            if len(lines) < self.seen.get(path, 0):
                # It was begun anew.
                self.seen[path] = 0
                self.ids.pop(path, None)
            new = lines[self.seen.get(path, 0) :]
            if not new:
                continue
            if path not in self.ids:
                self.ids[path] = self.of(run)
            if self.ids[path]:
                self.log.write(self.ids[path], points(new))
            self.seen[path] = len(lines)
            said.append(f"{path}: epoch {new[-1]['epoch']}, accuracy {shown(new[-1])}")
        return said

    def of(self, run: TrainingRun) -> str:
        """A run to write into: new, or the unfinished one of an earlier watch, begun anew; empty where the
        tracking job has logged it.
        """
        known = self.log.known().get(run.path, [])
        if any(each.info.status != "RUNNING" for each in known):
            return ""
        for each in known:
            self.log.client.delete_run(each.info.run_id)
        return self.log.begin(run, {"status": "running"})


def shown(line: Mapping[str, Any]) -> str:
    """The accuracy of a line of a log."""
    value = line.get("validation_accuracy")
    return "none" if value is None else f"{value:.4f}"


def watch(
    *,
    uri: str,
    experiment: str,
    sweep: str,
    project: str,
    plan: Mapping[str, Any],
    directory: Path | str = ".",
    goes_on: Callable[[], bool] = lambda: True,
) -> None:
    """Follow the runs of a plan until interrupted, on a host that does not measure.

    Raises
    ------
    TrackingError
    """
    with one_message(uri, "Is it running?"):
        runs = {run_of(p).path: run_of(p) for p in plan.get("training", []) if not p["status"]}
        watching = Watch(TrainingLog(Store(uri, experiment), sweep, project), Path(directory), runs)
        while goes_on():
            for line in watching.look():
                print(line, file=sys.stdout, flush=True)
            time.sleep(PAUSE_S)
