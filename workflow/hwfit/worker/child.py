"""What hwfit gives a process that it starts, and what the kernel says of one. Standard library only."""

from __future__ import annotations

import contextlib
import datetime
import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwfit.process import die_with_parent

# Thread counts that Snakemake exports to its jobs would change what is measured: runtimes set their own.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


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


def memory_limit_bytes(job: Any) -> int | None:
    """The most private memory that a worker may have; None without a limit."""
    return int(job.memory_limit_mb * 1e6) if job.memory_limit_mb else None


def kernel_oom_kills() -> int | None:
    """How many processes the kernel has killed for want of memory; None where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


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
            "status_alloc_failed",
            "memoryerror",
        )
    )


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
