"""A composite of planted members: each with a Python of its own, in which its runtime is a linear model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hwfit.worker.job import Job
from jobs import make_job

TESTS = Path(__file__).parent
# Loaded by a member's Python as it starts, in place of a framework's runtime.
SITE = """
import ctypes, os, sys, time, types
from jobs import LinearRuntime, LinearSession

class Session(LinearSession):
    def run(self, placed):
        size = len(placed)
        {body}
        return super().run(placed)

sys.modules["hwfit.worker.runtimes.{runtime}"] = LinearRuntime(Session)
"""
RUNTIMES = ("torch", "tensorflow", "mindspore")


def make_composite(directory: Path, *bodies: str, scenario: str = "single_stream", **changes: Any) -> Job:
    """A job on a composite with a member for each body, which the member runs before each call.

    The members are called left, right and third, and are of unlike runtimes.
    """
    members = []
    for name, runtime, body in zip(("left", "right", "third"), RUNTIMES, bodies, strict=False):
        site = directory / name
        site.mkdir(parents=True)
        (site / "sitecustomize.py").write_text(SITE.format(body=body, runtime=runtime))
        python = site / "python"
        python.write_text(
            f'#!/bin/sh\nPYTHONPATH="{site}:{TESTS}:$PYTHONPATH" exec "{sys.executable}" "$@"\n'
        )
        python.chmod(0o755)
        member = make_job(site, python=str(python))
        members.append(
            {
                "device": name,
                "runtime": runtime,
                "source": {"zoo": "lenet-5"},
                "accelerator": "cpu",
                "index": 0,
                "threads": None,
                "memory_limit_mb": None,
                "weights_directory": str(member.weights_directory),
                "environment_file": str(member.environment_file),
                "probe_file": str(member.probe_file),
            }
        )
    job = make_job(
        directory,
        python=sys.executable,
        probe={"accelerator": "composite", "locks": [f"test:{directory}"]},
        accelerator="composite",
        members=members,
        **changes,
    )
    cell = job.cell.__dict__ | {"device": "pair", "runtime": "split", "scenario": scenario}
    return Job.from_dict(dict(job.__dict__) | {"cell": cell})
