"""A real Snakemake run with external meters: one that prints watts, and one that prints words."""

import json

import pytest
from mlflow import MlflowClient

from hwfit.records import read_profile
from projects import Project

WATTS = 42.0
RUNTIMES = {"torch": "torch-cpu"}
DEVICES = {
    "metered": {
        "accelerator": "cpu",
        "runtimes": RUNTIMES,
        "power_command": f"while :; do echo {WATTS}; sleep 0.05; done",
        "power_scope": "node",
        "power_interval_s": 0.1,
    },
    "mismetered": {
        "accelerator": "cpu",
        "runtimes": RUNTIMES,
        "power_command": f"echo {WATTS} watts",
        "power_scope": "node",
    },
}
STUDY = {
    "matrix": {"models": ["lenet-300-100"], "devices": list(DEVICES), "batch_sizes": [8]},
    "measurement": {"max_seconds": 1.0, "relative_ci": 0.1, "confirm_rounds": 0, "energy_seconds": 2},
}


@pytest.fixture(scope="module")
def metered(tmp_path_factory, first_run) -> Project:
    """A project whose devices have meters of their own, run once."""
    project = Project(tmp_path_factory.mktemp("metered") / "a project")
    project.take_over(first_run[1], *DEVICES)
    project.configure(STUDY, devices=DEVICES)
    project.run()
    return project


def record(project, device):
    folder = f"results/profiles/{device}/torch/lenet-300-100/baseline/single_stream/round0"
    return project.directory / folder / "bs8.json"


def test_energy_a_sample_is_power_by_time_over_samples(metered):
    line = metered.table().set_index("device").loc["metered"]
    told = read_profile(record(metered, "metered")).details["energy"]
    assert told["seconds"] >= 2
    assert line["power_w"] == pytest.approx(WATTS, rel=0.01)
    assert line["energy_j_per_sample"] == pytest.approx(WATTS * told["seconds"] / told["samples"], rel=0.01)
    assert told["samples"] % line["batch_size"] == 0
    # It drew as much while nothing ran.
    assert line["idle_power_w"] == pytest.approx(WATTS, rel=0.01)
    assert (line["energy_source"], line["energy_scope"]) == ("sampled:command", "node")


def test_a_meter_that_prints_words_leaves_energy_empty_and_the_latency_there(metered):
    line = metered.table().set_index("device").loc["mismetered"]
    assert line["status"] == "ok"
    assert line["latency_p50_ms"] > 0
    empty = ["power_w", "idle_power_w", "energy_j_per_sample", "energy_source", "energy_scope"]
    assert line[empty].isna().all()
    assert "energy_command_failed" in line["flags"].split()
    page = (metered.directory / "reports" / "hardware-selection.html").read_text()
    assert "Energy and power are empty on mismetered" in page


def test_mlflow_has_the_energy_with_its_source_and_scope(metered):
    client = MlflowClient(f"sqlite:///{metered.directory}/results/mlflow.db")
    experiment = client.get_experiment_by_name("hwfit").experiment_id
    (run,) = client.search_runs([experiment], "tags.device = 'metered'")
    assert run.data.metrics["power_w"] == pytest.approx(WATTS, rel=0.01)
    assert run.data.metrics["energy_j_per_sample"] > 0
    assert (run.data.tags["energy_source"], run.data.tags["energy_scope"]) == ("sampled:command", "node")


def test_another_length_of_the_metered_pass_measures_nothing_again(metered):
    before = {device: record(metered, device).read_text() for device in DEVICES}
    metered.configure(STUDY | {"measurement": STUDY["measurement"] | {"energy_seconds": 3}}, devices=DEVICES)
    metered.run(
        "results/plan.json", *(str(record(metered, d).relative_to(metered.directory)) for d in DEVICES)
    )
    assert {device: record(metered, device).read_text() for device in DEVICES} == before
    plan = json.loads((metered.directory / "results" / "plan.json").read_text())
    assert plan["study"]["config"]["measurement"]["energy_seconds"] == 3
