"""What every process of hwfit does first: it lets not everybody write its files, and ends with its workflow.

Standard library only: both wings need it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import signal
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

# The process number of the Snakemake that started a job, as the Snakefile sets it; of local jobs alone, since
# a scheduler sees to its own.
SNAKEMAKE = "HWFIT_SNAKEMAKE_PID"
# Where the Python that runs Snakemake looks for packages beside its own, as `module load` or the user set it;
# of `environments: host` alone, whose Python it is: into others it would let foreign packages.
HOST_PATH = "HWFIT_HOST_PATH"
PR_SET_PDEATHSIG = 1
OTHERS_WRITE = 0o002


def python_path() -> str:
    """PYTHONPATH of what hwfit starts: hwfit itself, and what the host's own Python was given."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get(HOST_PATH))))


def deny_others() -> None:
    """From now on nothing is made that everybody may write, whatever the umask was."""
    # There is no other way to ask for it than to set it.
    os.umask(os.umask(0o077) | OTHERS_WRITE)


def deny_others_these(paths: Iterable[Path]) -> None:
    """Take from everybody the right to write some files that are there, as far as they are this user's."""
    for path in paths:
        mode = path.lstat().st_mode
        if mode & OTHERS_WRITE and not stat.S_ISLNK(mode):
            with contextlib.suppress(PermissionError):
                path.chmod(stat.S_IMODE(mode) & ~OTHERS_WRITE)


def end_with_snakemake() -> None:
    """See to it that this process is ended by SIGTERM when the Snakemake that started it is gone.

    The shell between them outlives a Snakemake that is killed, so that the kernel tells nobody down here. A
    thread asleep on a process handle (Linux 5.3) is told. Nothing happens where there is no such Snakemake.
    """
    try:
        handle = handle_of_snakemake()
    except ProcessLookupError:
        end_this_process()
        return
    if handle is not None:
        threading.Thread(target=follow, args=(handle,), name="end with Snakemake", daemon=True).start()


def snakemake_is_gone() -> bool:
    """Whether the Snakemake that started this process has ended."""
    try:
        handle = handle_of_snakemake()
    except ProcessLookupError:
        return True
    return handle is not None and has_ended(handle, 0)


@functools.cache
def handle_of_snakemake() -> int | None:
    """A handle of its process; None where none is known. Raises ProcessLookupError where it is gone."""
    number = os.environ.get(SNAKEMAKE, "")
    if not number.isdecimal() or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(int(number))
    except ProcessLookupError:
        raise
    except OSError:
        return None


def has_ended(handle: int, limit_ms: int | None = None) -> bool:
    """Sleep until a process has ended, or a time is over."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(limit_ms))


def follow(handle: int) -> None:
    """End this process when another one has."""
    has_ended(handle)
    end_this_process()


def end_this_process() -> None:
    """As a scheduler would; told to the main thread, which alone can leave what it waits for."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)  # type: ignore[arg-type]


def die_with_parent(parent: int, how: int = signal.SIGKILL) -> None:
    """In a child, before it runs: get a signal when the parent's thread that started it is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)
    if os.getppid() != parent:
        os._exit(1)
