"""The archive beside the report: every record, its samples, the attempts, and the order of measuring."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest

from hwfit.__main__ import main
from hwfit.archive import write_archive
from hwfit.layout import PROFILES, attempts_file
from hwfit.records import Cell, Profile, profile_path, write_json

CELL = Cell("net", "cpu", "torch", "baseline", "single_stream")


def plan_of(*batch_sizes, rounds=1):
    combinations = [CELL.__dict__ | {"batch_size": size, "status": "", "reason": ""} for size in batch_sizes]
    return {"study": {"config": {"measurement": {"rounds": rounds}}}, "combinations": combinations}


def measure(directory, batch_size, round=0, started_at="2026-01-01T00:00:00+00:00"):
    """A profile with samples and a line of its attempts."""
    told = {"metrics": {"latency_p50_ms": 1.0}, "started_at": started_at}
    profile = Profile(*CELL.__dict__.values(), batch_size, round, "ok", **told)
    path = profile_path(directory / PROFILES, CELL, round, batch_size)
    write_json(path, profile.to_dict())
    np.savez_compressed(path.with_suffix(".npz"), durations_s=np.full(10, 1e-3))
    attempts = directory / attempts_file(CELL, round)
    attempts.parent.mkdir(parents=True, exist_ok=True)
    with attempts.open("a") as stream:
        stream.write(json.dumps({"event": "begin", "batch_size": batch_size}) + "\n")
    return path


def order_in(archive):
    return list(csv.DictReader(io.StringIO(archive.read("order.csv").decode())))


def test_it_holds_records_samples_attempts_and_the_order_of_measuring(tmp_path):
    measure(tmp_path, 8, started_at="2026-01-01T00:00:09+00:00")
    measure(tmp_path, 1, started_at="2026-01-01T00:00:05+00:00")
    write_json(tmp_path / "results/plan.json", {})
    write_json(tmp_path / "results/devices/cpu/inventory.json", {})
    assert write_archive(plan_of(1, 8), tmp_path / "measurements.zip", tmp_path) == 2
    folder = CELL.path
    with zipfile.ZipFile(tmp_path / "measurements.zip") as archive:
        assert archive.namelist() == [
            "order.csv",
            f"attempts/{folder}/round0.jsonl",
            "devices/cpu/inventory.json",
            "plan.json",
            f"profiles/{folder}/round0/bs1.json",
            f"profiles/{folder}/round0/bs1.npz",
            f"profiles/{folder}/round0/bs8.json",
            f"profiles/{folder}/round0/bs8.npz",
        ]
        assert [line["batch_size"] for line in order_in(archive)] == ["1", "8"]
        with np.load(io.BytesIO(archive.read(f"profiles/{folder}/round0/bs8.npz"))) as stored:
            assert len(stored["durations_s"]) == 10
        assert archive.getinfo(f"profiles/{folder}/round0/bs8.npz").compress_type == zipfile.ZIP_STORED


def test_the_same_records_give_the_same_bytes(tmp_path):
    measure(tmp_path, 1)
    for name in ("a.zip", "b.zip"):
        write_archive(plan_of(1), tmp_path / name, tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_what_is_not_in_the_plan_is_left_out_and_every_round_says_what_it_is_for(tmp_path):
    for round in (0, 1, 2):
        measure(tmp_path, 1, round)
    measure(tmp_path, 64)
    contender = {"cell": CELL.__dict__, "batch_size": 1, "rounds": [1]}
    write_json(tmp_path / "results/confirmations/cpu.json", {"contenders": [contender]})
    write_archive(plan_of(1), tmp_path / "measurements.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "measurements.zip") as archive:
        roles = {line["round"]: line["role"] for line in order_in(archive)}
        assert not any("bs64" in name for name in archive.namelist())
    assert roles == {"0": "first look", "1": "confirmation", "2": "not used"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "bs1.json"),
        ("[]", "not a record"),
        ('{"schema_version": 0}', "schema_version is 0"),
        ("NaN", "NaN"),
    ],
    ids=["cut short", "edited", "older", "not a number"],
)
def test_a_record_that_cannot_be_read_is_kept_and_says_why(tmp_path, content, reason):
    measure(tmp_path, 1).write_text(content)
    measure(tmp_path, 8)
    write_archive(plan_of(1, 8), tmp_path / "measurements.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "measurements.zip") as archive:
        readable, broken = order_in(archive)
        assert archive.read(f"profiles/{CELL.path}/round0/bs1.json").decode() == content
    assert (readable["status"], broken["status"]) == ("ok", "unreadable")
    assert reason in broken["reason"]


def test_with_nothing_measured_there_is_an_archive_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "results/plan.json", plan_of(1))
    arguments = ["archive", "--plan", "results/plan.json", "--output", "reports/measurements.zip"]
    assert main(arguments) == 0
    with zipfile.ZipFile("reports/measurements.zip") as archive:
        assert archive.namelist() == ["order.csv", "plan.json"]
