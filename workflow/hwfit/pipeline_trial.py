"""Measures what `hwfit.pipeline` needs: a model's blocks on two devices, a process each, and the link."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwfit.layout import model_directory, probe_file
from hwfit.matrix import Plan
from hwfit.pipeline import Link, blocks_of, judge
from hwfit.process import python_path
from hwfit.records import Cell, RecordError, read_json


class PipelineError(Exception):
    """There is no verdict: the message says why, and what to do."""


def measure_and_judge(
    plan: Plan, model: str, devices: Sequence[str], batch_size: int, seconds: float, is_run: bool = False
) -> dict[str, Any]:
    """Time a model's blocks on two devices of a study that was run, and judge every cut.

    Parameters
    ----------
    is_run : whether to run the best cut too, and put under "measured" what it gave

    Returns
    -------
    the verdict (`hwfit.pipeline.Verdict.to_dict`) with what it was made of: "devices", "link", "layers"; and
    "timing_overhead", by what share the blocks' times add up to more than a call that nobody looks into

    Raises
    ------
    PipelineError
        Where a device does not run torch in this study, or a measurement fails.
    """
    cells = [Cell(model, device, "torch", "baseline", "single_stream") for device in devices]
    for cell in cells:
        if cell.device not in plan.hardware or "torch" not in plan.hardware[cell.device].runtimes:
            able = [name for name, device in plan.hardware.items() if "torch" in device.runtimes]
            raise PipelineError(f"{cell.device} runs no torch in this study; these do: {', '.join(able)}")
        if model not in plan.models or "torch" not in plan.study.models[model].sources:
            raise PipelineError(f"{model} is not run in torch in this study; run: {', '.join(plan.models)}")
    with tempfile.TemporaryDirectory() as directory:
        layers = [time_blocks(plan, cell, batch_size, seconds, Path(directory)) for cell in cells]
        probes = [probe_file(device) for device in devices]
        link = ask(sys.executable, "link", "--probes", *probes, directory=Path(directory))
        verdict = judge(blocks_of(*layers), Link(link["latency_s"], link["bytes_per_s"]), batch_size)
        measured = {}
        if is_run and verdict.pipeline:
            parts = cells if verdict.pipeline.starts_on == "first" else cells[::-1]
            measured = {
                "measured": run_parts(
                    plan, parts, verdict.pipeline.blocks_before, batch_size, seconds, Path(directory)
                )
            }
    overheads = [sum(b["seconds"] for b in taken["blocks"]) / taken["whole_s"] - 1 for taken in layers]
    more = {"model": model, "devices": list(devices), "timing_overhead": overheads}
    return verdict.to_dict() | more | measured | {"link": link, "layers": layers}


def time_blocks(plan: Plan, cell: Cell, batch_size: int, seconds: float, directory: Path) -> dict[str, Any]:
    """The times of a model's blocks on one device. Raises PipelineError."""
    (member,) = plan.composite_of([cell])["members"]
    try:
        python = read_json(member["environment_file"])["python"]
    except RecordError as error:
        raise PipelineError(f"{error}: run the study first") from error
    command = ["layers", "--member", json.dumps(member), "--model-directory", model_directory(cell.model)]
    command += ["--batch-size", str(batch_size), "--seconds", str(seconds)]
    return ask(python, *command, directory=directory)


def run_parts(
    plan: Plan, cells: Sequence[Cell], blocks_before: int, batch_size: int, seconds: float, directory: Path
) -> dict[str, Any]:
    """What a model gave that was cut in two and run. Raises PipelineError."""
    members = plan.composite_of(cells)["members"]
    python = read_json(members[0]["environment_file"])["python"]
    command = [
        "stages",
        "--members",
        json.dumps(members),
        "--model-directory",
        model_directory(cells[0].model),
    ]
    command += ["--blocks-before", str(blocks_before), "--batch-size", str(batch_size)]
    return ask(python, *command, "--seconds", str(seconds), directory=directory)


def ask(python: str, *arguments: str, directory: Path) -> dict[str, Any]:
    """What a command of the worker wing writes. Raises PipelineError with its last words."""
    output = directory / "output.json"
    done = subprocess.run(
        [python, "-m", "hwfit.worker", *arguments, "--output", str(output)],
        env=os.environ | {"PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise PipelineError(f"{arguments[0]} failed: {said[-1]}")
    return read_json(output)
