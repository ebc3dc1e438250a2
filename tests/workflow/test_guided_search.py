"""A real study that is searched with guidance: looks, two verdicts, a full measurement of what is left."""

from __future__ import annotations

import json
import shutil
import zipfile

import pytest

from hwfit.search.records import ROUNDS, read_verdict, verdict_file
from projects import Project

# What is pruned to a twentieth answers otherwise; that is known after a look, however busy the machine is.
OPTIMIZATIONS = {"baseline": {"passes": []}, "prune95": {"passes": [{"pass": "prune", "amount": 0.95}]}}
STUDY = {
    "matrix": {
        "models": ["lenet-300-100"],
        "devices": ["cpu"],
        "runtimes": ["torch"],
        "optimizations": list(OPTIMIZATIONS),
        "batch_sizes": [1, 8, 64],
    },
    "measurement": {
        "search": "guided",
        "max_seconds": 1.0,
        "relative_ci": 0.1,
        "confirm_rounds": 1,
        "most_confirm_rounds": 1,
    },
    "decision": {"constraints": {"min_fidelity": 0.95}},
}


@pytest.fixture(scope="module")
def guided(tmp_path_factory, first_run) -> Project:
    project = Project(tmp_path_factory.mktemp("guided") / "a project")
    shutil.copytree(first_run[1], project.directory / "results")
    project.configure(STUDY, optimizations=OPTIMIZATIONS)
    project.run()
    return project


def verdict(project: Project):
    return read_verdict(project.directory / verdict_file(ROUNDS - 1))


def test_what_cannot_win_is_skipped_with_its_evidence_and_was_never_measured(guided):
    table = guided.table()
    assert len(table) == 6
    gone = verdict(guided).given_up
    assert {("prune95", size) for size in (1, 8, 64)} <= {(e.cell.optimization, e.batch_size) for e in gone}
    for each in gone:
        row = table[
            (table["optimization"] == each.cell.optimization) & (table["batch_size"] == each.batch_size)
        ]
        assert row["status"].item() == "skipped"
        assert row["reason"].item().startswith("guided search: ")
        record = guided.profile(each.cell.optimization, each.batch_size)
        if record.exists():
            assert json.loads(record.read_text())["status"] == "skipped"


def test_what_goes_on_is_measured_in_full_and_told_of(guided):
    table = guided.table()
    going = {(cell.optimization, size) for cell, sizes in verdict(guided).go_on.items() for size in sizes}
    measured = table[table["status"] == "ok"]
    assert set(zip(measured["optimization"], measured["batch_size"], strict=True)) == going
    told = guided.recommendation()["search"]
    assert (told["cells"], told["went_on"], told["infeasible"]) == (2, len(going), 3)
    assert told["seconds"] > 0


def test_the_page_and_the_archive_tell_of_it(guided):
    page = (guided.directory / "reports" / "hardware-selection.html").read_text()
    assert "The search was guided" in page
    with zipfile.ZipFile(guided.directory / "reports" / "measurements.zip") as archive:
        names = archive.namelist()
    assert "search/round1.json" in names
    assert any(name.startswith("screening/cpu/torch/lenet-300-100/") for name in names)


def test_a_second_run_changes_nothing(guided):
    assert "Nothing to be done" in guided.run()


def test_a_further_batch_size_is_looked_at_and_what_was_measured_stays(guided):
    (cell, sizes), *_ = verdict(guided).go_on.items()
    before = guided.profile(cell.optimization, sizes[-1]).read_text()
    matrix = STUDY["matrix"] | {"batch_sizes": [1, 2, 8, 64]}
    guided.configure(STUDY | {"matrix": matrix}, optimizations=OPTIMIZATIONS)
    guided.run()
    assert len(guided.table()) == 8
    assert guided.profile(cell.optimization, sizes[-1]).read_text() == before
