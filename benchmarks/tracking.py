"""How fast a sweep is logged to MLflow, beside MLflow's own client that logs as many runs by hand.

    python -m benchmarks.tracking [--runs 300] [--directory DIR]

Both write into SQLite stores of their own on the same disk, block by block in turns. A run has some thirty
metrics and two files in both. By hand it is create_run below a parent, log_batch with the metrics,
log_artifact, set_terminated; hwfit's has parameters, tags, a note, its data set and its model besides, and
each block of it a parent run with views of the UI.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hwfit.records import COLUMNS, METRICS, Cell, write_json
from hwfit.tracking import log_sweep

ROOT = Path(__file__).parents[1]
BLOCK = 100
RUNS = 300
SIDES = ("hwfit", "by hand")
BATCH_SIZES = (1, 8, 32)
CARD = {"status": "ok", "model": "net", "task": "classification", "samples": 360, "labelled": True}


class Rows:
    """Made-up rows of a sweep, with their profiles and the card of their weights."""

    def __init__(self, directory: Path, count: int) -> None:
        self.directory = directory
        self.weights = directory / "results/artifacts/net/prune-1"
        write_json(directory / "results/models/net/card.json", CARD | {"evaluation_sha256": "ab" * 32})
        write_json(self.weights / "card.json", CARD | {"weights_sha256": "cd" * 32})
        generator = np.random.default_rng(0)
        lines = [self.line(number, generator.uniform(1, 2)) for number in range(count)]
        self.table = pd.DataFrame(lines, columns=list(COLUMNS))

    def line(self, number: int, value: float) -> dict[str, Any]:
        cell = Cell("net", "cpu", "torch", f"pass{number // len(BATCH_SIZES)}", "single_stream")
        batch_size = BATCH_SIZES[number % len(BATCH_SIZES)]
        figures = {name: value * (1 + place) for place, name in enumerate(METRICS)}
        # Large as those of real sweeps are.
        record = cell.__dict__ | {"metrics": figures, "context": {f"package-{i}": "1.2.3" for i in range(60)}}
        write_json(self.profile(cell, batch_size), record)
        line = dict.fromkeys(COLUMNS) | cell.__dict__ | figures
        return line | {
            "task": "classification",
            "device_name": "AMD EPYC, 2 cores",
            "runtime_version": "2.13.0",
            "batch_size": batch_size,
            "status": "ok",
            "valid": True,
            "verdict": "dominated",
            "reason": "throughput 5.816e+04, 37.3% less than cpu/openvino/bf16/batch 32",
            "rounds": 1,
        }

    def profile(self, cell: Cell, batch_size: int) -> Path:
        return self.directory / "profiles" / cell.path / "round0" / f"bs{batch_size}.json"

    def log(self, uri: str, block: int, lines: pd.DataFrame) -> None:
        """By hwfit, each block as a sweep."""
        cells = [Cell(*row) for row in lines[list(Cell.__dataclass_fields__)].itertuples(index=False)]
        log_sweep(
            uri=uri,
            experiment="bench",
            sweep=f"block {block}",
            project="bench",
            plan={"config": {}},
            table=lines,
            profiles=self.directory / "profiles",
            artifacts=[],
            inventories={},
            weights=dict.fromkeys(cells, str(self.weights)),
        )

    def log_by_hand(self, uri: str, artifacts: Path, block: int, lines: pd.DataFrame) -> None:
        """By MLflow's own client."""
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        client = MlflowClient(uri)
        found = client.get_experiment_by_name("bench")
        experiment = found.experiment_id if found else client.create_experiment("bench", artifacts.as_uri())
        parent = client.create_run(experiment, run_name=f"block {block}").info.run_id
        for line in lines.to_dict("records"):
            cell = Cell(**{name: line[name] for name in Cell.__dataclass_fields__})
            run = client.create_run(
                experiment,
                run_name=f"{cell.path}/bs{line['batch_size']}",
                tags={"mlflow.parentRunId": parent},
            )
            now = int(time.time() * 1000)
            client.log_batch(run.info.run_id, [Metric(name, line[name], now, 0) for name in METRICS])
            client.log_artifact(run.info.run_id, str(self.profile(cell, line["batch_size"])), "round0")
            client.log_artifact(run.info.run_id, str(self.weights / "card.json"), "weights")
            client.set_terminated(run.info.run_id)
        client.set_terminated(parent)


def measure(directory: Path, runs: int = RUNS, block: int = BLOCK) -> dict[str, Any]:
    """The rates of both in a folder that is gone afterwards; see `rates`."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix="tracking-") as place:
        return rates(Path(place), runs, block)


def rates(place: Path, runs: int, block: int) -> dict[str, Any]:
    """The rates of both, in runs a second, and the ratio of hwfit's to the other."""
    rows = Rows(place, runs)
    stores = {name: f"sqlite:///{place}/{name}/mlflow.db" for name in SIDES}
    for name in SIDES:
        (place / name).mkdir()

    def log(name: str, number: int, lines: pd.DataFrame) -> float:
        started = time.perf_counter()
        if name == "hwfit":
            rows.log(stores[name], number, lines)
        else:
            rows.log_by_hand(stores[name], place / name / "artifacts", number, lines)
        return len(lines) / (time.perf_counter() - started)

    found: dict[str, list[float]] = {name: [] for name in SIDES}
    order = random.Random(0)
    # The weights and the data are named from the project's directory.
    with contextlib.chdir(place):
        for name in SIDES:
            # Imports, the store's tables.
            log(name, -1, rows.table.iloc[:2])
        for number, start in enumerate(range(0, runs, block)):
            for name in order.sample(SIDES, len(SIDES)):
                found[name].append(log(name, number, rows.table.iloc[start : start + block]))
    ratios = [ours / theirs for ours, theirs in zip(*found.values(), strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "runs_per_s": {name: statistics.median(values) for name, values in found.items()},
        "runs": runs,
        "metrics_a_run": len(METRICS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracking", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--directory", type=Path, default=ROOT / ".bench")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.directory.resolve(), asked.runs), indent=1))


if __name__ == "__main__":
    main()
