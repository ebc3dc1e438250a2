"""The supervisor of a training worker, as the one of measuring workers: standard library only, and asleep.

It holds the device, starts a worker, another where one was killed from outside, and writes the record where
none could. A run whose supervisor is ended leaves no record: started again, it goes on from its checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from hwfit.records import RecordError, read_json, write_record
from hwfit.training.records import read_training_record, what_is_unsupported
from hwfit.worker.child import kernel_oom_kills, now
from hwfit.worker.errors import NotWritten, writing
from hwfit.worker.job import with_power_command
from hwfit.worker.lock import device_lock, locks_of
from hwfit.worker.node_class import met_hardware
from hwfit.worker.supervisor import MAX_INTERRUPTED_ATTEMPTS, python_is_missing
from hwfit.worker.training.job import TrainingJob
from hwfit.worker.worker_process import Ending, Worker, explain


class TrainingWorker(Worker):
    """A worker that trains."""

    COMMAND = "train-session"

    @staticmethod
    def message(job: Any, batch_sizes: list[int]) -> bytes:
        return json.dumps(job.to_dict(), default=str).encode()


def supervise(job: TrainingJob) -> None:
    """See to it that a rung has its record on disk."""
    job = met_hardware(job)
    if job.still_true():
        return
    # Of another job: should this one be ended from outside, it must not be taken for its record.
    with writing(job.path()):
        job.path().unlink(missing_ok=True)
    obstacle = what_stands_in_the_way(job)
    if obstacle:
        write_outcome(job, *obstacle)
        return
    probe = read_json(job.probe_file)
    with device_lock(*locks_of(probe)) as waited_s:
        # Who held it may have trained just this: a job that outlived its Snakemake.
        if not job.still_true():
            run_worker(job, probe["environment"], waited_s)


def what_stands_in_the_way(job: TrainingJob) -> tuple[str, str] | None:
    """The status and the reason that make a worker pointless, or None."""
    unsupported = what_is_unsupported(job.run)
    if unsupported:
        return "unsupported", unsupported
    for path in (job.probe_file, job.environment_file):
        found = read_json(path)
        if found["status"] != "ok":
            return "unavailable", found["reason"]
    python = read_json(job.environment_file)["python"]
    if not Path(python).exists():
        return "unavailable", python_is_missing(job, python)
    return None


def run_worker(job: TrainingJob, device_environment: dict[str, str], waited_s: float) -> None:
    """Run a worker to its end, another where one was killed from outside; write the record if none did."""
    kills_before = kernel_oom_kills()
    for times in range(1, MAX_INTERRUPTED_ATTEMPTS + 1):
        worker, ending = run_one(job, device_environment)
        if job.still_true():
            return
        if ending is Ending.LATE:
            limit_s = job.timeout_seconds
            status, reason = "timeout", f"the worker said nothing for {limit_s:g} s (timeout_seconds)"
            break
        status, reason = explain(worker, ending, job.timeout_seconds, kills_before)
        if status != "crashed" or not worker.was_killed_from_outside():
            break
        # Another one goes on from the checkpoint.
        reason = f"{reason}, {times} times"
        print(f"{job.run}: {reason}", flush=True)
    write_outcome(job, status, reason, details={"stderr": worker.last_words(), "waited_s": waited_s})


def run_one(job: TrainingJob, device_environment: dict[str, str]) -> tuple[TrainingWorker, Ending]:
    """Run one worker; returns it with how it ended."""
    worker = TrainingWorker(job, [0], device_environment)
    ending: Ending | None = None
    try:
        while ending is None:
            event = worker.wait(job.timeout_seconds)
            if isinstance(event, Ending):
                ending = event
        worker.require_written()
    finally:
        worker.kill()
    return worker, ending


def write_outcome(job: TrainingJob, status: str, reason: str, **more: Any) -> None:
    """Write a record without figures."""
    record = job.record(status, reason, started_at=now(), context=job.context(), **more)
    with writing(job.path()):
        write_record(job.path(), record.to_dict())


def main(job_text: str) -> int:
    """Train one run to the end of a rung; 0 when it has its record."""
    # Ended politely, the `finally` clauses run and the worker goes too; see hwfit.worker.supervisor.
    for polite in (signal.SIGTERM, signal.SIGINT):
        signal.signal(polite, lambda number, _: sys.exit(128 + number))
    asked = json.loads(job_text)
    energy = with_power_command(asked.get("energy") or {}, asked["run"]["device"])
    job = TrainingJob.from_dict(asked | {"energy": energy})
    try:
        supervise(job)
        record = read_training_record(job.path())
    except NotWritten as error:
        print(error, file=sys.stderr)
        return os.EX_IOERR
    except RecordError as error:
        print(error, file=sys.stderr)
        return 1
    accuracy = record.metrics.get("validation_accuracy")
    said = "" if accuracy is None else f", accuracy {accuracy:.2%} after {record.metrics['epochs']} epochs"
    print(f"{job.run}: {record.status}{said}{', ' if record.reason else ''}{record.reason}")
    return 0
