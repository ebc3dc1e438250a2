"""`snakemake --logger hwfit`: how far a run is, in a terminal, in a pipe, and in logs/progress.log.

What is shown changes when something happened, and never in between: nothing runs beside a measurement to
keep a clock ticking. So what is told is when things began and when they may end, and not for how long.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Sequence
from logging import ERROR, WARNING, Handler, LogRecord
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_hwfit.outcome import Outcome, about, outcomes, together
from snakemake_logger_plugin_hwfit.tally import Job, Tally, counted, in_words

LOG = Path("logs/progress.log")
# In a pipe: at most a line in so many seconds, but for what is not ok.
PIPE_SECONDS = 10.0
LAST_LINES = 5
RESTART = re.compile(r"Trying to restart job (\d+)")
# Of what Snakemake says beside its events, what a person needs.
SAID = ("Nothing to be done", "Terminating processes", "Will exit after", "Complete log")


class LogHandler(LogHandlerBase):
    """Shows a run to a person; in a dry run, and where shell commands or all details are asked for, as
    Snakemake itself does.
    """

    def __post_init__(self) -> None:
        # Snakemake loads every plugin that is installed, whichever is asked for.
        from rich.console import Console
        from rich.live import Live

        settings = self.common_settings
        self.tally = Tally()
        self.outputs: dict[int, Sequence[str]] = {}
        self.logs: dict[int, Sequence[str]] = {}
        self.said_at = -PIPE_SECONDS
        self.is_over = False
        self.can_log = True
        self.quiet = {str(getattr(each, "name", each)).lower() for each in settings.quiet or ()}
        asked_for_all = settings.dryrun or settings.verbose or settings.printshellcmds or settings.debug_dag
        self.plain = snakemakes_own(settings) if asked_for_all else None
        self.console = Console(
            stderr=not settings.stdout, no_color=settings.nocolor or None, highlight=False, soft_wrap=True
        )
        is_live = self.console.is_terminal and not self.plain and not self.quiet & {"all", "progress"}
        self.live = Live("", console=self.console, auto_refresh=False, transient=True) if is_live else None

    @property
    def writes_to_stream(self) -> bool:
        return True

    @property
    def writes_to_file(self) -> bool:
        # Beside the stream, which Snakemake's interface does not know of.
        return False

    @property
    def has_filter(self) -> bool:
        return True

    @property
    def has_formatter(self) -> bool:
        return True

    @property
    def needs_rulegraph(self) -> bool:
        return False

    def emit(self, record: LogRecord) -> None:
        """Take in what Snakemake says, and show what follows from it."""
        try:
            if self.plain and self.plain.filter(record):
                self.plain.emit(record)
            if not self.common_settings.dryrun:
                self.take(record)
        except Exception:
            self.handleError(record)

    def take(self, record: LogRecord) -> None:
        """The same, where jobs are run."""
        now_s = time.monotonic()
        told: Any = record
        match getattr(record, "event", None):
            case LogEvent.RUN_INFO:
                jobs = {rule: count for rule, count in told.stats.items() if rule != "total"}
                self.tally.plan(jobs)
                self.log(f"a run begins: {self.tally.total} jobs ({counted(jobs)})")
                self.show(now_s)
            case LogEvent.JOB_INFO:
                self.outputs[told.jobid], self.logs[told.jobid] = list(told.output), list(told.log)
                self.tally.start(told.jobid, Job(told.rule_name, about(told.rule_name, told.output), now_s))
                self.show(now_s)
            case LogEvent.JOB_FINISHED:
                self.finish(told.job_id, now_s)
            case LogEvent.JOB_ERROR:
                self.fail(told.jobid, getattr(told, "log", ()))
                self.show(now_s)
            case LogEvent.GROUP_ERROR:
                for each in told.job_error_info:
                    self.fail(each["jobid"], [*each["log"], *told.aux_logs])
                self.show(now_s)
            case LogEvent.PROGRESS:
                self.tally.set_total(told.total)
                self.show(now_s, is_news=True)
            case LogEvent.ERROR:
                self.say(record.getMessage(), "red")
            case None:
                self.hear(record)

    def finish(self, number: int, now_s: float) -> None:
        """A job is done: keep it, and tell what is not ok."""
        ended = self.tally.finish(number, now_s)
        found = list(outcomes(self.outputs.pop(number, ())))
        self.logs.pop(number, None)
        for outcome in found:
            if outcome.is_row:
                self.tally.rows[outcome.status] += 1
        if ended is None:
            return
        job, seconds = ended
        for outcome in together(found):
            self.say(f"{job.about}, {outcome}" if outcome.batch_size else f"{job.about}: {outcome}", "yellow")
        self.log(f"{job.about}{came_of(found)} ({seconds:.1f} s); {self.state(now_s)}")

    def fail(self, number: int, logs: Sequence[str]) -> None:
        """A job failed: say which, and the end of its logs, among them those of a scheduler."""
        job = self.tally.fail(number)
        if job is None:
            return
        text = f"failed: {job.about}"
        for path in dict.fromkeys([*self.logs.get(number, ()), *logs]):
            text += f" (log: {path})" + "".join(f"\n    {line}" for line in last_lines(Path(path)))
        self.log(text)
        self.say(text, "red")

    def hear(self, record: LogRecord) -> None:
        """What Snakemake says in words."""
        message = record.getMessage()
        restarted = RESTART.match(message)
        if restarted:
            self.say(f"again: {self.tally.failed.get(int(restarted[1]), 'a job')}", "yellow")
        elif record.levelno >= WARNING:
            self.say(message, "red" if record.levelno >= ERROR else "yellow")
        elif message.startswith(SAID) and "all" not in self.quiet:
            self.say(message)

    def state(self, now_s: float) -> str:
        """How far the run is."""
        return in_words(self.tally, now_s, datetime.datetime.now())

    def show(self, now_s: float, is_news: bool = False) -> None:
        """Show how far the run is, where it is wanted.

        Parameters
        ----------
        is_news : worth a line in a pipe
        """
        if self.plain or self.quiet & {"all", "progress"}:
            return
        if self.live:
            from rich.markup import escape

            if not self.live.is_started:
                self.live.start()
            running = ", ".join(job.about for job in self.tally.running.values())
            state = escape(self.state(now_s))
            now = f"\n[dim]now: {escape(running)}[/]" if running else ""
            self.live.update(f"[bold]{state}[/]{now}", refresh=True)
        elif is_news and now_s - self.said_at >= PIPE_SECONDS:
            self.said_at = now_s
            self.say(self.state(now_s))

    def say(self, text: str, style: str = "") -> None:
        """Print something that stays."""
        if self.plain or ("all" in self.quiet and style != "red"):
            return
        self.console.print(text, style=style, markup=False)

    def log(self, text: str) -> None:
        """Add to the file; where that cannot be done, the run goes on without."""
        if not self.can_log:
            return
        try:
            LOG.parent.mkdir(exist_ok=True)
            with LOG.open("a", encoding="utf-8") as stream:
                stream.write(f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S}  {text}\n")
        except OSError as error:
            self.can_log = False
            self.say(f"{LOG} cannot be written: {error.strerror}", "yellow")

    def close(self) -> None:
        """Say how it ended."""
        if not self.is_over and not self.common_settings.dryrun:
            self.is_over = True
            if self.live:
                self.live.stop()
            if self.tally.total:
                now_s = time.monotonic()
                took = f" after {(now_s - (self.tally.began_s or now_s)) / 60:.1f} min"
                rows = f"; rows: {counted(self.tally.rows)}" if self.tally.rows else ""
                failed = f"; jobs that failed: {len(self.tally.failed)}" if self.tally.failed else ""
                text = f"{self.tally.done} of {self.tally.total} jobs done{took}{rows}{failed}"
                self.log(text)
                if not self.quiet & {"all", "progress"}:
                    self.say(text)
        super().close()


def snakemakes_own(settings: Any) -> Handler:
    """The handler that Snakemake has where no plugin shows anything."""
    import sys

    from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

    stream = sys.stdout if settings.stdout else sys.stderr
    handler = ColorizingTextHandler(nocolor=settings.nocolor, stream=stream)
    told = (settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds)
    handler.addFilter(DefaultFilter(*told))
    handler.setFormatter(DefaultFormatter(settings.quiet, settings.show_failed_logs))
    return handler


def came_of(found: Sequence[Outcome]) -> str:
    """What became of a job's rows in few words."""
    counts: dict[str, int] = {}
    for outcome in found:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    bad = "".join(f"; {outcome}" for outcome in together(found))
    return f": {counted(counts)}{bad}" if counts else ""


def last_lines(path: Path) -> list[str]:
    """The end of a log."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()][-LAST_LINES:]
