"""One cluster for all tests here, and one sweep on it, with whose results the others begin."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import cluster as clusters
from cluster import Cluster, Node
from hwfit.records import fingerprint, read_json, read_profile, write_json, write_record
from submitted import SubmittedProject

# What is known of nodes, models and artifacts once the sweep has run.
# How long the replay of a measurement goes on, in which a test may interfere.
SECONDS = 6.0
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
def recording(swept, tmp_path_factory) -> Path:
    """What the sweep found, and a larger batch that takes some seconds, to be replayed (`HWFIT_RECORDED`) on
    either node.
    """
    directory = tmp_path_factory.mktemp("recording")
    results = swept.project.directory / "results"
    for part in (*KNOWN, "profiles"):
        shutil.copytree(results / part, directory / part)
    for path in (directory / "profiles").glob("**/round0/bs8.json"):
        found = read_profile(path)
        slow = replace(found, batch_size=16, metrics=found.metrics | {"wall_s": SECONDS})
        write_record(path.with_name("bs16.json"), slow.to_dict())
        shutil.copy(path.with_suffix(".npz"), path.with_name("bs16.npz"))
    inventory = read_json(directory / "devices/node/inventory.json")
    other = inventory["identity"].replace("cpu:n1:", "cpu:n2:")
    write_json(
        directory / "devices/node/identities" / fingerprint(other) / "inventory.json",
        inventory | {"identity": other},
    )
    return directory


@pytest.fixture(scope="session")
def new_project(cluster, recording, tmp_path_factory) -> Callable[[str], SubmittedProject]:
    """Makes a project which starts with what the sweep knew of the cluster, and replays measurements."""

    def make(name: str) -> SubmittedProject:
        directory = tmp_path_factory.mktemp(name)
        for part in KNOWN:
            shutil.copytree(recording / part, directory / "known" / part)
        shutil.rmtree(directory / "known/devices/node/identities")
        return SubmittedProject(directory / "a project", cluster, directory / "known", recording)

    return make


@pytest.fixture
def project(new_project) -> SubmittedProject:
    """One of a test's own."""
    return new_project("project")
