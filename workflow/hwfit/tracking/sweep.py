"""Logging a sweep: one parent run, one child run a combination, by one job."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hwfit.collect import confirmation_rounds
from hwfit.config_errors import mask_credentials
from hwfit.layout import inventory_file
from hwfit.records import DEFAULT_SCENARIO, METRICS, Cell, fingerprint
from hwfit.tracking.inputs import Inputs
from hwfit.tracking.store import Store, one_message, quoted, sweep_run, text
from hwfit.tracking.view import write_views

# Part of every digest: what was logged in another form is logged anew.
LAYOUT = 2
PARAMETERS = (
    "model",
    "task",
    "device",
    "device_name",
    "runtime",
    "runtime_version",
    "optimization",
    "scenario",
    "batch_size",
)
TAGS = (
    "model",
    "device",
    "runtime",
    "optimization",
    "scenario",
    "batch_size",
    "site",
    "status",
    "verdict",
    "reason",
    "flags",
    "energy_source",
    "energy_scope",
    "number_format",
    "bound",
    "price_source",
    "currency",
)
FAILED_STATUSES = ("oom", "incorrect", "timeout", "crashed")
NUMBERS = (
    *METRICS,
    "pass_s",
    "artifact_s",
    "utilization",
    "cost_usd_per_million",
    "cost_per_million",
    "cost_per_million_tokens",
    "price_per_hour",
    "rounds",
)
REMEDY = "The records are safe; `snakemake --cores 1 track` logs them once the store answers."


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
    recommendation: Mapping[str, Any] | None = None,
    weights: Mapping[Cell, str] | None = None,
) -> dict[str, int]:
    """Log a sweep, or bring what was logged of it up to date.

    Parameters
    ----------
    project : names the directory in which the sweep was run, for stores that several of them share
    recommendation : whose sentences the sweep's note tells
    weights : the directory of the weights that each cell runs, with their card

    Returns
    -------
    how many combinations were {"created", "replaced", "unchanged", "left"}; left are runs of combinations
    that are no longer in the matrix: kept, with the tag `hwfit.in_matrix` false

    Raises
    ------
    TrackingError
    """
    with one_message(uri, REMEDY):
        log = SweepLog(Store(uri, experiment), sweep, project, profiles, weights or {})
        counts = log.combinations(table)
        log.finish(plan, list(artifacts), inventories)
        write_views(log.store, log.parent, sweep, table, recommendation or {})
        return counts


class SweepLog:
    """The runs of one sweep in a store."""

    def __init__(
        self, store: Store, sweep: str, project: str, profiles: Path, weights: Mapping[Cell, str]
    ) -> None:
        self.store, self.client, self.profiles = store, store.client, profiles
        self.parent = sweep_run(store, sweep, project)
        # Rounds of earlier contenders may lie beside them, and speak for nothing.
        self.confirming = confirmation_rounds(profiles.parent.parent)
        self.inputs = Inputs(store, self.parent, weights)

    def children(self, more: str = "") -> list[Any]:
        """The runs of the sweep's combinations."""
        mine = f"tags.`mlflow.parentRunId` = {quoted(self.parent)} and tags.`hwfit.kind` = 'combination'"
        return self.store.runs(f"{mine}{more}")

    def combinations(self, table: pd.DataFrame) -> dict[str, int]:
        """Bring the children up to date with the table; see `log_sweep`."""
        known: dict[str, list[Any]] = {}
        for run in self.children():
            known.setdefault(run.data.tags.get("hwfit.key", ""), []).append(run)
        counts = dict.fromkeys(("created", "replaced", "unchanged", "left"), 0)
        for line in table.astype(object).where(table.notna(), None).to_dict("records"):
            key, records = key_of(line), records_of(line, self.profiles)
            card = self.inputs.card_of(cell_of(line)) if records else None
            digest = fingerprint(
                LAYOUT,
                line,
                self.confirming_of(line),
                [path.read_text() for path in records],
                card.content if card else None,
            )
            runs = known.pop(key, [])
            if len(runs) == 1 and is_finished(runs[0], digest):
                counts["unchanged"] += 1
                if runs[0].data.tags.get("hwfit.in_matrix") == "false":
                    self.client.set_tag(runs[0].info.run_id, "hwfit.in_matrix", "true")
                continue
            for run in runs:
                self.client.delete_run(run.info.run_id)
            self.create_child(key, digest, line, records)
            counts["replaced" if runs else "created"] += 1
        for run in (run for runs in known.values() for run in runs):
            if run.data.tags.get("hwfit.in_matrix") != "false":
                self.client.set_tag(run.info.run_id, "hwfit.in_matrix", "false")
            counts["left"] += 1
        # A request that was sent again because its answer was lost has made two.
        for run in self.children(" and attributes.status = 'RUNNING'"):
            self.client.delete_run(run.info.run_id)
        return counts

    def create_child(self, key: str, digest: str, line: Mapping[str, Any], records: list[Path]) -> None:
        """One combination's run. Its end comes last: while it is running it counts as unfinished.

        Metrics have the batch size as their step, so that MLflow's charts draw a cell's runs, which share
        the tag `cell`, over it.
        """
        from mlflow.entities import Metric, Param

        run = self.client.create_run(
            self.store.experiment_id, run_name=key, tags=self.tags_of(key, digest, line)
        )
        run_id, now, step = run.info.run_id, int(time.time() * 1000), int(line["batch_size"])
        for path in records:
            self.store.put(run.info.artifact_uri, path, path.parent.name)
        if records and (card := self.inputs.card_of(cell_of(line))):
            self.store.put(run.info.artifact_uri, card.path, "weights")
        self.client.log_batch(
            run_id,
            metrics=[
                Metric(name, float(line[name]), now, step) for name in NUMBERS if is_number(line.get(name))
            ],
            params=[Param(name, text(line[name])) for name in PARAMETERS if line.get(name) is not None],
        )
        if records:
            self.inputs.log(run_id, cell_of(line))
        is_failed = line["status"] in FAILED_STATUSES
        self.client.set_terminated(run_id, status="FAILED" if is_failed else "FINISHED")

    def confirming_of(self, line: Mapping[str, Any]) -> str:
        """The rounds that confirm a combination, by commas."""
        return ",".join(map(str, self.confirming.get((cell_of(line), line["batch_size"]), []))) or "none"

    def tags_of(self, key: str, digest: str, line: Mapping[str, Any]) -> dict[str, str]:
        """What a combination's run is found by."""
        said = f": {line['reason']}" if line.get("reason") else ""
        verdict = line.get("verdict") or "not decided"
        tags = {
            "mlflow.parentRunId": self.parent,
            "mlflow.note.content": text(f"**{str(verdict).replace('_', ' ')}**{said}"),
            "hwfit.kind": "combination",
            "hwfit.key": key,
            "hwfit.in_matrix": "true",
            "hwfit.digest": digest,
            "hwfit.confirming": self.confirming_of(line),
            "cell": label_of(cell_of(line)),
            "chosen": "true" if verdict == "chosen" else "false",
        }
        told = {name: text(line[name]) for name in TAGS if line.get(name) is not None}
        # As a search writes it: tags.valid = 'true'.
        return tags | told | {"valid": "true" if line.get("valid") else "false"}

    def finish(self, plan: Mapping[str, Any], artifacts: list[Path], inventories: Mapping[str, Any]) -> None:
        """The sweep's configuration, reports and inventories, in its own run."""
        from mlflow.entities import Param, RunTag

        run = self.client.get_run(self.parent)
        wanted = {name: text(value) for name, value in flattened(plan["config"])}
        wanted["tracking.uri"] = mask_credentials(wanted.get("tracking.uri", ""))
        known = run.data.params
        self.client.log_batch(
            self.parent,
            params=[Param(name, value) for name, value in wanted.items() if name not in known],
            # A parameter cannot change in MLflow, a config can: the tag has what holds now.
            tags=[
                RunTag(f"config.{name}", value)
                for name, value in wanted.items()
                if run.data.tags.get(f"config.{name}", known.get(name, value)) != value
            ],
        )
        for path in artifacts:
            if path.exists():
                self.store.put(run.info.artifact_uri, path)
        for device in inventories:
            path = Path(inventory_file(device))
            if path.exists():
                self.store.put(run.info.artifact_uri, path, f"devices/{device}")
        self.inputs.log_all(self.parent)
        self.client.set_terminated(self.parent, status="FINISHED")


def is_finished(run: Any, digest: str) -> bool:
    """Whether a run shows all that it should: a killed job leaves its last one running."""
    return run.data.tags.get("hwfit.digest") == digest and run.info.status != "RUNNING"


def cell_of(line: Mapping[str, Any]) -> Cell:
    """The cell of a combination."""
    return Cell(**{name: line[name] for name in Cell.__dataclass_fields__})


def label_of(cell: Cell) -> str:
    """Names a cell with what tells it from a model's others in front: legends show little."""
    scenario = "" if cell.scenario == DEFAULT_SCENARIO else f", {cell.scenario}"
    return f"{cell.runtime} {cell.optimization} on {cell.device}{scenario}, {cell.model}"


def key_of(line: Mapping[str, Any]) -> str:
    """Names a combination: its path below results/profiles."""
    return f"{cell_of(line).path}/bs{line['batch_size']}"


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
