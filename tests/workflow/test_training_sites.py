"""Two projects that train apart and one answer, by real Snakemake runs: each another optimizer."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from projects import Project

TRAINING = {
    "models": ["lenet-300-100"],
    "devices": ["cpu"],
    "runtimes": ["torch"],
    "optimizers": ["adam"],
    "learning_rates": [0.003],
    "batch_sizes": [64],
    "target_accuracy": 0.75,
    "max_epochs": 3,
}
THERE = TRAINING | {"optimizers": ["momentum"], "learning_rates": [0.03]}


def configure(project: Project, site: str, training: dict, **more) -> None:
    study = {"site": site, "training": training} | more
    (project.directory / "config/config.yaml").write_text(json.dumps(study))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, first_run) -> Project:
    """A site that trains alone, and has packed what it has trained."""
    project = Project(tmp_path_factory.mktemp("training sites") / "a workshop")
    project.take_over(first_run[1])
    configure(project, "workshop", THERE)
    project.run("export", "--config", "to=../workshop.zip")
    return project


@pytest.fixture(scope="module")
def office(workshop, first_run) -> Project:
    """Where the decision is made; it has trained by itself before it heard of the other site."""
    project = Project(workshop.directory.parent / "an office")
    project.take_over(first_run[1])
    configure(project, "office", TRAINING)
    project.run()
    return project


def runs_of(project: Project) -> pd.DataFrame:
    table = pd.read_csv(project.directory / "reports/training.csv")
    return table.set_index("device")


def test_runs_of_both_sites_stand_in_one_table_and_each_device_has_its_answer(office, workshop):
    configure(office, "office", TRAINING, sites=["../workshop.zip"])
    said = office.run()
    assert "rule import_workshop:" in said
    # What was trained here stays as it was.
    assert "rule train_" not in said
    table = runs_of(office)
    assert table["optimizer"].to_dict() == {"cpu": "adam", "cpu@workshop": "momentum"}
    assert set(table["status"]) == {"ok"}
    assert (table["best_validation_accuracy"] > 0.75).all()
    theirs = runs_of(workshop).loc["cpu", "best_validation_accuracy"]
    assert table.loc["cpu@workshop", "best_validation_accuracy"] == theirs
    answers = office.recommendation()["training"]
    assert {answer["device"] for answer in answers} == {"cpu", "cpu@workshop"}
    page = (office.directory / "reports/hardware-selection.html").read_text()
    assert "<b>workshop</b>: 0 rows of cpu" in page
    assert "One run of training came with them." in page
    assert "Nothing to be done" in office.run()


def test_runs_that_aim_elsewhere_are_skipped_with_both_aims(office, workshop):
    configure(workshop, "workshop", THERE | {"target_accuracy": 0.8})
    workshop.run("export", "--config", "to=../workshop.zip")
    # The file has changed, and the config of here has not.
    office.run()
    table = runs_of(office)
    assert table["status"].to_dict() == {"cpu": "ok", "cpu@workshop": "skipped"}
    assert "target_accuracy is 0.8 at workshop" in table.loc["cpu@workshop", "reason"]
