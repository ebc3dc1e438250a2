"""The supervisor of a training worker, as the one of measuring workers: standard library only, and asleep.

It holds the device, starts one worker, and writes the record where the worker could not. A run that is
ended from outside leaves no record: started again, it goes on from its checkpoint.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from hwfit.records import RecordError, read_json, write_json
from hwfit.training.records import read_training_record, what_is_unsupported
from hwfit.worker.lock import device_lock, locks_of
from hwfit.worker.node_class import met_hardware
from hwfit.worker.supervisor import Ending, Worker, explain, kernel_oom_kills, now, python_is_missing
from hwfit.worker.training.job import TrainingJob


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
    job.path().unlink(missing_ok=True)
    obstacle = what_stands_in_the_way(job)
    if obstacle:
        write_record(job, *obstacle)
        return
    probe = read_json(job.probe_file)
    with device_lock(*locks_of(probe)) as waited_s:
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
    """Run one worker to its end; write the record if it did not."""
    kills_before = kernel_oom_kills()
    worker = TrainingWorker(job, [0], device_environment)
    ending: Ending | None = None
    try:
        while ending is None:
            event = worker.wait(job.timeout_seconds)
            if isinstance(event, Ending):
                ending = event
    finally:
        worker.kill()
    if job.still_true():
        return
    if ending is Ending.LATE:
        status, reason = "timeout", f"the worker said nothing for {job.timeout_seconds:g} s (timeout_seconds)"
    else:
        status, reason = explain(worker, ending, job.timeout_seconds, kills_before)
    write_record(job, status, reason, details={"stderr": worker.last_words(), "waited_s": waited_s})


def write_record(job: TrainingJob, status: str, reason: str, **more: Any) -> None:
    """Write a record without figures."""
    record = job.record(status, reason, started_at=now(), context=job.context(), **more)
    write_json(job.path(), record.to_dict())


def main(job_text: str) -> int:
    """Train one run to the end of a rung; 0 when it has its record."""
    # Ended politely, the `finally` clauses run and the worker goes too; see hwfit.worker.supervisor.
    for polite in (signal.SIGTERM, signal.SIGINT):
        signal.signal(polite, lambda number, _: sys.exit(128 + number))
    job = TrainingJob.from_dict(json.loads(job_text))
    try:
        supervise(job)
        record = read_training_record(job.path())
    except OSError as error:
        # A record that cannot be written cannot say so either.
        print(f"{job.path()} could not be written: {error.strerror or error}", file=sys.stderr)
        return 1
    except RecordError as error:
        print(error, file=sys.stderr)
        return 1
    accuracy = record.metrics.get("validation_accuracy")
    said = "" if accuracy is None else f", accuracy {accuracy:.2%} after {record.metrics['epochs']} epochs"
    print(f"{job.run}: {record.status}{said}{', ' if record.reason else ''}{record.reason}")
    return 0
