"""Looks of many cells by one process that loads the framework once: each survives what befalls the others."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from hwfit.records import Cell, read_json, read_profile
from hwfit.worker.job import Job
from hwfit.worker.screening import main
from jobs import make_job

TESTS = Path(__file__).parents[1]
MEASUREMENT = {
    "timeout_seconds": 20,
    "relative_ci": 1.0,
    "repeats": 0,
    "screen_seconds": 0.02,
    "evaluated_batch_size": 8,
}
# In place of a framework, which takes note of who loads it; a session runs `body` first.
SITE = """
import os, sys, time
from jobs import LinearRuntime, LinearSession

if "hwfit.worker" in sys.orig_argv:
    with open({loads!r}, "a") as stream:
        stream.write(" ".join(sys.orig_argv[-4:]) + "\\n")

class Session(LinearSession):
    def run(self, placed):
        {body}
        return super().run(placed)

class Runtime(LinearRuntime):
    def open_session(self, request):
        self.session.source = request.source
        return super().open_session(request)

sys.modules["hwfit.worker.runtimes.torch"] = Runtime(Session)
"""


class Looks:
    """Jobs of some optimizations, as the rule hands them over."""

    def __init__(self, directory: Path, body: str) -> None:
        self.directory = directory
        site = directory / "site"
        site.mkdir()
        self.loads = directory / "loads.txt"
        (site / "sitecustomize.py").write_text(SITE.format(body=body, loads=str(self.loads)))
        python = directory / "python"
        python.write_text(
            f'#!/bin/sh\nPYTHONPATH="{site}:{TESTS}:$PYTHONPATH" exec "{sys.executable}" "$@"\n'
        )
        python.chmod(0o755)
        self.python = str(python)

    def job(self, optimization: str) -> Job:
        cell = asdict(Cell("net", "cpu", "torch", optimization, "single_stream"))
        more = {"cell": cell, "measurement": MEASUREMENT, "source": {"callable": f"{optimization}:load"}}
        return make_job(self.directory, python=self.python, **more)

    def run(self, *optimizations: str, verdict: dict | None = None) -> dict:
        jobs = []
        for name in optimizations:
            attempts = str(self.directory / f"{name}.jsonl")
            job = self.job(name)
            jobs.append(json.loads(json.dumps(vars(job) | {"cell": asdict(job.cell)}, default=str)))
            jobs[-1] |= {"attempts": attempts}
        before = None
        if verdict is not None:
            before = self.directory / "verdict.json"
            before.write_text(json.dumps(verdict))
        output = self.directory / "summary.json"
        assert main(json.dumps({"common": {}, "jobs": jobs}), before, output) == 0
        return read_json(output)

    def status(self, optimization: str, batch_size: int = 1) -> str:
        return read_profile(self.job(optimization).path(batch_size)).status

    def processes(self) -> int:
        """How many processes have loaded the framework."""
        lines = self.loads.read_text().splitlines()
        return len([line for line in lines if "profile" in line or "screen-forking" in line])


@pytest.fixture
def make_looks(tmp_path):
    return lambda body="pass": Looks(tmp_path, body)


def test_one_process_loads_the_framework_for_all_cells(make_looks):
    looks = make_looks()
    summary = looks.run("baseline", "bf16")
    assert summary["cells"] == 2
    assert [looks.status(name, size) for name in ("baseline", "bf16") for size in (1, 8)] == ["ok"] * 4
    assert looks.processes() == 1


def test_a_second_run_looks_at_nothing_again(make_looks):
    looks = make_looks()
    looks.run("baseline")
    looks.run("baseline")
    assert looks.processes() == 1


def test_what_dies_in_a_fork_is_looked_at_again_alone_and_harms_no_other(make_looks):
    looks = make_looks("if self.source['callable'] == 'bf16:load': os.kill(os.getpid(), 9)")
    looks.run("bf16", "baseline")
    assert looks.status("baseline") == "ok"
    assert looks.status("bf16") == "crashed"
    assert looks.processes() > 1


def test_what_a_process_cannot_load_is_looked_at_in_others(make_looks):
    looks = make_looks()
    site = looks.directory / "site/sitecustomize.py"
    site.write_text(f"import os, sys\nif 'screen-forking' in sys.orig_argv: os._exit(3)\n{site.read_text()}")
    looks.run("baseline")
    assert looks.status("baseline") == "ok"


def test_only_what_goes_on_is_looked_at(make_looks):
    looks = make_looks()
    going = asdict(Cell("net", "cpu", "torch", "bf16", "single_stream"))
    summary = looks.run("baseline", "bf16", verdict={"look_again": [{"cell": going, "batch_sizes": [8]}]})
    assert summary["cells"] == 1
    assert [Path(record).name for record in summary["records"]] == ["bs8.json"]
    assert not looks.job("baseline").path(8).exists()
