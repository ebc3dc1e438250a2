"""What a device is and what it can do at most: identity, software, sensors, measured peaks; and by how
much fresh processes that do the same differ on it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.process import python_path
from hwfit.records import read_json
from hwfit.worker import peaks, sampling
from hwfit.worker.child import environment_without_thread_counts, prepare_child
from hwfit.worker.conditions import run_for
from hwfit.worker.lock import device_lock, locks_of
from hwfit.worker.meters import find
from hwfit.worker.reference_memory import ReferenceProcess, memory_of_activations, memory_of_weights
from hwfit.worker.reference_model import inputs_of, open_reference

PEAKS_LIMIT_S = 300
# Fresh processes time the reference model, each runtime's as many as it takes for so many degrees of
# freedom together: fewer would leave the spread between processes unknown by a factor of two and more.
REFERENCE_DEGREES = 6
REFERENCE_BATCH = 8
REFERENCE_SECONDS = 0.5


def take_inventory(device: str, probe_file: Path, environments: dict[str, Path]) -> dict[str, Any]:
    """Take stock of a device, with each of its runtimes.

    Parameters
    ----------
    environments : the environment file of each runtime of the device

    Returns
    -------
    the probe's findings, with "device", "sensors", "sensors_unread" and "runtimes": for each its
    "status", "reason", "runtime_version", what `hwfit.worker.peaks` measured, "reference_ms", the
    median time of the reference model in each of some fresh processes, and "memory", what
    `hwfit.worker.reference_memory` finds; "peaks" beside them holds the largest of each over the runtimes,
    "peak_runtimes" whose it is
    """
    probe = read_json(probe_file)
    found = probe | {"device": device, "runtimes": {}, "peaks": {}, "peak_runtimes": {}}
    found |= power_sensors(probe["identity"])
    if probe["status"] != "ok":
        return found
    with device_lock(*locks_of(probe)):
        for runtime, file in environments.items():
            found["runtimes"][runtime] = ask_runtime(runtime, read_json(file), probe)
        # Round by round, as everything is measured.
        working = {name: taken for name, taken in found["runtimes"].items() if taken["status"] == "ok"}
        for _ in range(math.ceil(REFERENCE_DEGREES / max(len(working), 1))):
            for runtime, taken in working.items():
                again = ask_runtime(runtime, read_json(environments[runtime]), probe, "--reference-only")
                taken["reference_ms"] += again.get("reference_ms", [])
                taken["memory"] = again.get("memory", {}) | taken["memory"]
    for runtime, taken in found["runtimes"].items():
        found["last_cache_mb"] = found.get("last_cache_mb") or taken.get("last_cache_mb")
        for name, value in taken.get("peaks", {}).items():
            if value > found["peaks"].get(name, 0.0):
                found["peaks"][name], found["peak_runtimes"][name] = value, runtime
    return found


def ask_runtime(
    runtime: str, environment: dict[str, Any], probe: dict[str, Any], *options: str
) -> dict[str, Any]:
    """Versions and measured peaks, by a fresh process of the runtime's own Python."""
    if environment["status"] != "ok":
        return {"status": "unavailable", "reason": environment["reason"]}
    command = [environment["python"], "-m", "hwfit.worker", "peaks", "--runtime", runtime]
    command += ["--accelerator", probe["accelerator"], "--index", str(probe["index"]), *options]
    command += ["--identity", probe.get("identity") or ""]
    paths = {"PYTHONPATH": python_path()}
    cores, parent = probe.get("pinned_cores"), os.getpid()
    if cores:
        command += ["--threads", str(len(cores))]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PEAKS_LIMIT_S,
            env=environment_without_thread_counts() | paths | probe["environment"],
            preexec_fn=lambda: prepare_child(parent, None, cores or ()),
        )
    except subprocess.TimeoutExpired as error:
        told = last_told((error.stdout or b"").decode(errors="replace"))
        return told or {"status": "timeout", "reason": f"no answer within {PEAKS_LIMIT_S} s"}
    told = last_told(done.stdout)
    if told is not None:
        return told
    said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
    return {"status": "crashed", "reason": said[-1]}


def last_told(output: str) -> dict[str, Any] | None:
    """The last answer of a worker that tells all it knows again after each peak."""
    for line in reversed(output.splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict):
            return told
    return None


def measure_peaks(
    runtime: str,
    accelerator: str,
    index: int,
    reference_only: bool = False,
    threads: int | None = None,
    identity: str | None = None,
) -> Iterator[dict[str, Any]]:
    """In a runtime's own Python: what it is, the time of the reference model, the memory it takes, its peaks;
    again after each.
    """
    from hwfit.worker import runtimes
    from hwfit.worker.errors import Unsupported

    module = runtimes.load(runtime)
    try:
        described = module.describe(accelerator, index)
    except Unsupported as error:
        yield {"status": "unsupported", "reason": str(error)}
        return
    found = {"status": "ok", "reason": ""} | described
    found["reference_ms"] = [reference_model_ms(runtime, module, accelerator, index, threads)]
    process = ReferenceProcess(runtime, module, accelerator, index, identity, threads)
    found["memory"] = memory_of_weights(process) if reference_only else memory_of_activations(process)
    del process
    yield found
    if not reference_only:
        for measured in peaks.measure(module, accelerator, index):
            yield found | measured


def reference_model_ms(
    name: str, module: Any, accelerator: str, index: int, threads: int | None = None
) -> float:
    """The median time of the zoo's `mlp` with weights from a seed, by the runtime's own session, in ms."""
    session = open_reference("mlp", name, module, accelerator, index, threads)
    placed = session.place(inputs_of("mlp", REFERENCE_BATCH))
    sampling.warm_up(session.run, [placed], REFERENCE_SECONDS)
    return 1e3 * float(np.median(run_for(lambda: session.run(placed), REFERENCE_SECONDS)))


def power_sensors(identity: str | None) -> dict[str, list[Any]]:
    """What tells a device's energy, and what could, with the reason why it does not.

    Parameters
    ----------
    identity : as the device's probe gave it; None where it is not there

    Returns
    -------
    {"sensors": the sources that can be read, "sensors_unread": [{"source", "reason"}, …]}
    """
    meters, absences = find(identity)
    return {
        "sensors": [meter.source for meter in meters],
        "sensors_unread": [asdict(absence) for absence in absences],
    }
