"""A real study that only trains: halving decides between rungs, and a second run changes nothing."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from mlflow import MlflowClient

from hwfit.training.records import read_log
from hwfit.training.table import CONFIGURATION_COLUMNS, RUN_COLUMNS
from projects import Project

TRAINING = {
    "sweep": "training",
    "training": {
        "models": ["lenet-300-100"],
        "devices": ["cpu"],
        "runtimes": ["torch"],
        "optimizers": ["momentum", "adam"],
        "learning_rates": [0.003, 0.03],
        "batch_sizes": [64],
        "target_accuracy": 0.99,
        "max_epochs": 4,
        "search": "halving",
        "halving": {"eta": 4, "rungs": 2},
        "exclude": [{"optimizer": "momentum", "learning_rate": 0.003}],
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, first_run) -> Project:
    """A project that has trained three runs, of which one went on."""
    project = Project(tmp_path_factory.mktemp("trained") / "a project")
    project.take_over(first_run[1])
    (project.directory / "config" / "config.yaml").write_text(json.dumps(TRAINING))
    project.run()
    return project


def table(project: Project, name: str = "training") -> pd.DataFrame:
    return pd.read_csv(project.directory / "reports" / f"{name}.csv")


def test_every_run_has_a_row_and_one_in_a_bracket_went_to_the_end(trained):
    runs = table(trained)
    assert list(runs.columns) == list(RUN_COLUMNS)
    assert sorted(runs["status"]) == ["ok", "ok", "ok", "skipped"]
    assert sorted(runs["epochs"].dropna()) == [1, 1, 4]
    assert runs["stopped"].notna().sum() == 2
    assert list(table(trained, "training-configurations").columns) == list(CONFIGURATION_COLUMNS)


def test_what_went_on_went_on_from_where_it_was(trained):
    (path,) = (trained.directory / "results" / "training").glob("**/rung1.json")
    epochs = [line["epoch"] for line in read_log(path.parent)]
    assert epochs == [1, 2, 3, 4]
    first, last = (json.loads((path.parent / f"rung{rung}.json").read_text()) for rung in (0, 1))
    assert first["metrics"]["steps"] * 4 == last["metrics"]["steps"]
    assert last["metrics"]["best_validation_accuracy"] > first["metrics"]["best_validation_accuracy"]


def test_the_recommendation_the_page_and_mlflow_tell_of_it(trained):
    (answer,) = trained.recommendation()["training"]
    assert answer["model"] == "lenet-300-100"
    page = (trained.directory / "reports" / "hardware-selection.html").read_text()
    assert 'id="training-title"' in page
    client = MlflowClient(f"sqlite:///{trained.directory}/results/mlflow.db")
    experiment = client.get_experiment_by_name("hwfit").experiment_id
    runs = client.search_runs([experiment], "tags.`hwfit.kind` = 'training'")
    assert len(runs) == 4
    longest = max(runs, key=lambda run: run.data.metrics.get("best_validation_accuracy", 0))
    assert len(client.get_metric_history(longest.info.run_id, "validation_accuracy")) in (1, 4)


def test_a_second_run_changes_nothing(trained):
    assert "Nothing to be done" in trained.run()
