"""Training in torch: killed and taken up again, shared by processes, by other optimizers and precisions."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from frameworks import ROOT, run_python
from hwfit.training.records import read_log, read_training_record
from hwfit.worker.training.checkpoint import NAMES, step_of
from training import make_training_job

TRAIN = """
import io, json, sys
from hwfit.worker.training.job import TrainingJob
from hwfit.worker.training.worker import train

for job in json.loads(sys.argv[1]):
    train(TrainingJob.from_dict(job), io.StringIO())
print("{}")
"""
TEXT = "the quick brown fox jumps over the lazy dog; " * 200


@pytest.fixture
def record_of(python_of, tmp_path):
    """Trains jobs, each in a directory of its own, in one process of torch; their records and logs."""

    def train(**jobs):
        made = {name: make_training_job(tmp_path / name, **settings) for name, settings in jobs.items()}
        text = json.dumps([job.to_dict() for job in made.values()], default=str)
        run_python(python_of("torch-cpu"), TRAIN, text)
        return {
            name: (read_training_record(job.path()), read_log(job.directory)) for name, job in made.items()
        }

    return train


def start(job) -> subprocess.Popen:
    """The command that the workflow's rule calls."""
    command = [sys.executable, "-m", "hwfit.worker", "train", "--job", json.dumps(job.to_dict(), default=str)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")})


def last_step(job) -> int:
    return max(step_of(job.directory / name) for name in NAMES)


def test_a_run_killed_twice_ends_in_the_weights_of_one_that_was_not(python_of, tmp_path):
    """Killed as the kernel or a scheduler does, at any time once there is a checkpoint to go on from."""
    settings = {"python": python_of("torch-cpu"), "run": {"model": "lenet-5"}, "epochs": 40}
    settings |= {"max_epochs": 40}
    whole, killed = (make_training_job(tmp_path / name, **settings) for name in ("whole", "killed"))
    assert start(whole).wait(timeout=120) == 0
    steps = []
    for _ in range(2):
        before = last_step(killed)
        process = start(killed)
        end = time.monotonic() + 60
        while last_step(killed) <= max(before, 0):
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(random.random() / 4)
        process.send_signal(signal.SIGKILL)
        process.wait()
        steps.append(last_step(killed))
    assert start(killed).wait(timeout=120) == 0
    wanted, found = (read_training_record(job.path()) for job in (whole, killed))
    assert (found.status, found.metrics["steps"]) == ("ok", 40 * 9)
    assert found.details["weights_sha256"] == wanted.details["weights_sha256"]
    assert [line["loss"] for line in read_log(killed.directory)] == [
        line["loss"] for line in read_log(whole.directory)
    ]
    assert 0 < steps[0] < steps[1] <= (found.details["resumed_at_step"] or 40 * 9)


def test_two_processes_lose_as_one_does_at_the_same_batch_size(record_of):
    jobs = {
        name: {"parallel": parallel, "run": {"optimizer": "adam", "learning_rate": 1e-3}}
        for name, parallel in (("one", None), ("two", {"processes": 2}))
    }
    found = record_of(**jobs)
    (one, log_one), (two, log_two) = found["one"], found["two"]
    assert (one.status, two.status) == ("ok", "ok")
    assert "2 processes" in two.details["parallel"]
    for name in ("loss", "validation_loss"):
        assert [line[name] for line in log_two] == pytest.approx([line[name] for line in log_one], rel=1e-5)


def test_what_precision_checkpointing_and_micro_batches_did_is_told(record_of):
    runs = {
        "as it is": {},
        "bf16": {"precision": "bf16"},
        "checkpointed": {"activation_checkpointing": True},
        "in parts": {"accumulation": 4},
    }
    found = record_of(**{name: {"run": {"model": "lenet-5"} | run} for name, run in runs.items()})
    plain = found["as it is"][0].metrics
    for name, (record, _) in found.items():
        assert record.status == "ok"
        assert record.metrics["peak_memory_mb"] > 0
        tolerance = 0.05 if name == "bf16" else 1e-5
        assert record.metrics["final_loss"] == pytest.approx(plain["final_loss"], rel=tolerance)
    assert found["bf16"][0].metrics["final_loss"] != plain["final_loss"]
    assert "bfloat16" in found["bf16"][0].details["precision"]
    assert found["checkpointed"][0].details["activation_checkpointing"].startswith("3 segments of the 8")
    assert found["in parts"][0].details["micro_batch_size"] == 8


def test_optimizers_of_a_library_go_on_from_their_checkpoints(record_of):
    names = ("lion", "lamb", "schedule-free")
    runs = {
        name: {"run": {"optimizer": name, "learning_rate": 1e-3}, "epochs": 3, "max_epochs": 3}
        for name in names
    }
    whole = record_of(**{f"whole {name}": run for name, run in runs.items()})
    record_of(**{name: run | {"epochs": 1} for name, run in runs.items()})
    parts = record_of(**{name: run | {"rung": 1} for name, run in runs.items()})
    for name in names:
        wanted, log = whole[f"whole {name}"]
        assert parts[name][0].details["resumed_at_step"] == 9
        assert parts[name][0].details["weights_sha256"] == wanted.details["weights_sha256"]
        assert log[-1]["loss"] < log[0]["loss"]


def test_a_small_decoder_learns_to_read(record_of):
    text = {"x_train": None, "y_train": None, "x_test": None, "y_test": None, "texts": [TEXT]}
    run = {"model": "byte-decoder", "optimizer": "adam", "learning_rate": 3e-3, "batch_size": 8}
    record, log = record_of(reader={"run": run, "task": "generation", "samples": text})["reader"]
    assert record.status == "ok"
    assert [line["epoch"] for line in log] == [1, 2, 3]
    # Of letters as often as they come, 3; of bytes that are guessed, 5.5.
    assert log[-1]["validation_loss"] < log[0]["validation_loss"] < 5
    assert record.metrics["parameters"] == 771_200


def test_what_cannot_be_trained_is_a_record_with_its_reason(record_of):
    found = record_of(
        batch={"run": {"batch_size": 512}},
        labels={"samples": {"y_train": [number % 12 for number in range(320)]}},
        diverged={"run": {"optimizer": "sgd", "learning_rate": 1e4}},
        hopeless={"run": {"optimizer": "sgd", "learning_rate": 1e-9}, "target_accuracy": 0.99},
    )
    said = {name: (record.status, record.reason) for name, (record, _) in found.items()}
    assert said["batch"][0] == said["labels"][0] == "unsupported"
    assert said["batch"][1].startswith("a batch takes 512 samples, and there are 288")
    assert "training labels are outside of 0 to 9" in said["labels"][1]
    assert said["diverged"][0] == "diverged"
    assert 1 < found["diverged"][0].diverged_at_step <= 27
    assert said["hopeless"] == ("ok", "")
    assert found["hopeless"][0].is_reached is False
    assert found["hopeless"][0].metrics["epochs_to_target"] is None
