"""Recorded results: what a replay writes, says of itself, and does where nothing was recorded."""

import json
import sys
import time

import numpy as np
import pytest

from hwfit.records import TRUST_BREAKING_FLAGS, read_json, read_profile, write_bytes, write_json
from hwfit.training.records import read_training_record
from hwfit.worker import __main__ as worker
from hwfit.worker import recorded
from hwfit.worker.attempts import Attempts
from hwfit.worker.supervisor import supervise
from hwfit.worker.training import supervisor as training_supervisor
from jobs import make_job
from recordings import npz
from training import make_training_job


@pytest.fixture
def recording(tmp_path, monkeypatch):
    """A directory of recorded results, which are replayed without a pause."""
    directory = tmp_path / "recording"
    directory.mkdir()
    monkeypatch.setenv(recorded.DIRECTORY, str(directory))
    monkeypatch.setenv(recorded.PACE, "0")
    monkeypatch.chdir(tmp_path)
    return directory


def job_of(tmp_path, **changes):
    return make_job(tmp_path, python=sys.executable, cores=[0, 4095], **changes)


def write_recorded(recording, job, batch_size, *, round=0, p50=10.0, **changes):
    """A profile of another machine, with its samples."""
    profile = job.profile(batch_size, changes.pop("status", "ok"), context={"host": "node7"})
    metrics = {"latency_p50_ms": p50, "throughput_samples_per_s": 100.0, "accuracy": 0.9, "wall_s": 30.0}
    path = recording / "profiles" / job.cell.path / f"round{round}" / f"bs{batch_size}.json"
    told = {"round": round, "metrics": metrics, "fingerprints": {"subject": "another"}, "flags": []}
    write_json(path, profile.to_dict() | told | changes)
    write_bytes(path.with_suffix(".npz"), npz(durations_s=np.full(3, p50 / 1e3), batches=np.arange(3)))
    return path


def run(job, tmp_path):
    supervise(job, Attempts(tmp_path / "attempts.jsonl"))
    return {size: read_profile(job.path(size)) for size in job.batch_sizes}


def test_a_replayed_record_has_the_recorded_figures_and_this_jobs_fingerprints(recording, tmp_path):
    job = job_of(tmp_path)
    written = write_recorded(recording, job, 1)
    write_recorded(recording, job, 8, status="oom", reason="out of memory", metrics={})
    rows = run(job, tmp_path)
    assert {size: row.status for size, row in rows.items()} == {1: "ok", 8: "oom"}
    assert rows[1].metrics["latency_p50_ms"] == 10.0
    assert rows[1].context["host"] == "node7"
    assert rows[1].fingerprints == job.fingerprints(1)
    assert job.path(1).with_suffix(".npz").read_bytes() == written.with_suffix(".npz").read_bytes()
    events = [json.loads(line)["event"] for line in (tmp_path / "attempts.jsonl").read_text().splitlines()]
    assert events == ["begin", "row"] * 2


def test_it_says_that_it_was_not_measured_here(recording, tmp_path, monkeypatch):
    job = job_of(tmp_path, batch_sizes=[1])
    write_recorded(recording, job, 1)
    row = run(job, tmp_path)[1]
    assert [flag.code for flag in row.flags] == ["recorded"]
    assert "recorded" not in TRUST_BREAKING_FLAGS
    assert job.still_true(1)
    # To a run that measures it is nothing.
    monkeypatch.delenv(recorded.DIRECTORY)
    assert not job.still_true(1)


def test_a_round_that_was_not_recorded_repeats_the_last_one_with_noise_the_same_each_time(
    recording, tmp_path
):
    job = job_of(tmp_path, batch_sizes=[1], round=2)
    write_recorded(recording, job, 1, round=0, p50=99.0)
    write_recorded(recording, job, 1, round=1, p50=10.0)
    row = run(job, tmp_path)[1]
    factor = row.metrics["latency_p50_ms"] / 10.0
    assert factor != 1 and factor == pytest.approx(1, abs=6 * recorded.NOISE)
    assert row.metrics["throughput_samples_per_s"] == pytest.approx(100 / factor)
    assert row.metrics["accuracy"] == 0.9
    assert row.round == 2
    with np.load(job.path(1).with_suffix(".npz")) as samples:
        assert samples["durations_s"] == pytest.approx(0.01 * factor)
        assert samples["batches"].tolist() == [0, 1, 2]
    job.path(1).unlink()
    assert run(job, tmp_path)[1].metrics == row.metrics


def test_what_was_not_recorded_is_a_row_that_names_the_file_and_the_others_go_on(recording, tmp_path):
    job = job_of(tmp_path)
    write_recorded(recording, job, 8)
    rows = run(job, tmp_path)
    assert rows[1].status == "crashed"
    assert f"{job.cell.path}/round0/bs1.json: not recorded" in rows[1].reason
    assert rows[8].status == "ok"


def test_what_was_recorded_takes_its_time_by_the_pace_that_is_asked_for(recording, tmp_path, monkeypatch):
    job = job_of(tmp_path, batch_sizes=[1])
    write_recorded(recording, job, 1)
    monkeypatch.setenv(recorded.PACE, "0.002")
    started = time.monotonic()
    with (tmp_path / "events").open("w") as events:
        recorded.replay_profile(job, 1, events)
    assert time.monotonic() - started >= 30.0 * 0.002
    assert json.loads((tmp_path / "events").read_text())["event"] == "alive"


def test_a_pace_that_is_no_number_is_said(recording, tmp_path, monkeypatch):
    job = job_of(tmp_path, batch_sizes=[1])
    write_recorded(recording, job, 1)
    monkeypatch.setenv(recorded.PACE, "fast")
    assert "HWFIT_RECORDED_PACE is 'fast'; allowed: a number from 0" in run(job, tmp_path)[1].reason


def test_a_command_copies_what_it_would_make(recording, tmp_path):
    write_json(recording / "devices/gpu0/probe.json", {"status": "ok", "identity": "cuda:1"})
    write_json(recording / "environments/torch-cuda.json", {"status": "ok", "python": "/elsewhere/python"})
    write_json(recording / "models/net/card.json", {"weights_sha256": "ab"})
    write_bytes(recording / "models/net/evaluation.npz", b"arrays")
    probe = ["probe", "--accelerator", "cuda", "--output", "results/devices/gpu0/probe.json"]
    environment = ["environment", "--name", "torch-cuda", "--kind", "venv", "--requirements", "none.txt"]
    environment += ["--output", "results/environments/torch-cuda.json"]
    prepare = ["prepare", "--environment", "none.json", "--name", "net", "--output", "results/models/net"]
    for command in (probe, environment, prepare):
        assert worker.main(command) == 0
    assert read_json("results/devices/gpu0/probe.json")["identity"] == "cuda:1"
    assert read_json("results/environments/torch-cuda.json")["python"] == sys.executable
    assert read_json("results/models/net/card.json") == {"weights_sha256": "ab"}
    assert (tmp_path / "results/models/net/evaluation.npz").read_bytes() == b"arrays"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("results/devices/gpu0/probe.json", "recording/devices/gpu0/probe.json: not recorded"),
        ("elsewhere/probe.json", "elsewhere/probe.json: not below results/"),
    ],
)
def test_a_command_names_what_was_not_recorded(recording, capfd, output, said):
    assert worker.main(["probe", "--accelerator", "cuda", "--output", output]) == 1
    assert said in capfd.readouterr().err


def test_a_recorded_run_of_training_is_replayed_with_its_log(recording, tmp_path):
    job = make_training_job(tmp_path, python=sys.executable)
    found = job.record("ok", metrics={"steps": 12, "validation_accuracy": 0.5, "epochs": 3, "wall_s": 99.0})
    place = recording / "training" / job.run.path
    write_json(place / "rung0.json", found.to_dict() | {"fingerprints": {"subject": "another"}, "flags": []})
    write_bytes(place / "log.jsonl", b'{"epoch": 1}\n')
    training_supervisor.supervise(job)
    record = read_training_record(job.path())
    assert (record.status, record.metrics["steps"]) == ("ok", 12)
    assert [flag.code for flag in record.flags] == ["recorded"]
    assert job.still_true()
    assert (job.directory / "log.jsonl").read_text() == '{"epoch": 1}\n'
