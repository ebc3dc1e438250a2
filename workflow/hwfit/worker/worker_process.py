"""A worker as its supervisor sees it: a process, the pipe it speaks through, and how it ended."""

from __future__ import annotations

import contextlib
import enum
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwfit.process import python_path
from hwfit.records import read_json
from hwfit.worker import recorded
from hwfit.worker.child import (
    environment_without_thread_counts,
    is_out_of_memory,
    kernel_oom_kills,
    memory_limit_bytes,
    prepare_child,
)
from hwfit.worker.errors import NotWritten, require_space
from hwfit.worker.job import Job

# Signals that come from a person, a scheduler or the kernel.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# How a composite's worker says which member it waits for, and that the wait is over.
WAITS = ("waiting for member ", "answered: member ")


class Ending(enum.Enum):
    """How a worker stopped speaking: it ended, or it said nothing for too long."""

    EXIT = "exit"
    LATE = "late"


class Worker:
    """A worker process, the pipe it speaks through, and the last of what it wrote to stderr."""

    # Of `python -m hwfit.worker`.
    COMMAND = "profile"

    def __init__(self, job: Any, batch_sizes: list[int], device_environment: dict[str, str]) -> None:
        python, command, cores = read_json(job.environment_file)["python"], self.COMMAND, job.cores
        if recorded.directory():
            # Neither the framework nor the device need be here.
            python, command, cores = sys.executable, "replay", ()
        reader, writer = os.pipe()
        environment = environment_without_thread_counts()
        environment |= device_environment | {
            "PYTHONPATH": python_path(),
            "PYTHONHASHSEED": "0",
        }
        if job.compute_threads:
            environment["OMP_NUM_THREADS"] = str(job.compute_threads)
        self.stderr_path = stderr_path(job, batch_sizes)
        parent = os.getpid()
        limit_bytes = memory_limit_bytes(job)
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                [python, "-m", "hwfit.worker", command, "--events", str(writer)],
                stdin=subprocess.PIPE,
                stdout=stderr,
                stderr=stderr,
                pass_fds=(writer,),
                env=environment,
                start_new_session=True,
                preexec_fn=lambda: prepare_child(parent, limit_bytes, cores),
            )
        os.close(writer)
        assert self.process.stdin is not None
        # One that has died already is found to have, when it is waited for.
        with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
            stdin.write(self.message(job, batch_sizes))
        self.listen(reader)

    def listen(self, reader: int) -> None:
        """Hear what comes through a pipe."""
        self.reader = reader
        self.said = b""
        self.poll = select.poll()
        self.poll.register(reader, select.POLLIN | select.POLLHUP)

    @staticmethod
    def message(job: Job, batch_sizes: list[int]) -> bytes:
        """The job as the worker reads it, reduced to batch sizes."""
        data = dict(job.__dict__) | {"cell": job.cell.__dict__, "batch_sizes": batch_sizes}
        return json.dumps(data, default=str).encode()

    def wait(self, limit_s: float) -> dict[str, Any] | Ending:
        """Sleep until the worker says something: its event, or how it ended."""
        while b"\n" not in self.said:
            if not self.poll.poll(limit_s * 1000):
                return Ending.LATE
            heard = os.read(self.reader, 65536)
            if not heard:
                # The pipe is closed: the worker is gone, or as good as gone.
                try:
                    self.process.wait(timeout=limit_s)
                except subprocess.TimeoutExpired:
                    return Ending.LATE
                return Ending.EXIT
            self.said += heard
        line, _, self.said = self.said.partition(b"\n")
        return json.loads(line)

    def require_written(self) -> None:
        """Raises NotWritten where the worker has ended since it could not write."""
        code = self.process.poll()
        if code:
            for line in self.last_words():
                require_space(line)
        if code == os.EX_IOERR:
            raise NotWritten((self.last_words() or ["a record could not be written"])[-1])

    def was_killed_from_outside(self) -> bool:
        """Whether it died of a signal that a process gets from others: what it did is no likely reason."""
        return -(self.process.returncode or 0) in FROM_OUTSIDE

    def kill(self) -> None:
        """End the worker and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def last_words(self, lines: int = 20) -> list[str]:
        """The last lines the worker wrote, without empty ones."""
        text = self.stderr_path.read_bytes()[-20_000:].decode(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()][-lines:]


def explain(worker: Worker, ending: Ending, limit_s: float, kills_before: int | None) -> tuple[str, str]:
    """The status and the reason of a worker that left work undone."""
    if ending is Ending.LATE:
        said = next((line for line in reversed(worker.last_words()) if line.startswith(WAITS)), "")
        waits = f"; {said}" if said.startswith(WAITS[0]) else ""
        return "timeout", f"no result within {limit_s:g} s (measurement.timeout_seconds){waits}"
    code = worker.process.returncode
    words = worker.last_words()
    if code < 0:
        name = signal.Signals(-code).name
        if code == -signal.SIGKILL and kernel_oom_kills() != kills_before:
            return "oom", "the kernel killed the worker, because the host was out of memory"
        out_of_memory = next((line for line in words if is_out_of_memory(line)), None)
        if out_of_memory:
            return "oom", out_of_memory
        return "crashed", f"the worker died of {name}" + (f": {words[-1]}" if words else "")
    out_of_memory = next((line for line in words if is_out_of_memory(line)), None)
    if out_of_memory:
        return "oom", out_of_memory
    return "crashed", f"the worker ended with exit status {code}" + (f": {words[-1]}" if words else "")


def stderr_path(job: Any, batch_sizes: Sequence[int]) -> Path:
    """Where a worker's stderr goes, in a directory that is there."""
    path: Path = job.path(batch_sizes[0]).with_name("stderr.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
