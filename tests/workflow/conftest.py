"""Projects of a test's own, in the environments that `make test` built."""

from __future__ import annotations

import pytest

from projects import Project


@pytest.fixture(scope="session", autouse=True)
def environments(python_of):
    """These tests need the torch environment, and find it where `make test` built it."""
    python_of("torch-cpu")


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path / "a project")


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Project:
    """A project whose study was run once."""
    project = Project(tmp_path_factory.mktemp("swept") / "a project")
    project.said = project.run()
    return project
