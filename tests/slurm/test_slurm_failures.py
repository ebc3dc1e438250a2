"""What goes wrong on a cluster becomes a retry or a row, what is interrupted is taken back, and the like.

Most of such a run is waiting, so all of them are under way at once, and each test looks at one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from cluster import Cluster, wait_until
from hwfit.records import read_json
from submitted import SubmittedProject

HERE = {"partition": "main", "exclusive": False, "cpus": 2, "mem_mb": 1500}
TWO = ["baseline", "prune50"]


@dataclass
class Run:
    """A run that has ended: what it said, and the job that a test interfered with."""

    project: SubmittedProject
    said: str
    job: str = ""


def cancelled(project: SubmittedProject) -> Run:
    return cancel(project, "slurm")


def cancelled_elsewhere(project: SubmittedProject) -> Run:
    return cancel(project, "cluster")


def cancel(project: SubmittedProject, profile: str) -> Run:
    project.ask_for(batch_sizes=[16], slurm=HERE)
    process = project.start(str(project.target(16)), profile=profile)
    job = project.wait_for_begin(1, process)
    project.cluster.ask("scancel", job)
    return Run(project, project.finish(process), job)


def killed_each_time(project: SubmittedProject) -> Run:
    project.ask_for(batch_sizes=[16], slurm=HERE)
    process = project.start(str(project.target(16)))
    project.cluster.ask("scancel", project.wait_for_begin(1, process))
    project.wait_for_begin(2, process)
    # As a node does that is out of memory.
    os.kill(project.supervisor(), signal.SIGKILL)
    job = project.wait_for_begin(3, process)
    put_back(project.cluster, job)
    return Run(project, project.finish(process), job)


def put_back(cluster: Cluster, job: str) -> None:
    """Put a running job back into the queue, and let it begin at once: SLURM waits two minutes otherwise."""
    cluster.ask("scontrol", "requeue", job)
    wait_until(lambda: cluster.told(job)["JobState"] == "PENDING", 30, lambda: cluster.told(job)["JobState"])
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")


def over_its_time(project: SubmittedProject) -> Run:
    project.ask_for(batch_sizes=[16], slurm=HERE | {"runtime_minutes": 1})
    process = project.start(str(project.target(16)))
    job = project.wait_for_begin(1, process)
    # It stands still: its worker may end, it notices nothing.
    os.kill(project.supervisor(), signal.SIGSTOP)
    return Run(project, project.finish(process), job)


def failing(project: SubmittedProject) -> Run:
    project.ask_for(batch_sizes=[16], slurm=HERE, optimizations=TWO)
    # A directory where the supervisor writes its attempts: it fails before it has a row to write.
    (project.directory / "results/attempts/node/torch/mlp/prune50/single_stream/round0.jsonl").mkdir(
        parents=True
    )
    return Run(project, project.run("--until", "profile_node_torch", fails=True))


def blind(project: SubmittedProject) -> Run:
    """On a node that does not see the project."""
    project.ask_for(batch_sizes=[16], slurm={"partition": "blind", "exclusive": False, "mem_mb": 500})
    (project.directory / "results/devices/node/probe.json").unlink()
    return Run(project, project.run("results/devices/node/probe.json", fails=True))


def grouped(project: SubmittedProject) -> Run:
    project.ask_for(batch_sizes=[16], slurm=HERE | {"gres": "npu:1"}, optimizations=TWO)
    group = ("--groups", "profile_node_torch=node", "--group-components", "node=2")
    return Run(project, project.run("--until", "profile_node_torch", *group))


def on_another_node(project: SubmittedProject) -> Run:
    project.ask_for(batch_sizes=[16], slurm=HERE | {"partition": "other"})
    return Run(project, project.run(str(project.target(16))))


def interrupted(project: SubmittedProject) -> Run:
    project.ask_for(batch_sizes=[16], slurm=HERE, optimizations=TWO)
    process = project.start("--until", "profile_node_torch")
    # The cluster knows the one; the other is being submitted.
    project.wait_for(project.submissions, process, "no job was submitted")
    process.send_signal(signal.SIGINT)
    said = project.finish(process, fails=True)
    wait_until(lambda: set(states(project)) == {"CANCELLED"}, 30, lambda: f"{states(project)}\n{said}")
    return Run(project, said)


def states(project: SubmittedProject) -> list[str]:
    return [job["JobState"] for job in project.submissions()]


SCENARIOS = (
    over_its_time,
    killed_each_time,
    failing,
    blind,
    cancelled,
    cancelled_elsewhere,
    interrupted,
    grouped,
    on_another_node,
)


@pytest.fixture(scope="module")
def under_way(new_project):
    """All runs, started at once."""
    with ThreadPoolExecutor(len(SCENARIOS)) as pool:
        yield {scenario: pool.submit(scenario, new_project(scenario.__name__)) for scenario in SCENARIOS}


@pytest.fixture
def ended(under_way) -> Callable[[Callable], Run]:
    """Waits for a run, and gives what came of it."""

    def result(scenario: Callable[[SubmittedProject], Run]) -> Run:
        future: Future[Run] = under_way[scenario]
        return future.result()

    return result


def test_a_cancelled_job_is_submitted_again(ended, cluster):
    run = ended(cancelled)
    assert run.project.record(16)["status"] == "ok"
    assert cluster.told(run.job)["JobState"] == "CANCELLED"
    assert run.project.begun() == 2


def test_ctrl_c_takes_back_what_was_submitted(ended):
    project = ended(interrupted).project
    assert not (project.directory / project.target(16)).exists()


def test_cells_that_are_one_submission_are_measured_one_after_the_other(ended):
    project = ended(grouped).project
    (job,) = project.submissions()
    assert job["TresPerNode"] == "gres:npu:1"
    spans = []
    for optimization in TWO:
        begin, *_, row = project.attempts(optimization)
        spans.append((begin["at"], row["at"]))
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end <= second_start


def test_another_executor_needs_its_commands_alone_to_submit_what_was_cancelled_again(ended, cluster):
    run = ended(cancelled_elsewhere)
    assert run.project.record(16)["status"] == "ok"
    assert states(run.project) == ["CANCELLED", "COMPLETED"]


def test_another_node_of_the_class_is_another_identity_with_an_inventory_of_its_own(ended):
    project = ended(on_another_node).project
    identity = project.record(16)["context"]["device"]["identity"]
    assert identity.startswith("cpu:n2:")
    (inventory,) = (project.directory / "results/devices/node/identities").glob("*/inventory.json")
    assert read_json(inventory)["identity"] == identity


def test_a_job_that_is_killed_again_and_again_becomes_a_row(ended, cluster):
    run = ended(killed_each_time)
    record = run.project.record(16)
    assert record["status"] == "crashed"
    assert record["reason"] == "the job was killed from outside 3 times while this was measured"
    assert cluster.told(run.job)["Restarts"] == "1"


def test_a_job_that_fails_is_told_with_its_log_and_stops_no_other(ended):
    run = ended(failing)
    assert run.project.record(16)["status"] == "ok"
    assert "logs/profiles/node/torch/mlp/prune50/single_stream/round0.log" in run.said


def test_a_job_whose_node_does_not_see_the_project_names_the_log_that_is_not_there(ended):
    run = ended(blind)
    assert states(run.project) == ["FAILED"] * 4
    assert "slurm_logs/rule_probe_node" in run.said
    assert not list((run.project.directory / ".snakemake" / "slurm_logs").rglob("*.log"))


def test_a_job_over_its_time_is_submitted_again(ended, cluster):
    run = ended(over_its_time)
    assert cluster.told(run.job)["JobState"] == "TIMEOUT"
    assert run.project.record(16)["status"] == "ok"
