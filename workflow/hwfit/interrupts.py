"""Ctrl-C and SIGTERM are heard, and take back what was submitted: what Snakemake 9.27 and its executor for
SLURM 2.8 lose of them is put right here, and tests/unit/test_interrupts.py shows each loss.

What a shell without job control starts in the background ignores Ctrl-C, as POSIX has it, and so does a
Snakemake in there: it is ended by SIGTERM.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import threading
from typing import Any

import snakemake.logging
from snakemake.scheduling.job_scheduler import JobScheduler

SCANCEL_SECONDS = 60


class NeverRaised(BaseException):
    """Takes a place among what is caught."""


def hear_all() -> None:
    """Have Snakemake's own process lose no signal."""
    # Its log's handler drops an interrupt that comes while a line is written.
    snakemake.logging.KeyboardInterrupt = NeverRaised  # type: ignore[attr-defined]
    JobScheduler.exit_gracefully = exit_gracefully


def exit_gracefully(scheduler: Any, *_: Any) -> None:
    """On SIGTERM, start nothing more and end with what runs.

    Snakemake's own waits in the signal's handler for locks that the interrupted code may hold: two signals
    at once, as `timeout` sends them, and it hangs for good.
    """
    scheduler._user_kill = "graceful"
    threading.Thread(target=scheduler._open_jobs.release).start()


def take_back_all(executor: type) -> None:
    """Have an executor that submits from threads of its own cancel all that it has submitted.

    The one for SLURM cancels the jobs whose numbers it knows when it is told to, and goes on to submit those
    that wait for it; while it asks for the state of its jobs it knows none.

    Parameters
    ----------
    executor : the plugin's class; nothing is done where it is none of that kind
    """
    cancel = executor.cancel  # type: ignore[attr-defined]
    if not hasattr(executor, "cancel_jobs") or getattr(cancel, "takes_back_all", False):
        return

    @functools.wraps(cancel)
    def cancelling(self: Any) -> None:
        submitting = getattr(self, "_job_submission_executor", None)
        if submitting is None:
            cancel(self)
            return
        try:
            submitting.shutdown(wait=True, cancel_futures=True)
            cancel(self)
        finally:
            # All jobs of a run have its number for a name: also those whose own nobody has learned.
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                command = ["scancel", f"--name={self.run_uuid}"]
                subprocess.run(command, timeout=SCANCEL_SECONDS, capture_output=True)

    cancelling.takes_back_all = True  # type: ignore[attr-defined]
    executor.cancel = cancelling  # type: ignore[attr-defined]
