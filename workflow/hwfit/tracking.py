"""Logging a sweep to MLflow: one parent run, one child run a combination, by one job.

A child carries the digest of all that it shows. A second log of the same sweep adds nothing; a row or a
record that changed replaces its run; a run that a killed job left unfinished has no digest yet, and is
made anew.

With SQLite the artifacts lie in `mlartifacts` beside the database, under `mlflow-artifacts:` addresses,
which hold no path: the project's directory may be moved, and `python -m hwfit ui` serves them from there.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hwfit.config_errors import mask_credentials
from hwfit.records import METRICS, Cell, fingerprint

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

SQLITE = "sqlite:///"
PARAMETERS = (
    "model",
    "task",
    "device",
    "device_name",
    "runtime",
    "runtime_version",
    "optimization",
    "scenario",
)
TAGS = (
    "model",
    "device",
    "runtime",
    "optimization",
    "batch_size",
    "status",
    "valid",
    "verdict",
    "reason",
    "flags",
)
FAILED_STATUSES = ("oom", "incorrect", "timeout", "crashed")
NUMBERS = (*METRICS, "utilization", "cost_usd_per_million", "rounds")
MAX_TEXT = 4000


class TrackingError(Exception):
    """The store cannot be reached or written: the message names it, without credentials."""


def log_sweep(
    *,
    uri: str,
    experiment: str,
    sweep: str,
    project: str,
    plan: Mapping[str, Any],
    table: pd.DataFrame,
    profiles: Path,
    artifacts: Iterable[Path],
    inventories: Mapping[str, Any],
) -> dict[str, int]:
    """Log a sweep, or bring what was logged of it up to date.

    Parameters
    ----------
    project : names the directory in which the sweep was run, for stores that several of them share

    Returns
    -------
    how many combinations were {"created", "replaced", "unchanged", "left"}; left are runs of combinations
    that are no longer in the matrix: kept, with the tag `hwfit.in_matrix` false

    Raises
    ------
    TrackingError
    """
    from mlflow.exceptions import MlflowException

    try:
        return Store(uri, experiment, project).log(sweep, plan, table, profiles, list(artifacts), inventories)
    except (MlflowException, OSError) as error:
        said = mask_credentials(str(error)).splitlines()[0]
        raise TrackingError(
            f"MLflow at {mask_credentials(uri)}: {said}. The records are safe; "
            "`snakemake --cores 1 track` logs them once the store answers."
        ) from None


class Store:
    """An experiment of a tracking store."""

    def __init__(self, uri: str, experiment: str, project: str) -> None:
        from mlflow import MlflowClient

        self.project = project

        self.root: Path | None = None
        if uri.startswith(SQLITE):
            database = Path(uri.removeprefix(SQLITE))
            database.parent.mkdir(parents=True, exist_ok=True)
            self.root = database.parent / "mlartifacts"
        self.client = MlflowClient(tracking_uri=uri)
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            place = "mlflow-artifacts:/" if self.root else None
            self.experiment_id = self.client.create_experiment(experiment, artifact_location=place)
        else:
            self.experiment_id = found.experiment_id
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(self.experiment_id)

    def log(
        self,
        sweep: str,
        plan: Mapping[str, Any],
        table: pd.DataFrame,
        profiles: Path,
        artifacts: list[Path],
        inventories: Mapping[str, Any],
    ) -> dict[str, int]:
        parent = self.parent(sweep)
        known = self.children(parent)
        counts = dict.fromkeys(("created", "replaced", "unchanged", "left"), 0)
        lines = table.astype(object).where(table.notna(), None).to_dict("records")
        for line in lines:
            key, records = key_of(line), records_of(line, profiles)
            digest = fingerprint(line, [path.read_text() for path in records])
            runs = known.pop(key, [])
            if [run.data.tags.get("hwfit.digest") for run in runs] == [digest]:
                counts["unchanged"] += 1
                if runs[0].data.tags.get("hwfit.in_matrix") == "false":
                    self.client.set_tag(runs[0].info.run_id, "hwfit.in_matrix", "true")
                continue
            for run in runs:
                self.client.delete_run(run.info.run_id)
            self.create_child(parent, key, digest, line, records)
            counts["replaced" if runs else "created"] += 1
        for run in (run for runs in known.values() for run in runs):
            self.client.set_tag(run.info.run_id, "hwfit.in_matrix", "false")
            counts["left"] += 1
        self.finish_parent(parent, plan, artifacts, inventories)
        return counts

    def parent(self, sweep: str) -> str:
        """The run of the sweep, new where there is none."""
        query = f"tags.`hwfit.sweep` = '{sweep}' and tags.`hwfit.project` = '{self.project}'"
        found = self.client.search_runs([self.experiment_id], query, max_results=1)
        if found:
            return found[0].info.run_id
        tags = {"hwfit.kind": "sweep", "hwfit.sweep": sweep, "hwfit.project": self.project}
        return self.client.create_run(self.experiment_id, run_name=sweep, tags=tags).info.run_id

    def children(self, parent: str) -> dict[str, list[Any]]:
        """The sweep's runs by the key of their combination."""
        found: dict[str, list[Any]] = {}
        query, token = f"tags.`mlflow.parentRunId` = '{parent}'", None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=1000, page_token=token)
            for run in page:
                found.setdefault(run.data.tags.get("hwfit.key", ""), []).append(run)
            token = page.token
            if not token:
                return found

    def create_child(
        self, parent: str, key: str, digest: str, line: Mapping[str, Any], records: list[Path]
    ) -> None:
        """One combination's run. The digest comes last: without it the run counts as unfinished."""
        from mlflow.entities import Metric, Param, RunTag

        tags = {
            "mlflow.parentRunId": parent,
            "hwfit.kind": "combination",
            "hwfit.key": key,
            "hwfit.in_matrix": "true",
        }
        tags |= {name: text(line[name]) for name in TAGS if line.get(name) is not None}
        run = self.client.create_run(self.experiment_id, run_name=key, tags=tags)
        run_id, now = run.info.run_id, int(time.time() * 1000)
        for path in records:
            self.put(run_id, path, path.parent.name)
        self.client.log_batch(
            run_id,
            metrics=[
                Metric(name, float(line[name]), now, 0) for name in NUMBERS if is_number(line.get(name))
            ],
            params=[
                Param(name, text(line[name]))
                for name in (*PARAMETERS, "batch_size")
                if line.get(name) is not None
            ],
            tags=[RunTag("hwfit.digest", digest)],
        )
        is_failed = line["status"] in FAILED_STATUSES
        self.client.set_terminated(run_id, status="FAILED" if is_failed else "FINISHED")

    def finish_parent(
        self, parent: str, plan: Mapping[str, Any], artifacts: list[Path], inventories: Mapping[str, Any]
    ) -> None:
        """The sweep's configuration, reports and inventories."""
        from mlflow.entities import Param

        run = self.client.get_run(parent)
        wanted = {name: text(value) for name, value in flattened(plan["config"])}
        wanted["tracking.uri"] = mask_credentials(wanted.get("tracking.uri", ""))
        params = [Param(name, value) for name, value in wanted.items() if name not in run.data.params]
        for name, value in wanted.items():
            # A parameter cannot change in MLflow, a config can: the tag has what holds now.
            if run.data.params.get(name, value) != value:
                self.client.set_tag(parent, f"config.{name}", value)
        self.client.log_batch(parent, params=params)
        for path in artifacts:
            if path.exists():
                self.put(parent, path, "")
        for device in inventories:
            path = Path("results/devices") / device / "inventory.json"
            if path.exists():
                self.put(parent, path, f"devices/{device}")
        self.client.set_terminated(parent, status="FINISHED")

    def put(self, run_id: str, path: Path, folder: str) -> None:
        """Store a file as an artifact of a run."""
        if self.root is None:
            self.client.log_artifact(run_id, str(path), folder or None)
            return
        from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

        # What the server's address `mlflow-artifacts:/<run>/artifacts` stands for.
        place = self.root.resolve() / run_id / "artifacts"
        LocalArtifactRepository(place.as_uri()).log_artifact(str(path), folder or None)


def key_of(line: Mapping[str, Any]) -> str:
    """Names a combination: its path below results/profiles."""
    cell = Cell(**{name: line[name] for name in Cell.__dataclass_fields__})
    return f"{cell.path}/bs{line['batch_size']}"


def records_of(line: Mapping[str, Any], profiles: Path) -> list[Path]:
    """The profiles of a combination, of all its rounds."""
    folder, _, name = key_of(line).rpartition("/")
    return sorted((profiles / folder).glob(f"round*/{name}.json"))


def flattened(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested mappings and lists as dotted names with plain values."""
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    )
    if items is None:
        if value is not None:
            yield prefix, value
        return
    if isinstance(value, list) and not any(isinstance(v, (Mapping, list)) for v in value):
        yield prefix, ", ".join(map(str, value))
        return
    for key, inner in items:
        yield from flattened(inner, f"{prefix}.{key}" if prefix else str(key))


def is_number(value: Any) -> bool:
    """Whether MLflow can take a value as a metric."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def text(value: Any) -> str:
    """A value as a parameter or a tag, within MLflow's length limits."""
    return str(value)[:MAX_TEXT]


def serve(uri: str, host: str, port: int) -> int:
    """Serve the MLflow UI until it is interrupted; its exit status."""
    if not uri.startswith(SQLITE):
        print(f"The runs are at {mask_credentials(uri)}")
        return 0
    database = Path(uri.removeprefix(SQLITE))
    if not database.exists():
        print(f"Nothing was logged yet: {database} is not there. Run `make run` first.", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--serve-artifacts"]
    command += ["--artifacts-destination", str(database.parent / "mlartifacts")]
    print(f"MLflow UI: http://{host}:{port}", flush=True)
    try:
        return subprocess.run([*command, "--host", host, "--port", str(port)]).returncode
    except KeyboardInterrupt:
        return 0


def project_id(path: Path) -> str:
    """The name of this project in shared stores, made up once and kept in a file that moves with it."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        name = uuid.uuid4().hex[:12]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
        return name
