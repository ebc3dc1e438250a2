"""What every process of hwfit does first: it lets not everybody write its files, and ends with its workflow.

Standard library only: both wings need it.
"""

from __future__ import annotations

import ctypes
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
PR_SET_PDEATHSIG = 1
OTHERS_WRITE = 0o002

_snakemake_is_gone = threading.Event()


def deny_others() -> None:
    """From now on nothing is made that everybody may write, whatever the umask was."""
    # There is no other way to ask for it than to set it.
    os.umask(os.umask(0o077) | OTHERS_WRITE)


def deny_others_these(paths: Iterable[Path]) -> None:
    """Take from everybody the right to write some files that are there."""
    for path in paths:
        mode = path.lstat().st_mode
        if mode & OTHERS_WRITE and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~OTHERS_WRITE)


def end_with_snakemake() -> None:
    """See to it that this process is ended by SIGTERM when the Snakemake that started it is gone.

    The shell between them outlives a Snakemake that is killed, so that the kernel tells nobody down here. A
    thread asleep on a process handle (Linux 5.3) is told. Nothing happens where there is no such Snakemake.
    """
    number = os.environ.get(SNAKEMAKE, "")
    if not number.isdecimal() or not hasattr(os, "pidfd_open"):
        return
    try:
        handle = os.pidfd_open(int(number))
    except ProcessLookupError:
        _end()
        return
    except OSError:
        return
    threading.Thread(target=_wait, args=(handle,), name="end with Snakemake", daemon=True).start()


def snakemake_is_gone() -> bool:
    """Whether it is for this reason that the process ends."""
    return _snakemake_is_gone.is_set()


def die_with_parent(parent: int) -> None:
    """In a child, before it runs: be killed when the parent's thread that started it is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _wait(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll()
    _end()


def _end() -> None:
    _snakemake_is_gone.set()
    # To the main thread, which alone can leave what it waits for.
    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)  # type: ignore[arg-type]
