"""`snakemake compare` on results that are there: it measures nothing; a worse row fails it."""

import json

import pytest

from compared import make_row, write_project
from projects import Project


def rows(*paces, started_at):
    return [make_row("baseline", paces, batch_size=size, started_at=started_at) for size in (1, 8)]


@pytest.fixture
def compared(tmp_path):
    """A project and a run from before, neither of which could be measured again in a test's time."""
    project = Project(tmp_path / "project")
    write_project(project.directory, *rows(20.0, 20.1, 19.9, started_at="2026-11-02"))
    write_project(tmp_path / "be fore", *rows(10.0, 10.1, 9.9, started_at="2026-11-01"))
    return project


def test_a_worse_row_fails_the_job_and_its_files_stay(compared):
    plan = compared.directory / "results" / "plan.json"
    before = plan.read_bytes()
    said = compared.run("compare", "--config", "against=../be fore", "difference=0.1", fails=True)
    assert "2 worse" in said
    found = json.loads((compared.directory / "reports" / "comparison.json").read_text())
    assert found["counts"]["worse"] == 2
    assert found["difference"] == 0.1
    assert (compared.directory / "reports" / "comparison.csv").exists()
    assert plan.read_bytes() == before
    assert "profile_" not in said
    # The other way round it is better, and that is no failure; asked again, it runs again.
    write_project(compared.directory, *rows(5.0, 5.1, 4.9, started_at="2026-11-03"))
    assert "2 better" in compared.run("compare", "--config", "against=../be fore")


def test_without_a_run_to_compare_with_the_message_says_how_to_name_one(compared):
    assert "against=../before" in compared.run("compare", fails=True)
