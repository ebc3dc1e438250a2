"""Around a run of Snakemake: one at a time in a directory, signals are heard, and what an earlier one left is
put right.

What Snakemake does for all workflows is not touched: a dry run, a report, the jobs of a cluster and whatever
else makes nothing, or is part of a run, goes through as it is.
"""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from snakemake.io import IOFile
from snakemake.logging import logger
from snakemake.persistence.file import FilePersistence

from hwfit.damaged import asked_for, find_damaged, remove_unfinished
from hwfit.directory_lock import FILE, Held, hold, locks_beside
from hwfit.interrupts import hear_all, take_back_all
from hwfit.process import deny_others_these

MOST_TOLD = 10
SNAKEMAKES = Path(".snakemake")


def guard(workflow: Any) -> None:
    """Let runs of a workflow begin only when they are alone in their directory, and take up what is there.

    Parameters
    ----------
    workflow : Snakemake's, with its settings; it is asked to run by its method `execute`
    """
    execute = workflow.execute
    if getattr(execute, "is_guarded", False):
        return

    @functools.wraps(execute)
    def guarded(*arguments: Any, **how: Any) -> Any:
        is_dry = workflow.output_settings.dryrun
        if workflow.is_main_process and is_dry:
            # What a run would make again is shown, or at least said.
            workflow.dag_settings.force_incomplete = True
            tell(find_damaged())
        if not workflow.is_main_process or is_dry or not workflow.execution_settings.lock:
            return execute(*arguments, **how)
        hear_all()
        take_back_all(how["executor_plugin"].executor)
        # Made before the workflow was read, which sets the umask.
        deny_others_these([SNAKEMAKES, *SNAKEMAKES.glob("log"), *(SNAKEMAKES / "log").glob("*")])
        try:
            with hold() as before:
                if before:
                    logger.warning(f"Taking over from a run that was killed ({before}).")
                    for lock in locks_beside(FILE):
                        lock.unlink(missing_ok=True)
                remove_unfinished()
                is_local = how["executor_plugin"].common_settings.local_exec
                # Elsewhere a job that was begun may still run, and Snakemake may find it again.
                if ask_for_damaged() or is_local:
                    workflow.dag_settings.force_incomplete = True
                return execute(*arguments, **how)
        except Held as error:
            # As where a config is refused: the message says all there is to know.
            raise SystemExit(str(error)) from None

    guarded.is_guarded = True  # type: ignore[attr-defined]
    workflow.execute = guarded


def ask_for_damaged() -> bool:
    """Have Snakemake make again what is damaged, and say so; returns whether anything is."""
    damaged = find_damaged()
    tell(damaged)
    for path, _ in damaged:
        if not asked_for(path):
            path.unlink(missing_ok=True)
    files = dict.fromkeys(file for path, _ in damaged for file in asked_for(path))
    if files:
        # As Snakemake marks the files of a job that has begun and not ended.
        began = SimpleNamespace(output=[IOFile(str(path)) for path in files])
        FilePersistence(nolock=True).started(began)
    return bool(files)


def tell(damaged: list[tuple[Path, str]]) -> None:
    """Say which files are damaged."""
    for path, why in damaged[:MOST_TOLD]:
        remedy = "It is made again." if asked_for(path) else "It is removed until a job meets that hardware."
        logger.warning(f"{path}: {why}. {remedy}")
    if len(damaged) > MOST_TOLD:
        logger.warning(f"… and {len(damaged) - MOST_TOLD} more files that are damaged.")
