"""A sweep logged to a real store, and a real MLflow server, for the tests of tracking."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient

from hwfit.records import Cell, write_json
from hwfit.tracking import log_sweep
from tables import make_inventories, make_plan, make_recommendation, make_table

EXPERIMENT = "hwfit"


def make_card(directory: Path, model: str = "lenet-5", **changes: Any) -> Path:
    """The card of a model or of what was made of it, in a directory as the workflow leaves it."""
    card: dict[str, Any] = {
        "status": "ok",
        "model": model,
        "task": "classification",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 28, 28]}],
        "samples": 360,
        "labelled": True,
        "synthetic_inputs": False,
        "data_provenance": "digits",
        "evaluation_sha256": "ab" * 32,
        "weights_sha256": "cd" * 32,
        "parameters": 431080,
    }
    write_json(directory / "card.json", card | changes)
    return directory / "card.json"


@cache
def empty_store() -> bytes:
    """A SQLite store as MLflow makes it, which takes it seconds: once for all tests."""
    with tempfile.TemporaryDirectory() as directory:
        MlflowClient(f"sqlite:///{directory}/mlflow.db").search_experiments()
        return Path(directory, "mlflow.db").read_bytes()


def write_empty_store(directory: Path) -> str:
    """A store for a project, in which nothing was logged; its address."""
    database = directory / "results" / "mlflow.db"
    database.parent.mkdir(parents=True, exist_ok=True)
    if not database.exists():
        database.write_bytes(empty_store())
    return f"sqlite:///{database}"


class Sweep:
    """A sweep below a directory, of a small table's combinations."""

    def __init__(self, directory: Path, table: pd.DataFrame | None = None) -> None:
        self.directory = directory
        self.uri = write_empty_store(directory)
        self.table = small_table() if table is None else table
        for line in self.table.to_dict("records"):
            if line["status"] == "ok":
                self.record(line, {"p50": line["latency_p50_ms"]})
        self.report = directory / "report.html"
        self.report.write_text("<p>report</p>")

    def record(self, line: dict[str, Any], content: Any) -> Path:
        cell = Cell(*(line[name] for name in Cell.__dataclass_fields__))
        path = self.directory / "profiles" / cell.path / "round0" / f"bs{line['batch_size']}.json"
        write_json(path, content)
        return path

    @property
    def cells(self) -> list[Cell]:
        names = list(Cell.__dataclass_fields__)
        return [Cell(*values) for values in dict.fromkeys(map(tuple, self.table[names].values.tolist()))]

    def log(self, **changes: Any) -> dict[str, int]:
        arguments: dict[str, Any] = {
            "uri": self.uri,
            "experiment": EXPERIMENT,
            "sweep": "default",
            "project": "mine",
            "plan": make_plan()["study"],
            "table": self.table,
            "profiles": self.directory / "profiles",
            "artifacts": [self.report],
            "inventories": make_inventories(),
            "recommendation": make_recommendation(self.table),
        }
        return log_sweep(**arguments | changes)

    def client(self, uri: str | None = None) -> MlflowClient:
        return MlflowClient(uri or self.uri)

    def experiment(self, uri: str | None = None) -> Any:
        return self.client(uri).get_experiment_by_name(EXPERIMENT)

    def runs(self, uri: str | None = None, query: str = "") -> list[Any]:
        return list(self.client(uri).search_runs([self.experiment(uri).experiment_id], query))

    def parent(self, uri: str | None = None) -> Any:
        (found,) = [run for run in self.runs(uri) if run.data.tags["hwfit.kind"] == "sweep"]
        return found

    def children(self, uri: str | None = None) -> dict[str, Any]:
        return {r.info.run_name: r for r in self.runs(uri) if r.data.tags["hwfit.kind"] == "combination"}

    def files(self, run: Any) -> dict[str, str]:
        """What a run has for artifacts, by their path, as the server would find them."""
        place = self.directory / "results" / "mlartifacts" / run.info.run_id / "artifacts"
        return {str(p.relative_to(place)): p.read_text() for p in place.rglob("*") if p.is_file()}


def small_table(**changes: Any) -> pd.DataFrame:
    """Six combinations of one model: three runtimes, two batch sizes."""
    asked: dict[str, Any] = {
        "models": ("lenet-5",),
        "absent": (),
        "optimizations": ("baseline",),
        "batch_sizes": (1, 8),
    }
    return make_table(**asked | changes)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """A real MLflow server on a directory's store: `python -m hwfit ui`, or another command."""

    def __init__(self, directory: Path, port: int | None = None, *, said: Any = subprocess.DEVNULL) -> None:
        port = port or free_port()
        self.port, self.address = port, f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hwfit", "ui", "--port", str(port)],
            cwd=directory,
            stdout=said,
            stderr=subprocess.DEVNULL,
            env={key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"},
            start_new_session=True,
        )
        end = time.monotonic() + 120
        while time.monotonic() < end:
            assert self.process.poll() is None, "the server ended"
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError("the server does not answer")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, signal: int = 15) -> None:
        """End it, and the processes that answer for it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal)
            self.process.wait(30)
