"""An external meter: any command that prints watts, one number a line.

It may go on printing (the reader of a wall meter), or print once and end (`ipmitool`), and is then called
again at the interval. One that goes on has to flush each line: lines that come in batches leave gaps.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO

from hwfit.worker.meters import Command, Meter, SensorFault
from hwfit.worker.meters.sampled import SampledMeter
from hwfit.worker.meters.trace import LEAST_SAMPLES, Demands

# A command that is called again and again takes time to start.
GAP_INTERVALS = 3
LEAST_GAP_S = 1.0


def meter(command: Command) -> Meter:
    """The meter of a command."""
    return CommandMeter(command)


class CommandMeter(SampledMeter):
    """Samples are what a command prints, at the time that it prints them."""

    def __init__(self, command: Command) -> None:
        most_gap_s = max(LEAST_GAP_S, GAP_INTERVALS * command.interval_s)
        demands = Demands(2 * LEAST_SAMPLES * command.interval_s, most_gap_s)
        # The command itself is no detail of a reading: a record is passed on, and it may hold a password.
        super().__init__("sampled:command", command.scope, command.interval_s, demands)
        self.command = command.argv_or_shell
        self.process: subprocess.Popen[str] | None = None

    def sample(self) -> None:
        """Run the command, again where it ends. Raises SensorFault."""
        while not self.is_over.is_set():
            started_s = self.clock.now()
            self.run()
            self.clock.wait(self.is_over, self.interval_s - (self.clock.now() - started_s))

    def interrupt(self) -> None:
        """Wait for no line any more."""
        if self.process is not None:
            end(self.process)

    def run(self) -> None:
        """Run the command to its end, or to that of the work. Raises SensorFault."""
        printed = 0
        with tempfile.TemporaryFile("w+", errors="replace") as complaints:
            with start(self.command, complaints) as self.process:
                try:
                    # Asked after the start: a command that `interrupt` came too early for ends here.
                    if self.is_over.is_set():
                        return
                    for line in filter(str.strip, self.process.stdout or ()):
                        self.add(self.clock.now(), watts_in(line))
                        printed += 1
                    code = self.process.wait()
                finally:
                    end(self.process)
            if not self.is_over.is_set():
                complaints.seek(0)
                judge_end(code, printed, complaints.read())


def start(command: str | Sequence[str], complaints: IO[str]) -> subprocess.Popen[str]:
    """Start a command. Raises SensorFault."""
    try:
        return subprocess.Popen(
            command,
            shell=isinstance(command, str),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
            # A group of its own, so that what a shell starts is ended with it.
            start_new_session=True,
        )
    except OSError as error:
        raise SensorFault("energy_command_failed", f"the command cannot be started: {error}") from None


def end(process: subprocess.Popen[str]) -> None:
    """End a command with all that it started, if it runs."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def watts_in(line: str) -> float:
    """The number on a line. Raises SensorFault."""
    try:
        return float(line)
    except ValueError:
        printed = without_credentials(line.strip()[:80])
        said = f"the command printed {printed!r}: it has to print watts, one number a line, without"
        raise SensorFault("energy_command_failed", f"{said} a unit") from None


def without_credentials(text: str) -> str:
    """What a command said, less what it may have said of a password."""
    text = re.sub(r"://[^/\s@]*@", "://***@", text)
    return re.sub(r"(?i)\b(pass\w*|pwd|token|secret|api.?key)(\s*[=:]\s*|\s+)\S+", r"\1\2***", text)


def judge_end(code: int, printed: int, complaints: str) -> None:
    """Raises SensorFault where a command that ended while it was needed did not just print its one line."""
    last = without_credentials((complaints.strip().splitlines() or ["nothing"])[-1])
    if code:
        said = f"the command ended with {code} and said: {last}"
    elif printed == 0:
        said = f"the command printed no number and said: {last}"
    elif printed > 1:
        said = f"the command printed {printed} lines and ended while it was needed"
    else:
        return
    raise SensorFault("energy_command_failed", said)
