"""A tracking store: an experiment in it, the runs there, and where their files go."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hwfit.config_errors import mask_credentials
from hwfit.records import write_bytes
from hwfit.tracking.sqlite import write_ahead

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
# A line a run, which costs a request each and shows the server's address with what it holds of secrets.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

SQLITE = "sqlite:///"
# How an experiment of a SQLite store names its artifacts: the server puts a directory in its place.
PROXIED = "mlflow-artifacts:/"
SECRETS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")
MAX_TEXT = 4000


class TrackingError(Exception):
    """The store cannot be reached or written: the message names it, without credentials."""


@contextmanager
def one_message(uri: str, remedy: str) -> Iterator[None]:
    """Turn whatever the store raises into one line without credentials.

    Raises
    ------
    TrackingError
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, ImportError) as error:
        said = without_secrets(str(error)).splitlines() or [type(error).__name__]
        raise TrackingError(f"MLflow at {mask_credentials(uri)}: {said[0].rstrip('.')}. {remedy}") from None


def without_secrets(text: str) -> str:
    """A message without what MLflow's variables hold of secrets, and without those of an address in it."""
    for name in SECRETS:
        if value := os.environ.get(name):
            text = text.replace(value, "***")
    return mask_credentials(text)


class Store:
    """An experiment of a tracking store, made where it is not there."""

    def __init__(self, uri: str, experiment: str) -> None:
        from mlflow import MlflowClient

        self.uri = uri
        self.root: Path | None = None
        if uri.startswith(SQLITE):
            database = Path(uri.removeprefix(SQLITE))
            database.parent.mkdir(parents=True, exist_ok=True)
            self.root = database.parent / "mlartifacts"
            write_ahead(database)
        self.client = MlflowClient(tracking_uri=uri)
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            place = PROXIED if self.root else None
            self.experiment_id = self.client.create_experiment(experiment, artifact_location=place)
            self.experiment_tags: dict[str, str] = {}
        else:
            self.experiment_id = found.experiment_id
            self.experiment_tags = dict(found.tags)
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(self.experiment_id)

    def runs(self, query: str) -> list[Any]:
        """All runs of the experiment that a query finds."""
        ids = [self.experiment_id]
        return every(lambda token: self.client.search_runs(ids, query, max_results=1000, page_token=token))

    def models(self, query: str) -> list[Any]:
        """All logged models of the experiment that a query finds."""
        ids = [self.experiment_id]
        return every(lambda token: self.client.search_logged_models(ids, query, page_token=token))

    def set_experiment_tags(self, tags: dict[str, str]) -> None:
        """Set those tags of the experiment that are not as they should be."""
        for name, value in tags.items():
            if self.experiment_tags.get(name) != value:
                self.client.set_experiment_tag(self.experiment_id, name, value)
                self.experiment_tags[name] = value

    def put(self, location: str, path: Path, folder: str = "") -> None:
        """Store a file as an artifact.

        Parameters
        ----------
        location : of a run's artifacts or of a logged model's, as MLflow names it
        folder : below that location
        """
        if self.root is not None and location.startswith(PROXIED):
            # What the server will find there, without a server.
            place = self.root / location.removeprefix(PROXIED).lstrip("/") / folder
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place / path.name)
            return
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        # By its location: the client would ask the server for it, once a run.
        get_artifact_repository(location, tracking_uri=self.uri).log_artifact(str(path), folder or None)


def every(search: Callable[[str | None], Any]) -> list[Any]:
    """What a search finds on all of its pages."""
    page = search(None)
    found = list(page)
    while page.token:
        page = search(page.token)
        found += page
    return found


def quoted(value: str) -> str:
    """A value as a search query holds it."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def text(value: Any) -> str:
    """A value as a parameter or a tag, within MLflow's length limits."""
    return str(value)[:MAX_TEXT]


def sweep_query(sweep: str, project: str) -> str:
    """Finds the parent run of a sweep."""
    return f"tags.`hwfit.sweep` = {quoted(sweep)} and tags.`hwfit.project` = {quoted(project)}"


def sweep_run(store: Store, sweep: str, project: str) -> str:
    """The id of the parent run of a sweep, new where there is none."""
    found = store.client.search_runs([store.experiment_id], sweep_query(sweep, project), max_results=1)
    if found:
        return found[0].info.run_id
    tags = {"hwfit.kind": "sweep", "hwfit.sweep": sweep, "hwfit.project": project}
    return store.client.create_run(store.experiment_id, run_name=sweep, tags=tags).info.run_id


def project_id(path: Path) -> str:
    """The name of this project in shared stores, made up once and kept in a file that moves with it."""
    if path.exists() and (name := path.read_text().strip()):
        return name
    name = uuid.uuid4().hex[:12]
    write_bytes(path, f"{name}\n".encode())
    return name
