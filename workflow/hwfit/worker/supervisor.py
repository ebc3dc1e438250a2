"""The supervisor of a measuring worker: standard library only, and asleep while it measures.

It starts one worker for a cell and round, and blocks until the worker speaks, dies, or is late. What
kills a worker becomes a row; the batch sizes that are left go on in a new worker.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any

from hwfit.process import snakemake_is_gone
from hwfit.records import RecordError, read_json, write_record
from hwfit.worker.attempts import Attempts
from hwfit.worker.child import kernel_oom_kills, now
from hwfit.worker.errors import NotWritten, writing
from hwfit.worker.job import Job, read_card, with_power_command
from hwfit.worker.lock import device_lock, locks_of
from hwfit.worker.node_class import met_hardware, with_inventory
from hwfit.worker.worker_process import Ending, Worker, explain

# A combination whose job was killed from outside this often is not tried again by itself.
MAX_INTERRUPTED_ATTEMPTS = 3


def supervise(job: Job, attempts: Attempts, start: type[Worker] | None = None) -> None:
    """See to it that every batch size of a job has a profile on disk.

    Parameters
    ----------
    start : what starts a worker; `Worker` where absent
    """
    job = met_hardware(job)
    left = []
    for batch_size in job.batch_sizes:
        if job.still_true(batch_size):
            continue
        if str(batch_size) in job.excluded:
            write_row(job, batch_size, "skipped", job.excluded[str(batch_size)])
        else:
            left.append(batch_size)
    if not left:
        return
    obstacle = what_stands_in_the_way(job)
    if obstacle:
        for batch_size in left:
            write_row(job, batch_size, *obstacle)
        return
    job = with_inventory(job)
    for batch_size in left:
        if short := job.memory_shortage(job.predicted_memory_mb(batch_size)):
            print(f"{job.cell}, batch {batch_size}: {short}", flush=True)
    probe = read_json(job.probe_file)
    with device_lock(*locks_of(probe)) as waited_s:
        # Who held it may have measured just this: a job that outlived its Snakemake.
        left = [size for size in left if not is_done(job, size)]
        while left:
            left = run_worker(job, left, attempts, probe["environment"], waited_s, start or Worker)


def what_stands_in_the_way(job: Job) -> tuple[str, str] | None:
    """The status and the reason that make a worker pointless, or None."""
    for path in (job.probe_file, *job.environment_files):
        found = read_json(path)
        if found["status"] != "ok":
            return "unavailable", found["reason"]
    for path in job.environment_files:
        python = read_json(path)["python"]
        if not Path(python).exists():
            return "unavailable", python_is_missing(job, python)
    for directory in (job.model_directory, *job.weights_directories):
        card = read_card(directory)
        if card.get("status", "ok") != "ok":
            return card["status"], card["reason"]
    return None


def python_is_missing(job: Any, python: str) -> str:
    """What is said where an environment's Python is not there."""
    if job.device_class:
        built = "HWFIT_ENVIRONMENTS must be a directory that login node and nodes share"
        return f"{python} is not there on {platform.node()}: {built}; then `make retry`"
    return f"{python} is not there any more: run `make retry`, which builds it again"


def run_worker(
    job: Job,
    batch_sizes: list[int],
    attempts: Attempts,
    device_environment: dict[str, str],
    waited_s: float,
    start: type[Worker],
) -> list[int]:
    """Run one worker over batch sizes; returns those that are left for another one."""
    for batch_size in list(batch_sizes):
        subject = job.fingerprints(batch_size)["subject"]
        times = attempts.interrupted(batch_size, subject)
        if times >= MAX_INTERRUPTED_ATTEMPTS:
            reason = f"the job was killed from outside {times} times while this was measured"
            write_row(job, batch_size, "crashed", reason, attempts=times)
            attempts.append("row", batch_size, subject=subject, status="crashed")
            batch_sizes = [size for size in batch_sizes if size != batch_size]
    if not batch_sizes:
        return []
    kills_before = kernel_oom_kills()
    worker = start(job, batch_sizes, device_environment)
    at_work: int | None = None
    limit_s = job.measurement["timeout_seconds"]
    ending: Ending | None = None
    try:
        while ending is None:
            event = worker.wait(limit_s)
            if isinstance(event, Ending):
                ending = event
                continue
            if event["event"] == "alive":
                continue
            batch_size = event["batch_size"]
            subject = job.fingerprints(batch_size)["subject"]
            if event["event"] == "begin":
                at_work = batch_size
                attempts.append("begin", batch_size, subject=subject)
            else:
                at_work = None
                attempts.append("row", batch_size, subject=subject, status=event["status"])
        worker.require_written()
    except (SystemExit, NotWritten) as end:
        # Neither the end of the whole workflow nor a full disk says anything of what was at work.
        is_blameless = isinstance(end, NotWritten) or end.code == 128 + signal.SIGINT or snakemake_is_gone()
        if at_work is not None and is_blameless:
            attempts.release(at_work, job.fingerprints(at_work)["subject"])
        raise
    finally:
        worker.kill()
    left = [size for size in batch_sizes if not is_done(job, size)]
    if at_work not in left and len(left) < len(batch_sizes):
        # Between two batch sizes, or with the last one's record just written: another one goes on.
        return left
    status, reason = explain(worker, ending, limit_s, kills_before)
    # A worker that ended before its first batch size would do so again: all of them have their row.
    concerned = [at_work] if at_work is not None else left
    if status == "crashed" and worker.was_killed_from_outside():
        for batch_size in concerned if at_work is None else ():
            attempts.append("lost", batch_size, subject=job.fingerprints(batch_size)["subject"])
        times = max(attempts.interrupted(size, job.fingerprints(size)["subject"]) for size in concerned)
        if times < MAX_INTERRUPTED_ATTEMPTS:
            print(f"{job.cell}, batch {concerned[0]}: {reason}; again", flush=True)
            return left
        reason = f"{reason}, {times} times"
    for batch_size in concerned:
        write_row(
            job, batch_size, status, reason, details={"stderr": worker.last_words(), "waited_s": waited_s}
        )
        subject = job.fingerprints(batch_size)["subject"]
        attempts.append("row", batch_size, subject=subject, status=status)
    if status == "oom":
        for batch_size in [size for size in left if size > min(concerned)]:
            write_row(job, batch_size, "skipped", f"implied by oom at {min(concerned)}")
    return [size for size in left if not is_done(job, size)]


def is_done(job: Job, batch_size: int) -> bool:
    return job.still_true(batch_size) is not None


def write_row(job: Job, batch_size: int, status: str, reason: str, **more: Any) -> None:
    """Write a profile without figures."""
    profile = job.profile(batch_size, status, reason, started_at=now(), context=job.context(), **more)
    with writing(job.path(batch_size)):
        write_record(job.path(batch_size), profile.to_dict())


def main(job_text: str, attempts_path: Path) -> int:
    """Supervise one job; 0 when every batch size has its row.

    What cannot be written for want of space is no row: the job fails, and another run makes it.
    """
    # Ended politely, the `finally` clauses run and the worker goes too. SIGINT as well, since a shell
    # that starts something in the background has it ignored, and Python then leaves it so.
    for polite in (signal.SIGTERM, signal.SIGINT):
        signal.signal(polite, lambda number, _: sys.exit(128 + number))
    started = time.monotonic()
    # Not in the job itself where what is measured does not depend on them: a new limit is no new job.
    limits = json.loads(os.environ.get("HWFIT_LIMITS_MS", "{}"))
    asked = json.loads(job_text)
    energy = with_power_command(asked.get("energy") or {}, asked["cell"]["device"])
    job = Job.from_dict({"limits_ms": limits.get(asked["cell"]["model"], {})} | asked | {"energy": energy})
    try:
        supervise(job, Attempts(attempts_path))
    except NotWritten as error:
        print(error, file=sys.stderr)
        return os.EX_IOERR
    for batch_size in job.batch_sizes:
        try:
            data = read_json(job.path(batch_size))
        except RecordError as error:
            print(error, file=sys.stderr)
            return 1
        figure = data["metrics"].get("latency_p50_ms")
        said = f"p50 {figure:.4g} ms" if figure else data["reason"]
        print(f"{job.cell}, batch {batch_size}: {data['status']}, {said}")
    print(f"{time.monotonic() - started:.1f} s")
    return 0
