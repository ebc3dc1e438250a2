"""Screening of one model in one runtime on one device: many short jobs, for which a framework is loaded once.

A cell's look takes tenths of a second, to load a framework seconds. So one process of the runtime's Python
loads it and forks a worker for each cell: fresh memory, threads and settings for each, as if it had been
started by itself, since a framework that has only been loaded holds no device, and no threads but those of
the linear algebra beneath numpy, which know of forks. What such a worker leaves undone, or does not survive,
is looked at once more in a process of its own; so is everything on devices on which this was not tried.

Forking has run with: torch, tensorflow, mindspore, onnxruntime and openvino on CPUs.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwfit.process import python_path
from hwfit.records import TRANSIENT_STATUSES, RecordError, read_json, write_record
from hwfit.worker import recorded
from hwfit.worker.attempts import Attempts
from hwfit.worker.child import environment_without_thread_counts, memory_limit_bytes, prepare_child
from hwfit.worker.errors import NotWritten
from hwfit.worker.job import Job
from hwfit.worker.node_class import met_hardware
from hwfit.worker.supervisor import supervise, what_stands_in_the_way
from hwfit.worker.worker_process import Worker, stderr_path

# Where a worker may be forked from a process that has loaded the framework.
FORKING_ACCELERATORS = ("cpu",)
POLL_SECONDS = 0.005

Screened = tuple[Job, Attempts]


def main(jobs_text: str, verdict: Path | None, output: Path) -> int:
    """Screen the cells of one target and model, and say what it took."""
    for polite in (signal.SIGTERM, signal.SIGINT):
        signal.signal(polite, lambda number, _: sys.exit(128 + number))
    started = time.monotonic()
    limits = json.loads(os.environ.get("HWFIT_LIMITS_MS", "{}"))
    asked = [
        {"limits_ms": limits.get(data["cell"]["model"], {})} | data
        for data in reduced(read_jobs(jobs_text), read_json(verdict) if verdict else None)
    ]
    screened = [screened_of(data) for data in asked]
    with_frameworks_loaded(asked, screened)
    try:
        for job, attempts in screened:
            supervise(job, attempts)
    except NotWritten as error:
        print(error, file=sys.stderr)
        return os.EX_IOERR
    records = [str(job.path(size)) for job, _ in screened for size in job.batch_sizes]
    for path in records:
        try:
            print(f"{path}: {read_json(path)['status']}")
        except RecordError as error:
            print(error, file=sys.stderr)
            return 1
    write_record(output, {"records": records, "cells": len(screened), "wall_s": time.monotonic() - started})
    return 0


def read_jobs(text: str) -> list[dict[str, Any]]:
    """The jobs, of which what they have in common is said once: a command line has an end."""
    told = json.loads(text)
    return [told["common"] | job for job in told["jobs"]]


def reduced(jobs: Sequence[dict[str, Any]], verdict: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The jobs of the cells that the verdict of the round before wants looked at again, as it says."""
    if verdict is None:
        return list(jobs)
    again = {json.dumps(each["cell"], sort_keys=True): each["batch_sizes"] for each in verdict["look_again"]}
    sizes = [again.get(json.dumps(job["cell"], sort_keys=True), []) for job in jobs]
    return [job | {"batch_sizes": these} for job, these in zip(jobs, sizes, strict=True) if these]


def screened_of(data: dict[str, Any]) -> Screened:
    """A job, and the log of its attempts."""
    rest = {name: value for name, value in data.items() if name != "attempts"}
    return met_hardware(Job.from_dict(rest)), Attempts(Path(data["attempts"]))


def with_frameworks_loaded(asked: Sequence[dict[str, Any]], screened: Sequence[Screened]) -> None:
    """Run the jobs that can be in forks: those that ask for the same threads share a process."""
    groups: dict[int | None, list[int]] = {}
    for place, (job, _) in enumerate(screened):
        if can_be_forked(job):
            groups.setdefault(job.compute_threads, []).append(place)
    for places in groups.values():
        run_forking(screened[places[0]][0], [asked[place] for place in places])
        for place in places:
            forget_failures(screened[place][0])


def can_be_forked(job: Job) -> bool:
    """Whether there is something to do, nothing stands in its way, and forks are known to work there."""
    if job.members or job.accelerator not in FORKING_ACCELERATORS or recorded.directory():
        return False
    is_done = all(job.still_true(size) for size in job.batch_sizes)
    return not is_done and what_stands_in_the_way(job) is None


def forget_failures(job: Job) -> None:
    """Remove the records of what may have failed because it was forked."""
    for size in job.batch_sizes:
        profile = job.still_true(size)
        if profile and profile.status in TRANSIENT_STATUSES:
            job.path(size).unlink()


def run_forking(first: Job, jobs: Sequence[dict[str, Any]]) -> None:
    """Run the jobs in forks of one process of the runtime's Python, to its end, however that is."""
    environment = environment_without_thread_counts() | read_json(first.probe_file)["environment"]
    environment |= {"PYTHONPATH": python_path(), "PYTHONHASHSEED": "0"}
    if first.compute_threads:
        # Some libraries read it when they are loaded.
        environment["OMP_NUM_THREADS"] = str(first.compute_threads)
    parent = os.getpid()
    process = subprocess.Popen(
        [read_json(first.environment_file)["python"], "-m", "hwfit.worker", "screen-forking"],
        stdin=subprocess.PIPE,
        env=environment,
        preexec_fn=lambda: prepare_child(parent, None, first.cores),
    )
    try:
        process.communicate(json.dumps(list(jobs)).encode())
    finally:
        process.kill()
        process.wait()


def fork_for_each(text: str) -> int:
    """Load the framework of some jobs, and run each in a fork."""
    for polite in (signal.SIGTERM, signal.SIGINT):
        signal.signal(polite, lambda number, _: sys.exit(128 + number))
    screened = [screened_of(data) for data in json.loads(text)]
    from hwfit.worker import runtimes, screen  # noqa: F401 - loaded here, so that no fork has to

    runtimes.load(screened[0][0].cell.runtime)
    for job, attempts in screened:
        supervise(job, attempts, ForkedWorker)
    return 0


class ForkedProcess:
    """What `subprocess.Popen` is to a child that was started, for one that was forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, where it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = math.inf) -> int:
        """Wait until it has ended. Raises TimeoutExpired."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("fork", timeout)
            time.sleep(POLL_SECONDS)
        return code


class ForkedWorker(Worker):
    """A worker that is forked from this process, in which the framework is loaded."""

    process: Any

    def __init__(self, job: Job, batch_sizes: list[int], device_environment: dict[str, str]) -> None:
        reader, writer = os.pipe()
        self.stderr_path = stderr_path(job, batch_sizes)
        parent = os.getpid()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            be_worker(replace(job, batch_sizes=tuple(batch_sizes)), writer, self.stderr_path, parent)
        os.close(writer)
        # Here too, since it may have to be ended before it has done so itself.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self.process = ForkedProcess(pid)
        self.listen(reader)


def be_worker(job: Job, writer: int, stderr: Path, parent: int) -> None:
    """In the fork: measure, and never come back."""
    status = 1
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        with stderr.open("wb") as stream:
            for descriptor in (1, 2):
                os.dup2(stream.fileno(), descriptor)
        prepare_child(parent, memory_limit_bytes(job), job.cores)
        from hwfit.worker.profile import profile
        from hwfit.worker.screen import Screen

        with os.fdopen(writer, "w") as events:
            profile(job, events, Screen)
        status = 0
    except NotWritten as error:
        # With a status that tells the supervisor, as `python -m hwfit.worker profile` ends.
        print(error, file=sys.stderr)
        status = os.EX_IOERR
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
