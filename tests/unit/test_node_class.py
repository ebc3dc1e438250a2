"""A device that is a class of nodes: each job finds out which hardware it has come to, and says so."""

import platform
import time

import pytest

from hwfit.records import fingerprint, read_json, read_profile, write_json
from hwfit.worker import node_class
from hwfit.worker.attempts import Attempts
from hwfit.worker.job import Job
from hwfit.worker.probe import probe
from hwfit.worker.supervisor import supervise
from hwfit.worker.training.job import TrainingJob
from jobs import make_job

HERE = probe("cpu")


def job_of_class(directory, **changes) -> Job:
    """A job whose class has its identities in the directory, and an inventory without runtimes."""
    identities = {"directory": str(directory / "identities"), "environments": {}}
    more = {"device_class": identities, "inventory_file": directory / "inventory.json"}
    return make_job(directory, **more | changes)


def place(directory, name):
    return directory / "identities" / fingerprint(HERE["identity"]) / name


def test_hardware_that_the_probe_speaks_of_is_taken_as_it_is(tmp_path):
    job = job_of_class(tmp_path, probe=HERE)
    assert node_class.met_hardware(job).probe_file == job.probe_file
    assert not (tmp_path / "identities").exists()


def test_a_job_on_other_hardware_works_with_its_own_probe(tmp_path):
    met = node_class.met_hardware(job_of_class(tmp_path))
    assert met.probe_file == place(tmp_path, "probe.json")
    assert read_json(met.probe_file) == HERE
    assert met.context()["device"]["identity"] == HERE["identity"]


def test_another_driver_is_told_though_the_hardware_is_the_same(tmp_path):
    met = node_class.met_hardware(job_of_class(tmp_path, probe=HERE | {"driver": "0.0"}))
    assert met.context()["device"]["driver"] == HERE["driver"]


def test_hardware_that_is_met_for_the_first_time_has_its_inventory_taken_in_the_job_once(tmp_path):
    write_json(tmp_path / "inventory.json", {"identity": "another", "runtimes": {}})
    met = node_class.with_inventory(node_class.met_hardware(job_of_class(tmp_path)))
    assert met.inventory_file == place(tmp_path, "inventory.json")
    assert met.inventory["identity"] == HERE["identity"]
    write_json(met.inventory_file, met.inventory | {"mark": 1})
    assert node_class.with_inventory(node_class.met_hardware(job_of_class(tmp_path))).inventory["mark"] == 1


def test_an_inventory_of_the_same_hardware_is_not_taken_again(tmp_path):
    write_json(tmp_path / "inventory.json", {"identity": HERE["identity"], "runtimes": {}})
    met = node_class.with_inventory(node_class.met_hardware(job_of_class(tmp_path)))
    assert met.inventory_file == tmp_path / "inventory.json"


def test_a_node_without_the_hardware_makes_rows_that_name_it(tmp_path):
    supervise(job_of_class(tmp_path, index=1), Attempts(tmp_path / "attempts.jsonl"))
    profile = read_profile(tmp_path / "profiles/cpu/torch/net/baseline/single_stream/round0/bs1.json")
    assert profile.status == "unavailable"
    assert profile.reason == f"a host has one cpu device, index 0, not 1 (on {platform.node()})"


def test_a_node_without_the_environment_makes_rows_that_name_the_remedy(tmp_path):
    job = job_of_class(tmp_path, probe=HERE, python="/nowhere/python")
    supervise(job, Attempts(tmp_path / "attempts.jsonl"))
    reason = read_profile(job.path(8)).reason
    assert reason.startswith(f"/nowhere/python is not there on {platform.node()}: HWFIT_ENVIRONMENTS must be")


@pytest.fixture
def measured(tmp_path):
    """A job of a class with a record that was made on a node of it."""
    job = job_of_class(tmp_path)
    for batch_size in job.batch_sizes:
        profile = job.profile(batch_size, "unsupported", "no kernel", context=job.context())
        write_json(job.path(batch_size), profile.to_dict())
    return job


def test_a_record_that_was_made_on_another_node_of_the_class_is_still_true(measured):
    met = node_class.met_hardware(measured)
    assert met.context()["device"] != measured.context()["device"]
    assert met.still_true(8)


def test_a_record_of_a_class_is_no_longer_true_in_another_environment(measured, tmp_path):
    environment = read_json(tmp_path / "environment.json")
    write_json(tmp_path / "environment.json", environment | {"packages": {"torch": "9"}})
    assert not node_class.met_hardware(measured).still_true(8)


def test_a_record_of_a_device_that_is_one_is_not_true_of_another(tmp_path):
    job = make_job(tmp_path)
    write_json(job.path(8), job.profile(8, "unsupported", "no kernel", context=job.context()).to_dict())
    assert job.still_true(8)
    assert not make_job(tmp_path, probe={"identity": "another"}).still_true(8)


def test_training_goes_on_from_its_checkpoint_on_another_node(tmp_path):
    job = make_job(tmp_path)
    run = {"model": "net", "device": "cpu", "runtime": "torch", "optimizer": "sgd", "batch_size": 8}
    run |= {"learning_rate": 0.1, "schedule": "constant", "precision": "fp32", "seed": 0}
    told = {"run": run, "rung": 0, "epochs": 1, "max_epochs": 1, "task": "classification", "source": {}}
    told |= {name: tmp_path / "x" for name in ("data", "directory")}
    told |= {"environment_file": job.environment_file, "probe_file": job.probe_file}
    told |= {"accelerator": "cpu", "index": 0}
    identities = {"directory": str(tmp_path / "identities"), "environments": {}}
    training = TrainingJob.from_dict(told | {"device_class": identities})
    met = node_class.met_hardware(training)
    assert met.context()["device"]["identity"] == HERE["identity"]
    assert met.trajectory == training.trajectory
    alone = TrainingJob.from_dict(told)
    assert TrainingJob.from_dict(told | {"probe_file": met.probe_file}).trajectory != alone.trajectory


def test_a_clock_that_is_the_storages_is_no_doubt(tmp_path):
    job = job_of_class(tmp_path)
    assert [flag.code for flag in job.profile(1, "crashed").flags] == []


@pytest.mark.parametrize(("seconds", "said"), [(60, "60 s ahead of"), (-60, "60 s behind")])
def test_a_clock_that_differs_from_the_storages_is_told(tmp_path, monkeypatch, seconds, said):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)
    (flag,) = job_of_class(tmp_path).profile(1, "crashed").flags
    assert flag.code == "clock_differs"
    assert said in flag.message
