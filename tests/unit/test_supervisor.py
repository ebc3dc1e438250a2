"""The supervisor: whatever becomes of a worker, every batch size has a row and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwfit.records import read_json, read_profile, write_json
from hwfit.worker.attempts import Attempts
from hwfit.worker.job import Job
from hwfit.worker.lock import device_lock
from hwfit.worker.supervisor import supervise
from jobs import make_job

TESTS = Path(__file__).parents[1]

# Loaded by the worker's Python as it starts, in place of a framework's runtime.
SITE = """
import ctypes, os, sys, time, types
from jobs import LinearRuntime, LinearSession

class Session(LinearSession):
    def run(self, placed):
        size = len(placed)
        {body}
        return super().run(placed)

sys.modules["hwfit.worker.runtimes.torch"] = LinearRuntime(Session)
"""


@pytest.fixture
def job_of(tmp_path):
    """Makes a job whose sessions run `body` first; its Python is this one, with that session in it."""

    def make(body="pass", **changes):
        site = tmp_path / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(SITE.format(body=body))
        python = tmp_path / "python"
        python.write_text(
            f'#!/bin/sh\nPYTHONPATH="{site}:{TESTS}:$PYTHONPATH" exec "{sys.executable}" "$@"\n'
        )
        python.chmod(0o755)
        return make_job(tmp_path, python=str(python), **changes)

    return make


def run(job, tmp_path):
    supervise(job, Attempts(tmp_path / "attempts.jsonl"))
    return {size: read_profile(job.path(size)) for size in job.batch_sizes}


def test_every_batch_size_is_measured_in_one_worker(job_of, tmp_path):
    profiles = run(job_of(), tmp_path)
    assert {p.status for p in profiles.values()} == {"ok"}
    events = [json.loads(line) for line in (tmp_path / "attempts.jsonl").read_text().splitlines()]
    assert [(e["event"], e["batch_size"]) for e in events] == [
        ("begin", 1),
        ("row", 1),
        ("begin", 8),
        ("row", 8),
    ]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("if size == 8: ctypes.string_at(0)", "crashed", "the worker died of SIGSEGV"),
        ("if size == 8: os.abort()", "crashed", "the worker died of SIGABRT"),
        ("if size == 8: os._exit(3)", "crashed", "the worker ended with exit status 3"),
        ("if size == 8: os._exit(0)", "crashed", "the worker ended with exit status 0"),
        ("if size == 8: os.kill(os.getpid(), 9)", "crashed", "the worker died of SIGKILL"),
        ("if size == 8: time.sleep(600)", "timeout", "no result within 3 s (measurement.timeout_seconds)"),
    ],
)
def test_what_ends_a_worker_is_a_row_and_the_others_go_on_in_a_new_one(
    job_of, tmp_path, body, status, reason
):
    measurement = {
        "relative_ci": 0.5,
        "min_seconds": 0.02,
        "max_seconds": 0.1,
        "timeout_seconds": 3,
        "repeats": 0,
    }
    profiles = run(job_of(body, batch_sizes=[1, 8, 16], measurement=measurement), tmp_path)
    assert profiles[8].status == status
    assert profiles[8].reason.startswith(reason)
    assert (profiles[1].status, profiles[16].status) == ("ok", "ok")


def test_a_worker_that_dies_of_memory_marks_the_larger_batches(job_of, tmp_path):
    body = "if size == 8: print('std::bad_alloc', file=sys.stderr, flush=True); os.abort()"
    profiles = run(job_of(body, batch_sizes=[1, 8, 16]), tmp_path)
    assert [profiles[size].status for size in (1, 8, 16)] == ["ok", "oom", "skipped"]
    assert profiles[16].reason == "implied by oom at 8"


def test_a_memory_limit_turns_a_large_batch_into_a_row(job_of, tmp_path):
    body = "import numpy; self.big = numpy.ones(size * 30_000_000, dtype=numpy.uint8)"
    profiles = run(job_of(body, memory_limit_mb=400, batch_sizes=[1, 64, 128]), tmp_path)
    assert [profiles[size].status for size in (1, 64, 128)] == ["ok", "oom", "skipped"], profiles[64].reason


MEMORY = {"base_mb": 100.0, "weight_copies": 1.0, "loading_copies": 0.0, "activation_copies": 1.0}


@pytest.fixture
def known_memory(job_of, tmp_path):
    """Makes a job whose card and inventory tell of its memory: 30 MB a sample, beside 100 MB."""

    def make(*arguments, **changes):
        write_json(tmp_path / "inventory.json", {"runtimes": {"torch": {"memory": MEMORY}}, "memory_mb": 8e6})
        job = job_of(*arguments, inventory_file=tmp_path / "inventory.json", **changes)
        card = read_json(job.model_directory / "card.json")
        told = {"peak_activation_bytes_per_sample": 30e6, "inputs": [], "samples": 64}
        write_json(job.model_directory / "card.json", card | told)
        (job.model_directory / "weights.safetensors").write_bytes(bytes(1_000_000))
        return job

    return make


def test_what_cannot_fit_is_said_before_it_is_tried_and_in_its_row(known_memory, tmp_path, capfd):
    body = "import numpy; self.big = numpy.ones(size * 30_000_000, dtype=numpy.uint8)"
    job = known_memory(body, memory_limit_mb=400, batch_sizes=[1, 64, 128])
    profiles = run(job, tmp_path)
    said = "predicted to take 2,021 MB of memory; memory_limit_mb is 400 MB"
    assert f"batch 64: {said}" in capfd.readouterr().out
    assert profiles[64].status == "oom"
    assert profiles[64].reason.endswith(f"({said})")
    flagged = {size: [flag.code for flag in profile.flags] for size, profile in profiles.items()}
    assert "memory_short" not in flagged[1]
    assert flagged[64] == flagged[128] == ["memory_short"]


def test_every_row_has_what_was_predicted_whatever_became_of_it(known_memory, tmp_path):
    profiles = run(known_memory("if size == 8: os._exit(3)"), tmp_path)
    assert [profiles[size].status for size in (1, 8)] == ["ok", "crashed"]
    predicted = {size: profile.metrics["predicted_memory_mb"] for size, profile in profiles.items()}
    assert predicted == {1: 131.0, 8: 341.0}


def test_an_inventory_that_cannot_be_read_predicts_nothing_and_stops_nothing(known_memory, tmp_path):
    job = known_memory(batch_sizes=[1])
    (tmp_path / "inventory.json").write_text('{"runtimes": {"torch": {"memory": 3}}}')
    (profile,) = run(job, tmp_path).values()
    assert (profile.status, profile.metrics["predicted_memory_mb"]) == ("ok", None)


def test_a_worker_that_cannot_start_gives_every_batch_size_its_row(job_of, tmp_path):
    job = job_of()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os; os._exit(7)")
    profiles = run(job, tmp_path)
    assert {(p.status, p.reason) for p in profiles.values()} == {
        ("crashed", "the worker ended with exit status 7")
    }


def test_what_is_absent_or_not_built_or_not_prepared_starts_no_worker(job_of, tmp_path):
    job = job_of("raise AssertionError")
    write_json(tmp_path / "probe.json", {"status": "unavailable", "reason": "no GPU here"})
    assert {(p.status, p.reason) for p in run(job, tmp_path).values()} == {("unavailable", "no GPU here")}
    job = job_of("raise AssertionError")
    card = read_json(tmp_path / "model" / "card.json")
    write_json(tmp_path / "model" / "card.json", card | {"status": "unsupported", "reason": "not a module"})
    assert {(p.status, p.reason) for p in run(job, tmp_path).values()} == {("unsupported", "not a module")}
    assert not (tmp_path / "attempts.jsonl").exists()


def test_only_what_changed_is_measured_again(job_of, tmp_path):
    run(job_of(), tmp_path)
    times = {size: job_of().path(size).stat().st_mtime_ns for size in (1, 8)}
    job = job_of(batch_sizes=[1, 8, 16])
    run(job, tmp_path)
    assert {size: job.path(size).stat().st_mtime_ns for size in (1, 8)} == times
    assert read_profile(job.path(16)).status == "ok"
    other = job_of(passes=[{"pass": "cast", "dtype": "bfloat16"}])
    run(other, tmp_path)
    assert all(other.path(size).stat().st_mtime_ns > times[size] for size in (1, 8))


def test_a_record_that_was_cut_short_is_measured_again(job_of, tmp_path):
    job = job_of()
    run(job, tmp_path)
    job.path(8).write_text(job.path(8).read_text()[:100])
    assert run(job, tmp_path)[8].status == "ok"


def test_an_excluded_batch_size_has_a_row_and_is_not_measured(job_of, tmp_path):
    profiles = run(job_of(excluded={"8": "excluded"}), tmp_path)
    assert (profiles[8].status, profiles[8].reason) == ("skipped", "excluded")
    assert profiles[1].status == "ok"


def test_a_job_killed_from_outside_three_times_becomes_a_row(job_of, tmp_path):
    job = job_of()
    subject = job.fingerprints(8)["subject"]
    attempts = Attempts(tmp_path / "attempts.jsonl")
    for _ in range(3):
        attempts.append("begin", 8, subject=subject)
    profiles = run(job, tmp_path)
    assert profiles[8].status == "crashed"
    assert profiles[8].reason == "the job was killed from outside 3 times while this was measured"
    assert profiles[1].status == "ok"


def supervise_in_background(job, tmp_path):
    """A supervisor as Snakemake starts it."""
    text = json.dumps(dict(job.__dict__) | {"cell": job.cell.__dict__}, default=str)
    command = [sys.executable, "-m", "hwfit.worker", "supervise", "--job", text]
    return subprocess.Popen(
        [*command, "--attempts", str(tmp_path / "attempts.jsonl")],
        env=os.environ | {"PYTHONPATH": str(TESTS.parent / "workflow")},
    )


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_supervisor_that_is_ended_leaves_no_process_behind(job_of, tmp_path, how):
    pids = tmp_path / "pids"
    body = f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}} '); time.sleep(600)"
    supervisor = supervise_in_background(job_of(body), tmp_path)
    wait_for(lambda: pids.exists() and pids.read_text())
    worker = int(pids.read_text().split()[0])
    supervisor.send_signal(how)
    assert supervisor.wait(timeout=20) != 0
    wait_for(
        lambda: (
            not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text().split()[2]
        )
    )
    assert not list((tmp_path / "profiles").rglob("bs*.json"))


def test_two_supervisors_never_measure_on_one_device_at_once_and_waiting_is_told(job_of, tmp_path, capfd):
    job = job_of()
    identity = read_json(job.probe_file)["identity"]
    with device_lock(identity):
        supervisor = supervise_in_background(job, tmp_path)
        time.sleep(2)
        assert not (tmp_path / "attempts.jsonl").exists()
    assert supervisor.wait(timeout=60) == 0
    assert read_profile(job.path(1)).status == "ok"
    assert f"waiting for {identity}" in capfd.readouterr().err


def test_a_holder_of_the_lock_that_died_does_not_block(tmp_path):
    code = "import os, sys; from hwfit.worker.lock import device_lock\n"
    code += "with device_lock(sys.argv[1]): os._exit(1)"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(TESTS.parent / "workflow")},
    )
    with device_lock(str(tmp_path)) as waited:
        assert waited < 1


def test_a_supervisor_is_asleep_while_its_worker_works(job_of, tmp_path):
    job = job_of("time.sleep(0.05)", batch_sizes=[1])
    before = os.times()
    started = time.monotonic()
    run(job, tmp_path)
    used = sum(os.times()[:2]) - sum(before[:2])
    assert time.monotonic() - started > 2
    assert used < 0.5


def test_job_round_trips_through_its_file(tmp_path):
    job = make_job(tmp_path)
    text = json.dumps(dict(job.__dict__) | {"cell": job.cell.__dict__}, default=str)
    assert Job.from_dict(json.loads(text)) == job


def events_of(tmp_path):
    lines = (tmp_path / "attempts.jsonl").read_text().splitlines()
    return [(line["event"], line["batch_size"]) for line in map(json.loads, lines)]


def test_a_worker_that_was_killed_from_outside_is_no_row_the_first_times(job_of, tmp_path):
    once = tmp_path / "once"
    body = f"""if size == 8 and not os.path.exists({str(once)!r}):
            open({str(once)!r}, 'w').close(); os.kill(os.getpid(), 9)"""
    profiles = run(job_of(body, batch_sizes=[1, 8]), tmp_path)
    assert [profiles[size].status for size in (1, 8)] == ["ok", "ok"]
    assert events_of(tmp_path) == [("begin", 1), ("row", 1), ("begin", 8), ("begin", 8), ("row", 8)]


def test_one_that_is_killed_each_time_it_starts_ends_as_rows(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -KILL $$\n")
    python.chmod(0o755)
    profiles = run(make_job(tmp_path, python=str(python)), tmp_path)
    assert {profile.reason for profile in profiles.values()} == {"the worker died of SIGKILL, 3 times"}


def test_a_record_just_written_stays_though_its_worker_dies_before_it_says_so(job_of, tmp_path):
    body = """if size == 8:
            from hwfit.worker import profile
            profile.say = lambda events, event, *_, **__: event == 'row' and os._exit(3)"""
    profiles = run(job_of(body, batch_sizes=[1, 8]), tmp_path)
    assert [profiles[size].status for size in (1, 8)] == ["ok", "ok"]


def test_a_full_disk_is_no_row_and_does_not_count_against_what_was_at_work(job_of, tmp_path):
    body = "if size == 8: raise OSError(28, 'No space left on device')"
    job = job_of(body, batch_sizes=[1, 8])
    supervisor = supervise_in_background(job, tmp_path)
    assert supervisor.wait(timeout=60) == os.EX_IOERR
    assert job.still_true(1) is not None
    assert not job.path(8).exists()
    subject = job.fingerprints(8)["subject"]
    assert Attempts(tmp_path / "attempts.jsonl").interrupted(8, subject) == 0


def test_a_record_that_cannot_be_written_is_no_row(job_of, tmp_path):
    job = job_of(batch_sizes=[1, 8])
    (job.path(8) / "in the way").mkdir(parents=True)
    supervisor = supervise_in_background(job, tmp_path)
    assert supervisor.wait(timeout=60) == os.EX_IOERR
    assert job.still_true(1) is not None


def test_what_another_supervisor_measured_meanwhile_is_not_measured_again(job_of, tmp_path):
    job = job_of()
    identity = read_json(job.probe_file)["identity"]
    with device_lock(identity):
        supervisor = supervise_in_background(job, tmp_path)
        time.sleep(1)
        for size in job.batch_sizes:
            write_json(job.path(size), job.profile(size, "ok", metrics={"latency_p50_ms": 1.0}).to_dict())
    assert supervisor.wait(timeout=60) == 0
    assert not (tmp_path / "attempts.jsonl").exists()


@pytest.mark.parametrize(("how", "counts"), [(signal.SIGINT, 0), (signal.SIGTERM, 1)])
def test_the_end_of_a_whole_workflow_does_not_count_against_what_was_at_work(job_of, tmp_path, how, counts):
    began = tmp_path / "began"
    job = job_of(f"open({str(began)!r}, 'w').close(); time.sleep(600)")
    supervisor = supervise_in_background(job, tmp_path)
    wait_for(began.exists)
    wait_for(lambda: (tmp_path / "attempts.jsonl").exists())
    supervisor.send_signal(how)
    assert supervisor.wait(timeout=20) != 0
    subject = job.fingerprints(1)["subject"]
    assert Attempts(tmp_path / "attempts.jsonl").interrupted(1, subject) == counts


def test_a_line_that_was_cut_short_does_not_spoil_the_next_one(tmp_path):
    attempts = Attempts(tmp_path / "attempts.jsonl")
    attempts.append("begin", 1, subject="a")
    with attempts.path.open("a") as stream:
        stream.write('{"at": "2026-11-2')
    attempts.append("begin", 1, subject="a")
    assert attempts.interrupted(1, "a") == 2
    attempts.release(1, "a")
    assert attempts.interrupted(1, "a") == 1


def test_samples_that_were_changed_make_a_record_untrue(job_of, tmp_path):
    job = job_of(batch_sizes=[1])
    run(job, tmp_path)
    assert job.still_true(1) is not None
    samples = job.path(1).with_suffix(".npz")
    samples.write_bytes(samples.read_bytes()[:-10])
    assert job.still_true(1) is None
    assert run(job, tmp_path)[1].status == "ok"
    assert job.still_true(1) is not None
