"""The supervisor of a measuring worker: standard library only, and asleep while it measures.

It starts one worker for a cell and round, and blocks until the worker speaks, dies, or is late. What
kills a worker becomes a row; the batch sizes that are left go on in a new worker.
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import json
import os
import platform
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwfit.process import die_with_parent, snakemake_is_gone
from hwfit.records import RecordError, read_json, write_record
from hwfit.worker import recorded
from hwfit.worker.errors import NotWritten, require_space, writing
from hwfit.worker.job import Job, read_card, with_power_command
from hwfit.worker.lock import device_lock, locks_of
from hwfit.worker.node_class import met_hardware, with_inventory

# A combination whose job was killed from outside this often is not tried again by itself.
MAX_INTERRUPTED_ATTEMPTS = 3
# Thread counts that Snakemake exports to its jobs would change what is measured: runtimes set their own.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# Signals that come from a person, a scheduler or the kernel.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# How a composite's worker says which member it waits for, and that the wait is over.
WAITS = ("waiting for member ", "answered: member ")


class Ending(enum.Enum):
    """How a worker stopped speaking: it ended, or it said nothing for too long."""

    EXIT = "exit"
    LATE = "late"


class Attempts:
    """The log of a job's attempts: one JSON line when a batch size begins, one when it has a row.

    Others say that a worker was lost before it began, or that one that began is released: what ended it had
    nothing to do with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.length_before = 0

    def append(self, event: str, batch_size: int, **more: Any) -> None:
        line = {"at": now(), "event": event, "batch_size": batch_size, "pid": os.getpid()} | more
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.write(json.dumps(line).encode())

    def write(self, line: bytes) -> None:
        """Add a line, on one of its own even where the one before was cut short."""
        with self.path.open("ab+") as stream:
            self.length_before = stream.seek(0, os.SEEK_END)
            is_cut_short = (
                self.length_before and os.pread(stream.fileno(), 1, self.length_before - 1) != b"\n"
            )
            stream.write((b"\n" if is_cut_short else b"") + line + b"\n")

    def release(self, batch_size: int, subject: str) -> None:
        """Take back that a batch size began: what ended it has nothing to do with it."""
        try:
            self.append("released", batch_size, subject=subject)
        except NotWritten:
            # On a full disk there is always room for less.
            os.truncate(self.path, self.length_before)

    def interrupted(self, batch_size: int, subject: str) -> int:
        """How often this batch size began and has neither a row nor a worker that is accounted for."""
        try:
            lines = self.path.read_text().splitlines()
        except FileNotFoundError:
            return 0
        count = 0
        for text in lines:
            with contextlib.suppress(ValueError, AttributeError, KeyError):
                line = json.loads(text)
                if line.get("batch_size") == batch_size and line.get("subject") == subject:
                    after = {"begin": count + 1, "lost": count + 1, "released": max(count - 1, 0)}
                    count = after.get(line["event"], 0)
        return count


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


def is_out_of_memory(text: str) -> bool:
    """Whether an error message speaks of memory that could not be had."""
    text = text.lower()
    return any(
        phrase in text
        for phrase in (
            "out of memory",
            "bad_alloc",
            "can't allocate memory",
            "cannot allocate memory",
            "resource_exhausted",
            "memoryerror",
        )
    )


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
            "PYTHONPATH": str(Path(__file__).parents[2]),
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


def stderr_path(job: Any, batch_sizes: Sequence[int]) -> Path:
    """Where a worker's stderr goes, in a directory that is there."""
    path: Path = job.path(batch_sizes[0]).with_name("stderr.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def memory_limit_bytes(job: Any) -> int | None:
    """The most private memory that a worker may have; None without a limit."""
    return int(job.memory_limit_mb * 1e6) if job.memory_limit_mb else None


def environment_without_thread_counts() -> dict[str, str]:
    """This process's environment, less what Snakemake says of threads."""
    return {key: value for key, value in os.environ.items() if key not in THREAD_VARIABLES}


def prepare_child(parent: int, limit_bytes: int | None, cores: Sequence[int] = ()) -> None:
    """In the child, before it runs: die with the parent, go first when memory is short, keep a limit, and
    stay on some cores.
    """
    die_with_parent(parent)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if cores:
        os.sched_setaffinity(0, cores)
    if limit_bytes:
        # RLIMIT_DATA counts private writable memory; RLIMIT_AS would count address space that
        # frameworks reserve and never touch.
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def kernel_oom_kills() -> int | None:
    """How many processes the kernel has killed for want of memory; None where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


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
