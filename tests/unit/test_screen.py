"""The short look of a worker: what it tells, and what it leaves to the full measurement."""

from __future__ import annotations

import io
import json
import time

import pytest

from hwfit.records import read_profile
from hwfit.worker import profile as worker
from hwfit.worker import runtimes, screen
from hwfit.worker.screen import Screen
from jobs import LinearRuntime, LinearSession, make_job

MEASUREMENT = {
    "timeout_seconds": 60,
    "relative_ci": 1.0,
    "repeats": 0,
    "screen_seconds": 0.02,
    "evaluated_batch_size": 8,
}


def looked(tmp_path, monkeypatch, session=LinearSession, **changes):
    """The records of a look by batch size, and the order in which they were taken."""
    monkeypatch.setattr(runtimes, "load", lambda name: LinearRuntime(session))
    job = make_job(tmp_path, **{"measurement": MEASUREMENT} | changes)
    events = io.StringIO()
    worker.profile(job, events, Screen)
    said = [json.loads(line) for line in events.getvalue().splitlines()]
    order = [event["batch_size"] for event in said if event["event"] == "row"]
    return {size: read_profile(job.path(size)) for size in job.batch_sizes}, order


def test_it_tells_the_pace_and_the_quality_of_the_largest(tmp_path, monkeypatch):
    profiles, order = looked(tmp_path, monkeypatch)
    assert order == [8, 1]
    for size, profile in profiles.items():
        assert profile.status == "ok"
        assert profile.metrics["throughput_samples_per_s"] > 0
        assert profile.metrics["latency_p50_ms"] > 0
        assert profile.details["is_evaluated"] == (size == 8)
    assert profiles[8].metrics["fidelity"] == 1.0
    assert profiles[1].metrics.get("fidelity") is None
    assert profiles[8].metrics.get("peak_memory_mb") is None


def test_its_records_never_pass_for_a_full_measurement(tmp_path, monkeypatch):
    profiles, _ = looked(tmp_path, monkeypatch)
    full = make_job(tmp_path)
    for size, profile in profiles.items():
        assert full.fingerprints(size)["protocol"] != profile.fingerprints["protocol"]
        assert full.fingerprints(size)["subject"] == profile.fingerprints["subject"]


def test_of_what_compiles_long_one_batch_size_is_enough(tmp_path, monkeypatch):
    class Compiles(LinearSession):
        def forget_compiled(self):
            self.is_new = True

        def run(self, placed):
            if getattr(self, "is_new", True):
                time.sleep(0.2)
            self.is_new = False
            return super().run(placed)

    monkeypatch.setattr(screen, "LONG_SECONDS", 0.1)
    profiles, _ = looked(tmp_path, monkeypatch, Compiles)
    assert profiles[8].status == "ok"
    assert profiles[1].status == "skipped"
    assert profiles[1].reason.startswith("only looked at with batch size 8: its first call took")


def test_what_runs_out_of_memory_leaves_the_smaller_to_be_looked_at(tmp_path, monkeypatch):
    class Small(LinearSession):
        def run(self, placed):
            if len(placed) == 8:
                raise MemoryError("too large")
            return super().run(placed)

    profiles, _ = looked(tmp_path, monkeypatch, Small)
    assert {size: profile.status for size, profile in profiles.items()} == {8: "oom", 1: "ok"}


def test_wrong_outputs_are_found(tmp_path, monkeypatch):
    class Wrong(LinearSession):
        def fetch(self, output):
            return super().fetch(output) + 1.0

    profiles, _ = looked(tmp_path, monkeypatch, Wrong)
    assert profiles[8].status == "incorrect"


def test_slow_calls_are_few(tmp_path, monkeypatch):
    class Slow(LinearSession):
        def run(self, placed):
            time.sleep(0.03)
            return super().run(placed)

    profiles, _ = looked(tmp_path, monkeypatch, Slow)
    assert profiles[1].metrics["samples"] == screen.LEAST_SAMPLES


@pytest.mark.parametrize("round", [0, 1])
def test_later_rounds_evaluate_nothing(tmp_path, monkeypatch, round):
    profiles, _ = looked(tmp_path, monkeypatch, round=round)
    assert profiles[8].details["is_evaluated"] == (round == 0)
