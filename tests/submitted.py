"""A small study whose jobs a cluster runs, for the tests on a real one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cluster import Cluster, wait_until
from projects import ROOT, Project

PROFILES = ROOT / "workflow" / "profiles"
STUDY = {
    "sweep": "submitted",
    "matrix": {
        "models": ["mlp"],
        "devices": ["node"],
        "optimizations": ["baseline", "prune50"],
        "batch_sizes": [1, 8],
    },
    "measurement": {
        "min_seconds": 0.2,
        "max_seconds": 0.5,
        "relative_ci": 0.2,
        "energy_seconds": 0,
        "confirm_rounds": 1,
        "most_confirm_rounds": 1,
    },
}
NODE = {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}}
WHOLE = {"partition": "main", "mem_mb": 3000}
# Jobs of tests are of seconds; the profile is for hours.
IN_SMALL = {
    "slurm": (
        *("--profile", str(PROFILES / "slurm"), "--slurm-init-seconds-before-status-checks", "6"),
        *("--default-resources", "mem_mb=2000", "runtime=10"),
    ),
    "cluster": (
        *("--profile", str(PROFILES / "cluster"), "--seconds-between-status-checks", "2"),
        *("--default-resources", "slurm_partition=main", "gres=none", "mem_mb=2000", "runtime=10"),
        "slurm_extra='--requeue'",
    ),
}


class SubmittedProject(Project):
    """A project in its directory, and the cluster that runs its jobs."""

    def __init__(
        self, directory: Path, cluster: Cluster, known: Path | None = None, recording: Path | None = None
    ) -> None:
        self.cluster = cluster
        self.replaying = {"HWFIT_RECORDED": str(recording)} if recording else {}
        super().__init__(directory)
        if known:
            shutil.copytree(known, directory / "results")

    def configure(self, changes: dict, **catalogs: dict) -> None:
        catalogs = {"devices": {"node": NODE | {"slurm": WHOLE}}} | catalogs
        super().configure(STUDY | changes, **catalogs)

    def ask_for(self, *, batch_sizes: list[int], slurm: dict, **matrix: list) -> None:
        """Write a study of these batch sizes on a class of nodes."""
        asked = {"optimizations": ["baseline"]} | matrix | {"batch_sizes": batch_sizes}
        matrix = {"matrix": STUDY["matrix"] | asked}
        self.configure(matrix, devices={"node": NODE | {"slurm": slurm}})

    def start(self, *arguments: str, profile: str = "slurm") -> subprocess.Popen:
        built = os.environ.get("HWFIT_ENVIRONMENTS", str(ROOT / ".environments"))
        self.said = self.directory.with_name(f"{self.directory.name}.said.txt")
        # Where the tests were started in the background, Ctrl-C is ignored by whatever they start.
        command = ["env", "--default-signal=INT", sys.executable]
        command += ["-m", "snakemake", *arguments, *IN_SMALL[profile]]
        command += ["--jobs", "8", "--max-threads", "2", "--latency-wait", "15"]
        with self.said.open("w") as said:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.cluster.environment | {"HWFIT_ENVIRONMENTS": built} | self.replaying,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, process: subprocess.Popen, fails: bool = False, seconds: float = 500) -> str:
        """Wait for a run; returns what it said."""
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"no end after {seconds:g} s:\n{self.words()}") from None
        assert (process.returncode != 0) == fails, self.words()
        return self.said.read_text()

    def run(self, *arguments: str, fails: bool = False, profile: str = "slurm") -> str:
        return self.finish(self.start(*arguments, profile=profile), fails)

    def words(self) -> str:
        """What the run has said so far, and the logs of jobs that failed."""
        logs = sorted((self.directory / ".snakemake" / "slurm_logs").rglob("*.log"))
        return self.said.read_text()[-6000:] + "".join(f"\n{log}:\n{log.read_text()[-1500:]}" for log in logs)

    def target(self, batch_size: int, optimization: str = "baseline") -> Path:
        """The record of a batch size, relative to the project."""
        cell = f"node/torch/mlp/{optimization}/single_stream/round0"
        return Path("results/profiles") / cell / f"bs{batch_size}.json"

    def record(self, batch_size: int, optimization: str = "baseline") -> dict:
        return json.loads((self.directory / self.target(batch_size, optimization)).read_text())

    def attempts(self, optimization: str = "baseline") -> list[dict]:
        """The lines of a cell's attempts so far."""
        path = self.directory / f"results/attempts/node/torch/mlp/{optimization}/single_stream/round0.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def wait_for_begin(self, count: int, process: subprocess.Popen) -> str:
        """Wait until a measurement has begun for the nth time; returns the id of the job that it is in."""
        self.wait_for(lambda: self.begun() >= count, process, f"measurement {count} has not begun")
        supervisor = Path(f"/proc/{self.supervisor()}/environ").read_bytes().split(b"\0")
        return next(
            each.decode().partition("=")[2] for each in supervisor if each.startswith(b"SLURM_JOB_ID=")
        )

    def supervisor(self) -> int:
        """The process that watches over the last measurement: nodes share this host's processes."""
        return self.attempts()[-1]["pid"]

    def submissions(self) -> list[dict[str, str]]:
        """What the controller knows of this project's jobs."""
        return [job for job in self.cluster.all_jobs() if job["WorkDir"] == str(self.directory)]

    def begun(self) -> int:
        return sum(line["event"] == "begin" for line in self.attempts())

    def wait_for(
        self, is_so: Callable[[], bool], process: subprocess.Popen, said: str, seconds: float = 200
    ) -> None:
        """Wait for something while a run goes on."""
        began = time.monotonic()
        wait_until(
            lambda: is_so() or process.poll() is not None,
            seconds,
            lambda: f"{said}\n{self.words()}",
        )
        assert is_so(), f"the run ended after {time.monotonic() - began:.0f} s: {said}\n{self.words()}"
