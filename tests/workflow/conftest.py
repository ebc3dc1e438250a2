"""Projects of a test's own, in the environments that `make test` built."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from projects import Project

# What a run finds of the machine and makes of the zoo's model, which takes longer than to measure them.
KNOWN = ("data", "devices", "environments", "models")


@pytest.fixture(scope="session", autouse=True)
def environments(python_of):
    """These tests need the torch environment, and find it where `make test` built it."""
    python_of("torch-cpu")


@pytest.fixture(scope="session")
def first_run(tmp_path_factory) -> tuple[Project, Path]:
    """A project whose study was run once from nothing, and a directory of what was known after that."""
    directory = tmp_path_factory.mktemp("swept")
    project, known = Project(directory / "a project"), directory / "known"
    project.run()
    for part in KNOWN:
        shutil.copytree(project.directory / "results" / part, known / part)
    return project, known


@pytest.fixture(scope="session")
def swept(first_run) -> Project:
    """That project; the tests of a sweep go on with it one after the other."""
    return first_run[0]


@pytest.fixture
def project(tmp_path, first_run) -> Project:
    """A project of a test's own, which starts with what the first run knew of the machine."""
    project = Project(tmp_path / "a project")
    project.take_over(first_run[1])
    return project
