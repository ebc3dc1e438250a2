"""One cluster for all tests here, and one sweep on it, with whose results the others begin."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

import cluster as clusters
from cluster import Cluster, Node
from submitted import SubmittedProject

# What is known of nodes, models and artifacts once the sweep has run.
KNOWN = ("artifacts", "data", "devices", "environments", "models")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, python_of) -> Iterator[Cluster]:
    """Three nodes: one with a single npu, another, and one that does not see the projects."""
    python_of("torch-cpu")
    if lacking := clusters.lacks():
        is_required = "slurm" in os.environ.get("HWFIT_REQUIRE", "").split(",")
        pytest.fail(lacking) if is_required else pytest.skip(lacking)
    hidden = tmp_path_factory.getbasetemp()
    with clusters.running(
        Node("n1", "main", gres="npu:1"), Node("n2", "other"), Node("n3", "blind", hidden=(hidden,))
    ) as running:
        yield running


@dataclass
class Sweep:
    """A sweep that ran through the profile, in the midst of which the controller was started anew."""

    project: SubmittedProject
    said: str
    jobs: list[dict[str, str]]


@pytest.fixture(scope="session")
def swept(cluster, tmp_path_factory) -> Sweep:
    project = SubmittedProject(tmp_path_factory.mktemp("swept") / "ein Projekt für 硬件", cluster)
    process = project.start()
    measuring = project.directory / "logs" / "inventory" / "node.log"
    project.wait_for(measuring.exists, process, "no inventory is taken")
    cluster.restart_controller()
    return Sweep(project, project.finish(process), cluster.all_jobs())


@pytest.fixture(scope="session")
def new_project(cluster, swept, tmp_path_factory) -> Callable[[str], SubmittedProject]:
    """Makes a project which starts with what the sweep knew of the cluster."""

    def make(name: str) -> SubmittedProject:
        directory = tmp_path_factory.mktemp(name)
        for part in KNOWN:
            shutil.copytree(swept.project.directory / "results" / part, directory / "known" / part)
        return SubmittedProject(directory / "a project", cluster, directory / "known")

    return make


@pytest.fixture
def project(new_project) -> SubmittedProject:
    """One of a test's own."""
    return new_project("project")
