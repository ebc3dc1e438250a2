"""What the rules of a class of nodes tell a scheduler."""

from types import SimpleNamespace

import pytest

from hwfit.config import ConfigError
from hwfit.records import write_json
from hwfit.submission import Submission, require_section
from studies import make_plan

GPU = {"accelerator": "cuda", "runtimes": {"torch": "torch-cuda"}}
MATRIX = {"models": ["net"], "devices": ["gpu"], "batch_sizes": [1, 8]}


def submission(slurm, **config):
    return Submission(make_plan(matrix=MATRIX, devices={"gpu": GPU | {"slurm": slurm}}, **config))


def minutes(resources, attempt=1, scenario="single_stream"):
    return resources["runtime"](SimpleNamespace(scenario=scenario), attempt=attempt)


def test_a_device_that_is_here_asks_for_nothing():
    here = Submission(make_plan())
    assert (here.classes, here.here) == ({}, ["cpu"])
    assert here.to_profile("cpu", "torch") == here.to_probe("cpu") == here.to_confirm("cpu", "x") == {}
    assert here.modules("cpu") == []


def test_resources_have_the_names_that_the_plugin_reads():
    told = submission(
        {"partition": "gpu", "account": "a", "qos": "q", "gres": "gpu:1", "cpus": 8, "mem_mb": 9}
    )
    resources = told.to_profile("gpu", "torch")
    assert minutes(resources) > 0
    assert {name: value for name, value in resources.items() if name != "runtime"} == {
        "slurm_partition": "gpu",
        "slurm_account": "a",
        "qos": "q",
        "gres": "gpu:1",
        "mem_mb": 9,
        "cpus_per_task": 8,
        "measuring": 1,
    }


def test_without_a_gres_the_node_is_taken_whole_with_all_its_cores():
    resources = submission({}).to_profile("gpu", "torch")
    assert resources["slurm_extra"] == "--exclusive"
    assert resources["cpus_per_task"] < 0


def test_a_job_that_is_tried_again_gets_more_time_unless_the_device_says_how_much():
    estimated = submission({}).to_profile("gpu", "torch")
    assert minutes(estimated, attempt=2) == 2 * minutes(estimated)
    assert submission({"runtime_minutes": 30}).to_profile("gpu", "torch")["runtime"] == 30


def test_no_job_asks_for_more_time_than_its_partition_allows():
    plan = submission({}).plan
    resources = Submission(plan, longest_minutes={"gpu": 60.0}).to_profile("gpu", "torch")
    assert [minutes(resources, attempt=attempt) for attempt in (2, 3, 4)] == [48, 60, 60]


def test_what_fails_is_tried_again_by_the_snakemake_that_submits_it_and_by_none_in_the_job():
    plan = submission({}).plan
    assert Submission(plan).retries("gpu") > 0
    assert Submission(plan, is_submitting=False).retries("gpu") == 0


def test_a_confirmation_is_given_the_time_of_the_contenders_that_are_named(tmp_path):
    resources = submission({}).to_confirm("gpu", str(tmp_path / "contenders.json"))
    most = minutes(resources)
    cell = {"model": "net", "device": "gpu", "runtime": "torch", "optimization": "baseline"}
    entry = {"cell": cell | {"scenario": "single_stream"}, "batch_size": 1}
    write_json(tmp_path / "contenders.json", {"gpu": [entry, entry]})
    assert minutes(resources) < most


def test_looks_at_a_model_are_given_the_time_of_all_its_cells():
    matrix = MATRIX | {"optimizations": ["baseline", "bf16", "int8"]}
    one, three = (
        Submission(make_plan(matrix=each, devices={"gpu": GPU | {"slurm": {}}})) for each in (MATRIX, matrix)
    )
    told = [
        each.to_screen("gpu", "torch")["runtime"](SimpleNamespace(model="net"), attempt=1)
        for each in (one, three)
    ]
    assert told[0] < told[1]


def test_a_probe_is_quick_whatever_a_measurement_may_take():
    assert minutes(submission({"runtime_minutes": 5000}).to_probe("gpu")) < 60


def test_jobs_of_a_device_that_says_not_where_to_are_not_submitted():
    plan = make_plan()
    cpu = plan.study.devices["cpu"]
    assert require_section(SimpleNamespace(local_exec=True), "cpu", cpu)(None) == []
    with pytest.raises(ConfigError, match="cpu has no section `slurm`, and this run submits its jobs"):
        require_section(SimpleNamespace(local_exec=False), "cpu", cpu)(None)


def test_a_job_of_a_class_names_all_environments_that_its_inventory_takes():
    plan = submission({}).plan
    job = plan.job(plan.cells[0], 0)
    assert job["device_class"] == {
        "directory": "results/devices/gpu/identities",
        "environments": {"torch": "results/environments/torch-cuda.json"},
    }


def test_a_job_of_a_device_that_is_here_has_no_word_of_classes():
    plan = make_plan()
    assert "device_class" not in plan.job(plan.cells[0], 0)
