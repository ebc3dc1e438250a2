"""What a cluster cannot do is told before it is asked to, with the remedy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from projects import ROOT

NPU = {"partition": "main", "gres": "npu:1", "cpus": 2}


@pytest.mark.parametrize(
    ("slurm", "said"),
    [
        (
            {"partition": "nope"},
            "node.slurm.partition is 'nope', which the cluster does not have; it has: main",
        ),
        ({"gres": "gpu:1"}, "node.slurm.gres is 'gpu:1', which no node of main has; they have: npu:1"),
    ],
)
def test_what_the_cluster_lacks_is_told_before_anything_is_submitted(project, slurm, said):
    project.ask_for(batch_sizes=[16], slurm=slurm)
    assert said in project.run(fails=True)
    assert project.submissions() == []


def test_a_device_that_says_not_where_to_is_not_submitted(project):
    project.configure({}, devices={"node": {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}}})
    assert "node has no section `slurm`, and this run submits its jobs" in project.run(fails=True)
    assert project.submissions() == []


@pytest.fixture
def ask_nodes(project):
    """Asks the nodes of a class, as a user would."""

    def ask(slurm: dict) -> subprocess.CompletedProcess[str]:
        project.ask_for(batch_sizes=[16], slurm=slurm)
        return subprocess.run(
            [sys.executable, "-m", "hwfit.nodes"],
            cwd=project.directory,
            env=project.cluster.environment | {"PYTHONPATH": f"{ROOT}/workflow"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return ask


def test_a_node_that_sees_all_it_needs_is_said_to(ask_nodes):
    done = ask_nodes(NPU)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "node: node n1 sees the project, its Python and the environments\n"


def test_a_directory_that_is_not_shared_is_told_with_the_remedy(ask_nodes, project):
    done = ask_nodes({"partition": "blind", "exclusive": False})
    assert done.returncode == 1
    assert f"node: node n3 does not see {project.directory}: the project must lie on storage" in done.stderr
