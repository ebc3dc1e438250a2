"""A sweep on a real SLURM, from the login node's point of view: what is submitted, and what comes of it."""

import re
from datetime import datetime
from itertools import combinations

from hwfit.records import COLUMNS, read_json


def seconds(job):
    return [datetime.fromisoformat(job[name]).timestamp() for name in ("StartTime", "EndTime")]


def rule_of(job):
    return re.sub(r"_wildcards.*|^rule_", "", job.get("Comment", ""))


def test_a_sweep_in_a_directory_of_any_name_ends_in_a_report(swept):
    table = swept.project.table()
    assert list(table.columns) == list(COLUMNS)
    assert (table["status"] == "ok").all(), table[["status", "reason"]]
    assert len(table) == 4
    page = (swept.project.directory / "reports" / "hardware-selection.html").read_text()
    assert "mlp" in page
    assert [answer["model"] for answer in swept.project.recommendation()["models"]] == ["mlp"]


def test_each_cell_is_one_submission_and_a_restarted_controller_loses_none(swept):
    rules = sorted(rule_of(job) for job in swept.jobs)
    assert rules == sorted(
        ["probe_node", "inventory_node", "prepare_model", "compress_model"]
        + ["profile_node_torch"] * 2
        + ["confirm_node"]
    )
    assert {job["JobState"] for job in swept.jobs} == {"COMPLETED"}


def test_planning_building_deciding_and_reporting_stay_at_the_login_node(swept):
    local = set(re.findall(r"^localrule (\w+):", swept.said, re.MULTILINE))
    assert {
        "write_plan",
        "build_torch_cpu",
        "nominate_contenders",
        "decide",
        "write_report",
        "track",
    } <= local


def test_jobs_of_one_device_never_overlap(swept):
    device = [job for job in swept.jobs if rule_of(job).endswith(("_node", "_node_torch"))]
    assert len(device) == 5
    for one, other in combinations(device, 2):
        (start, end), (other_start, other_end) = seconds(one), seconds(other)
        assert end <= other_start or other_end <= start, (rule_of(one), rule_of(other))


def test_what_devices_yaml_asks_for_reaches_the_scheduler(swept):
    asked = {rule_of(job): job for job in swept.jobs}
    measuring = asked["profile_node_torch"]
    assert (measuring["Partition"], measuring["MinMemoryNode"]) == ("main", "3000M")
    assert measuring["OverSubscribe"] == "NO"
    assert measuring["NumCPUs"] == "8"
    assert int(measuring["TimeLimit"].split(":")[0]) * 60 + int(measuring["TimeLimit"].split(":")[1]) > 10
    # Not 4096 threads, and not the whole node.
    assert (asked["prepare_model"]["NumCPUs"], asked["prepare_model"]["TimeLimit"]) == ("2", "00:10:00")


def test_records_say_on_which_node_they_were_made(swept):
    context = swept.project.record(8)["context"]
    assert context["host"] == "n1"
    assert context["device"]["identity"].startswith("cpu:n1:")
    assert read_json(swept.project.directory / "results/devices/node/inventory.json")["identity"].startswith(
        "cpu:n1:"
    )


def test_a_second_run_submits_nothing(swept, cluster):
    before = len(cluster.all_jobs())
    assert "Nothing to be done" in swept.project.run()
    assert len(cluster.all_jobs()) == before
