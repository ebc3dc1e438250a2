"""Registering what was chosen: for each model the files its runtime loads, their cards and the launch code.

The version is of a logged model, whose artifacts are those files: `mlflow.artifacts.download_artifacts(
"models:/lenet-5@chosen")` fetches them. `launch.py` is written for the project's directory.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwfit.config import Study
from hwfit.layout import model_directory, site_of
from hwfit.matrix import Plan
from hwfit.records import DEFAULT_SCENARIO, Cell, file_sha256, fingerprint
from hwfit.tracking.inputs import NOT_IN_NAMES
from hwfit.tracking.store import Store, TrackingError, every, one_message, quoted, sweep_query, text

REMEDY = "`snakemake --cores 1 register` registers what was chosen once the registry answers."
LOG_FIRST = "`snakemake --cores 1 --forcerun track -- register` logs it there first."
# Of the same files, measured again: these say what holds now, and make no version of their own.
FIGURES = ("throughput_samples_per_s", "latency_p50_ms", "latency_p90_ms", "accuracy", "fidelity")
KEYS = ("device", "device_name", "runtime", "runtime_version", "optimization", "scenario", "batch_size")
# The inputs that accuracy was measured on: large, and not what a runtime loads.
NOT_REGISTERED = ("evaluation.npz",)


def register_chosen(
    *,
    uri: str,
    experiment: str,
    sweep: str,
    project: str,
    plan: Mapping[str, Any],
    recommendation: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Register each model's chosen combination as a version of a registered model of its name.

    A version is known by the digest of its files and of how they are launched: the same choice adds none,
    and brings its tags up to date. The alias `chosen` (or `provisional`, and with another scenario than
    single_stream its name behind it) points to it.

    Returns
    -------
    a line a model and scenario: {"model", "scenario", "verdict", "version", "is_new", "said"}; without a
    version where nothing was chosen, or another site's row

    Raises
    ------
    TrackingError
    """
    planned = Plan(Study.model_validate(plan["study"]))
    with one_message(uri, REMEDY):
        registry = Registry(Store(uri, experiment), sweep, project)
        return [answer(registry, entry, planned) for entry in recommendation["models"]]


def answer(registry: Registry, entry: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Register one model's answer; see `register_chosen`."""
    told = {name: entry.get(name) for name in ("model", "scenario", "verdict")}
    row, summary = entry.get("chosen"), entry.get("summary", "")
    if not row:
        said = f"{entry['model']}: nothing was chosen, and nothing is registered. {summary}"
        return told | {"version": None, "is_new": False, "said": said.strip()}
    cell = Cell(**{name: row[name] for name in Cell.__dataclass_fields__})
    if site := site_of(cell.device):
        said = f"{entry['model']}: was chosen on a device of {site}, which has its files: register it there"
        return told | {"version": None, "is_new": False, "said": said}
    choice = Choice(entry, cell, int(row["batch_size"]), files_of(cell, plan))
    version, is_new = registry.register(choice)
    verb = "registered" if is_new else "registered before"
    said = f"{choice}: {verb} as models:/{choice.name}/{version}, models:/{choice.name}@{choice.alias}"
    return told | {"version": version, "is_new": is_new, "said": said}


@dataclass(frozen=True)
class Choice:
    """What was chosen for a model, with the files that it takes to run it."""

    entry: Mapping[str, Any]
    cell: Cell
    batch_size: int
    files: Mapping[str, Path]

    @property
    def name(self) -> str:
        """The model's name as the registry takes it."""
        return re.sub(r"[/:]", "-", self.cell.model)

    @property
    def alias(self) -> str:
        """Points to a model's answer: `chosen`, or with another scenario `chosen-offline`."""
        verdict, scenario = self.entry["verdict"], self.cell.scenario
        whole = verdict if scenario == DEFAULT_SCENARIO else f"{verdict}-{scenario}"
        return re.sub(r"[^\w-]", "-", whole)

    @property
    def code(self) -> str:
        """What launches it."""
        return (self.entry.get("launch") or {}).get("code", "")

    @property
    def summary(self) -> str:
        return self.entry.get("summary", "")

    @cached_property
    def digest(self) -> str:
        """Of what is launched and how; measured again, it is the same."""
        contents = {place: file_sha256(path) for place, path in self.files.items()}
        return fingerprint(contents, self.code, self.cell.path, self.batch_size)

    @property
    def tags(self) -> dict[str, str]:
        """What a version is found by, and what holds of it now."""
        row = self.entry["chosen"]
        told = {name: text(row[name]) for name in (*KEYS, *FIGURES) if row.get(name) is not None}
        return told | {"hwfit.digest": self.digest, "verdict": text(self.entry["verdict"])}

    def __str__(self) -> str:
        return f"{self.cell}, batch size {self.batch_size}"


class Registry:
    """The registered models of a store."""

    def __init__(self, store: Store, sweep: str, project: str) -> None:
        self.store, self.client = store, store.client
        self.origin = {"hwfit.sweep": sweep, "hwfit.project": project}
        found = store.runs(sweep_query(sweep, project))
        self.parent = found[0].info.run_id if found else ""

    def register(self, choice: Choice) -> tuple[int, bool]:
        """Register a choice; the number of its version, and whether that is new."""
        run_id = self.run_of(choice)
        tags = choice.tags | self.origin | {"source_run": run_id}
        version = self.find(choice)
        is_new = version is None
        if version is None:
            version = self.create(choice, run_id, tags)
        else:
            self.update(version, tags, choice.summary)
        if choice.alias not in version.aliases:
            self.client.set_registered_model_alias(choice.name, choice.alias, version.version)
        return int(version.version), is_new

    def run_of(self, choice: Choice) -> str:
        """The run of a combination. Raises TrackingError where it was not logged."""
        key = quoted(f"{choice.cell.path}/bs{choice.batch_size}")
        found = self.store.runs(
            f"tags.`mlflow.parentRunId` = {quoted(self.parent)} and tags.`hwfit.key` = {key}"
        )
        if not found:
            raise TrackingError(f"{choice}: its run is not in this store; {LOG_FIRST}")
        return found[0].info.run_id

    def find(self, choice: Choice) -> Any:
        """The version that a choice has already; None where there is none."""
        query = f"name = {quoted(choice.name)}"
        found = every(lambda token: self.client.search_model_versions(query, page_token=token))
        for version in found:
            if version.tags.get("hwfit.digest") == choice.digest:
                # A search leaves the aliases out.
                return self.client.get_model_version(choice.name, version.version)
        return None

    def create(self, choice: Choice, run_id: str, tags: Mapping[str, str]) -> Any:
        """A new version, of a logged model that holds its files."""
        from mlflow.entities import LoggedModelStatus

        model = self.logged_model(choice, run_id)
        with tempfile.TemporaryDirectory() as directory:
            launch = Path(directory) / "launch.py"
            launch.write_text(choice.code)
            for place, path in {**choice.files, "launch.py": launch}.items():
                self.store.put(model.artifact_location, path, place.rpartition("/")[0])
        self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        if not self.client.search_registered_models(f"name = {quoted(choice.name)}"):
            self.client.create_registered_model(choice.name)
        # By its location and with its run: else a SQLite store asks the one that MLflow takes by default.
        return self.client.create_model_version(
            choice.name,
            model.artifact_location,
            run_id=run_id,
            tags=dict(tags),
            description=choice.summary,
            model_id=model.model_id,
        )

    def logged_model(self, choice: Choice, run_id: str) -> Any:
        """The logged model of a choice; one that a broken attempt left is taken up again."""
        known = self.store.models(f"tags.`hwfit.kind` = 'chosen' and tags.`hwfit.digest` = '{choice.digest}'")
        if known:
            return known[0]
        return self.client.create_logged_model(
            self.store.experiment_id,
            name=re.sub(NOT_IN_NAMES, "_", choice.name),
            source_run_id=run_id,
            tags={"hwfit.kind": "chosen", "hwfit.digest": choice.digest},
            params={key: value for key, value in choice.tags.items() if key in KEYS},
            model_type="hwfit chosen",
        )

    def update(self, version: Any, tags: Mapping[str, str], summary: str) -> None:
        """Say of a version what holds now."""
        for key, value in tags.items():
            if version.tags.get(key) != value:
                self.client.set_model_version_tag(version.name, version.version, key, value)
        if version.description != summary:
            self.client.update_model_version(version.name, version.version, summary)


def files_of(cell: Cell, plan: Plan) -> dict[str, Path]:
    """What is registered of a cell, by its place in the version: the files that its runtime loads with their
    card, of each member where it is a composite's, and the model's card, which names the inputs.
    """
    found = {}
    members = plan.member_cells(cell)
    for each in members or [cell]:
        folder = f"members/{each.device}/" if members else ""
        for path in sorted(Path(plan.weights_directory(each)).glob("*")):
            if path.is_file() and path.name not in NOT_REGISTERED and not path.name.startswith("."):
                found[f"{folder}{path.name}"] = path
    card = Path(model_directory(cell.model)) / "card.json"
    return found | ({"model/card.json": card} if card.exists() else {})
