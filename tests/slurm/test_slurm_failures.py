"""What goes wrong on a cluster becomes a retry or a row, and what is interrupted is taken back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import wait_until
from projects import ROOT
from submitted import SLOW

NPU = {"partition": "main", "gres": "npu:1", "cpus": 2, "mem_mb": 2000}


def kill_by_the_node(job):
    """End the daemon that a job's processes hang on, as a node does that goes down."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[0].startswith(f"slurmstepd: [{job}."):
            os.kill(int(place.name), signal.SIGKILL)


@pytest.fixture
def slow(project):
    """A project with one batch size whose measuring takes a while."""
    project.ask_for(batch_sizes=[16], slurm=NPU, measurement=SLOW)
    return project


def test_a_cancelled_job_is_submitted_again(slow, cluster):
    process = slow.start(str(slow.target(16)))
    job = slow.wait_for_begin(1, process)
    cluster.ask("scancel", job)
    slow.finish(process)
    assert slow.record(16)["status"] == "ok"
    assert cluster.told(job)["JobState"] == "CANCELLED"
    assert slow.begun() == 2


def test_a_job_that_is_killed_again_and_again_becomes_a_row(slow, cluster):
    process = slow.start(str(slow.target(16)))
    cluster.ask("scancel", slow.wait_for_begin(1, process))
    kill_by_the_node(slow.wait_for_begin(2, process))
    cluster.ask("scontrol", "requeue", slow.wait_for_begin(3, process))
    slow.finish(process)
    record = slow.record(16)
    assert record["status"] == "crashed"
    assert record["reason"] == "the job was killed from outside 3 times while this was measured"


def test_a_job_over_its_time_is_submitted_again(slow, cluster):
    slow.ask_for(batch_sizes=[16], slurm=NPU | {"runtime_minutes": 1}, measurement=SLOW)
    process = slow.start(str(slow.target(16)))
    job = slow.wait_for_begin(1, process)
    # It stands still: its worker may end, it notices nothing.
    os.kill(slow.attempts()[-1]["pid"], signal.SIGSTOP)
    slow.finish(process)
    assert cluster.told(job)["JobState"] == "TIMEOUT"
    assert slow.record(16)["status"] == "ok"


def test_ctrl_c_takes_back_what_was_submitted(project, cluster):
    project.ask_for(batch_sizes=[16], slurm=NPU, measurement=SLOW, optimizations=["baseline", "prune50"])
    process = project.start("--until", "profile_node_torch")
    project.wait_for(lambda: len(cluster.jobs()) == 2, process, "not two jobs are there")
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    wait_until(lambda: not cluster.jobs(), 20, project.words)
    assert process.returncode != 0


def test_a_job_that_fails_is_told_with_its_log_and_stops_no_other(project):
    project.ask_for(batch_sizes=[16], slurm=NPU, optimizations=["baseline", "prune50"])
    attempts = project.directory / "results/attempts/node/torch/mlp/prune50/single_stream"
    attempts.mkdir(parents=True)
    # A directory where the supervisor writes its attempts: it fails before it has a row to write.
    (attempts / "round0.jsonl").mkdir()
    said = project.run("--until", "profile_node_torch", fails=True)
    assert project.record(16)["status"] == "ok"
    assert "logs/profiles/node/torch/mlp/prune50/single_stream/round0.log" in said


def test_cells_that_are_one_submission_are_measured_one_after_the_other(project, cluster):
    project.ask_for(batch_sizes=[16], slurm=NPU, optimizations=["baseline", "prune50"])
    before = len(cluster.all_jobs())
    group = ("--groups", "profile_node_torch=node", "--group-components", "node=2")
    project.run("--until", "profile_node_torch", *group)
    assert len(cluster.all_jobs()) == before + 1
    spans = []
    for optimization in ("baseline", "prune50"):
        begin, row = project.attempts(optimization)
        spans.append((begin["at"], row["at"]))
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end <= second_start


def test_another_executor_needs_only_its_commands(project, cluster):
    project.ask_for(batch_sizes=[16], slurm=NPU)
    project.run(str(project.target(16)), profile="cluster")
    assert project.record(16)["status"] == "ok"
    assert cluster.all_jobs()[-1]["TresPerNode"] == "gres:npu:1"


def test_a_cancelled_job_of_another_executor_is_submitted_again(slow, cluster):
    process = slow.start(str(slow.target(16)), profile="cluster")
    cluster.ask("scancel", slow.wait_for_begin(1, process))
    slow.finish(process)
    assert slow.record(16)["status"] == "ok"


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
def test_what_the_cluster_lacks_is_told_before_anything_is_submitted(project, cluster, slurm, said):
    before = len(cluster.all_jobs())
    project.ask_for(batch_sizes=[16], slurm=slurm)
    assert said in project.run(fails=True)
    assert len(cluster.all_jobs()) == before


def test_a_device_that_says_not_where_to_is_not_submitted(project, cluster):
    project.configure({}, devices={"node": {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}}})
    said = project.run(fails=True)
    assert "node has no section `slurm`, and this run submits its jobs" in said


def ask_nodes(project, slurm):
    project.ask_for(batch_sizes=[16], slurm=slurm)
    return subprocess.run(
        [sys.executable, "-m", "hwfit.nodes"],
        cwd=project.directory,
        env=project.cluster.environment | {"PYTHONPATH": f"{ROOT}/workflow"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_node_that_sees_all_it_needs_is_said_to(project):
    done = ask_nodes(project, NPU)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "node: node n1 sees the project, its Python and the environments\n"


def test_a_directory_that_is_not_shared_is_told_with_the_remedy(project):
    done = ask_nodes(project, {"partition": "blind", "exclusive": False})
    assert done.returncode == 1
    assert f"node: node n3 does not see {project.directory}: the project must lie on storage" in done.stderr
