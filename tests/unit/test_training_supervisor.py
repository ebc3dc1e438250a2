"""The supervisor of a training worker: what ends a worker is a record, and what is known starts none."""

from __future__ import annotations

import json
import os

import pytest

from hwfit.records import write_json
from hwfit.training.records import read_training_record
from hwfit.worker.training import supervisor
from training import make_training_job


def python_that(directory, body: str) -> str:
    """A Python that ends as it is told, whatever it is asked to run."""
    path = directory / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def record_of(job):
    supervisor.supervise(job)
    return read_training_record(job.path())


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("exit 3", "crashed", "the worker ended with exit status 3"),
        ("kill -SEGV $$", "crashed", "the worker died of SIGSEGV"),
        ("echo std::bad_alloc; kill -ABRT $$", "oom", "std::bad_alloc"),
        ("kill -KILL $$", "crashed", "the worker died of SIGKILL, 3 times"),
        ("sleep 60", "timeout", "the worker said nothing for 0.5 s (timeout_seconds)"),
    ],
)
def test_what_ends_a_worker_is_a_record(tmp_path, body, status, reason):
    python = python_that(tmp_path, body)
    record = record_of(make_training_job(tmp_path, python=python, timeout_seconds=0.5))
    assert (record.status, record.reason) == (status, reason)
    assert record.fingerprints


def test_a_full_disk_is_no_record(tmp_path, capsys):
    python = python_that(tmp_path, "echo 'OSError: [Errno 28] No space left on device'; exit 1")
    job = make_training_job(tmp_path, python=python)
    assert supervisor.main(json.dumps(job.to_dict(), default=str)) == os.EX_IOERR
    assert "free some space, and run again" in capsys.readouterr().err
    assert not job.path().exists()


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({"optimizer": "lion", "runtime": "mindspore"}, "lion is in torch; mindspore has none of its own"),
        ({"optimizer": "schedule-free", "schedule": "cosine"}, "schedule-free stands in for a schedule"),
        ({"accumulation": 5}, "a batch of 32 cannot be made of 5 micro-batches of one size"),
    ],
)
def test_what_cannot_be_starts_no_worker(tmp_path, run, reason):
    record = record_of(make_training_job(tmp_path, run=run, python=python_that(tmp_path, "exit 3")))
    assert record.status == "unsupported"
    assert record.reason.startswith(reason)


def test_a_device_that_is_not_there_starts_no_worker(tmp_path):
    job = make_training_job(tmp_path)
    write_json(job.probe_file, {"status": "unavailable", "reason": "no GPU here"})
    assert (record_of(job).status, record_of(job).reason) == ("unavailable", "no GPU here")


def test_a_record_that_is_still_true_is_left_alone(tmp_path):
    job = make_training_job(tmp_path, python=python_that(tmp_path, "exit 3"))
    write_json(job.path(), job.record("ok", metrics={"steps": 5}).to_dict())
    assert record_of(job).status == "ok"
    other = make_training_job(tmp_path, python=python_that(tmp_path, "exit 3"), target_accuracy=0.5)
    assert record_of(other).status == "crashed"


def test_a_record_that_cannot_be_written_is_said(tmp_path, capsys):
    job = make_training_job(tmp_path, run={"accumulation": 5})
    job.directory.parent.mkdir(parents=True)
    job.directory.write_text("in the way")
    assert supervisor.main(json.dumps(job.to_dict(), default=str)) == os.EX_IOERR
    assert "could not be written" in capsys.readouterr().err


def test_an_unknown_hyperparameter_is_named(tmp_path):
    with pytest.raises(ValueError, match="momentum has no beta1; it has momentum, weight_decay, warm_up"):
        make_training_job(tmp_path, hyperparameters={"beta1": 0.5})


def test_a_job_round_trips_through_its_file(tmp_path):
    job = make_training_job(tmp_path, cores=[0], hyperparameters={"momentum": 0.5})
    assert type(job).from_dict(json.loads(json.dumps(job.to_dict(), default=str))) == job
