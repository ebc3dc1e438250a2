"""Sweeps of recorded results that are killed at a random moment and run again, as a user would."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from projects import SNAKEFILE
from recordings import make_config, record

TABLE = "reports/combinations.csv"
# For a record, so that a kill hits one at work.
RECORD_SECONDS = 0.5
RUN_SECONDS = 120
# What dies; `all` is everything at once, as when a machine is switched off; `disk` fills it.
VICTIMS = ("snakemake", "worker", "supervisor", "all", "disk")
OF_PROCESS = {"worker": "hwfit.worker replay", "supervisor": "hwfit.worker supervise"}
DISK_MB = 16


@dataclass
class Sweep:
    """A directory with a study of recorded results."""

    directory: Path
    recorded: Path
    targets: tuple[str, ...] = (TABLE,)
    pace: str = "1"
    said: list[str] = field(default_factory=list)

    def start(self, *arguments: str, **how: object) -> subprocess.Popen[str]:
        """A plain run, in the background."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, *self.targets]
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=os.environ | {"HWFIT_RECORDED": str(self.recorded), "HWFIT_RECORDED_PACE": self.pace},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **how,  # type: ignore[call-overload]
        )

    def run(self, *arguments: str, fails: bool = False) -> str:
        """A plain run, to its end; returns what it said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=RUN_SECONDS)
        assert (process.returncode != 0) == fails, said[-4000:]
        return said

    def table(self) -> str:
        return (self.directory / TABLE).read_text()

    def begun(self) -> Counter[tuple[str, int]]:
        """How often each batch size of each round began."""
        counts: Counter[tuple[str, int]] = Counter()
        place = self.directory / "results" / "attempts"
        for path in place.rglob("*.jsonl"):
            for text in path.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    line = json.loads(text)
                    counts[str(path.relative_to(place)), line["batch_size"]] += line["event"] == "begin"
        return counts

    def processes(self, words: str = "") -> list[int]:
        """The processes that work in this directory and have some words in their command."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if (place / "cwd").readlink() == self.directory and command and words in command:
                    found.append(int(place.name))
        return [pid for pid in found if pid != os.getpid()]


def make_sweep(
    directory: Path, recorded: Path, targets: tuple[str, ...] = (TABLE,), **config: object
) -> Sweep:
    """Write a small study, and record it where that is not done."""
    parts = make_config(models=1, runtimes=1, optimizations=2, batch_sizes=(1, 8), **config)  # type: ignore[arg-type]
    if not recorded.exists():
        record(parts, recorded)
        for path in recorded.rglob("bs*.json"):
            data = json.loads(path.read_text())
            data["metrics"]["wall_s"] = RECORD_SECONDS
            path.write_text(json.dumps(data))
    (directory / "config").mkdir(parents=True)
    (directory / "Snakefile").write_text(SNAKEFILE)
    for name, content in parts.items():
        (directory / "config" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return Sweep(directory.resolve(), recorded, targets)


@dataclass(frozen=True)
class Killing:
    """What one kill did: who died, after how many seconds, and the batch sizes measured again for it."""

    victim: str
    after_s: float
    again: int


def kill_and_run_again(sweep: Sweep, victim: str, unbroken: Sweep, lasts_s: float, seed: int) -> Killing:
    """Begin, kill, run again; what is left must be as if nothing had happened.

    Parameters
    ----------
    unbroken : the same study, run to its end
    lasts_s : how long that took
    """
    generator = random.Random(seed)
    after_s, into_s = generator.uniform(0.2, lasts_s), generator.uniform(0, 2 * RECORD_SECONDS)
    with contextlib.ExitStack() as stack:
        while True:
            process = sweep.start()
            stack.callback(end_all, sweep, process)
            time.sleep(after_s)
            if kill(sweep, process, victim, into_s):
                break
            # Over before there was anything to kill: earlier then, and from the beginning.
            after_s *= 0.7
            process.communicate()
            for part in ("results", "reports", "logs", ".snakemake"):
                shutil.rmtree(sweep.directory / part, ignore_errors=True)
        if victim in ("snakemake", "all"):
            wait_until(lambda: not sweep.processes(), "processes outlive their Snakemake")
        said, _ = process.communicate(timeout=RUN_SECONDS)
        if victim == "disk":
            (sweep.directory / "filler").unlink(missing_ok=True)
    said += sweep.run()
    assert sweep.table() == unbroken.table(), f"{victim} after {after_s:.2f} s\n{said[-3000:]}"
    again = [key for key, count in sweep.begun().items() if count > unbroken.begun()[key]]
    # Of a job that fails Snakemake removes what it has made: all of a cell's round is then measured again.
    assert len({cell for cell, _ in again}) <= 1, f"{victim} after {after_s:.2f} s: {again}"
    return Killing(victim, after_s, len(again))


def kill(sweep: Sweep, process: subprocess.Popen[str], victim: str, into_s: float) -> bool:
    """End what is to die, so many seconds into its life where it is a job's; returns whether the run was
    still under way.
    """
    if process.poll() is not None:
        return False
    if victim == "snakemake":
        process.kill()
    elif victim == "all":
        process.kill()
        for pid in sweep.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    elif victim == "disk":
        fill(sweep.directory / "filler")
    else:
        while process.poll() is None:
            if sweep.processes(OF_PROCESS[victim]):
                time.sleep(into_s)
            if found := sweep.processes(OF_PROCESS[victim]):
                # Python's own process, not the shell that names it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(max(found), signal.SIGKILL)
                    return True
            time.sleep(0.01)
        return False
    return True


def fill(path: Path) -> None:
    """Leave no byte of a disk."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(bytes(size))


def end_all(sweep: Sweep, process: subprocess.Popen[str]) -> None:
    """Leave nothing running, whatever a test found."""
    if process.poll() is None:
        process.kill()
    for pid in sweep.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_until(condition: object, what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.05)


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of few megabytes, where this user may mount one. Raises PermissionError."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        raise PermissionError("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
