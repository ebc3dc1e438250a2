"""What a device is and what it can do at most: identity, software, sensors, measured peaks; and by how
much fresh processes that do the same differ on it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.records import read_json
from hwfit.worker import sampling
from hwfit.worker.conditions import run_for
from hwfit.worker.lock import device_lock, locks_of
from hwfit.worker.reference_memory import ReferenceProcess, memory_of_activations, memory_of_weights
from hwfit.worker.reference_model import inputs_of, open_reference
from hwfit.worker.supervisor import environment_without_thread_counts

PEAKS_LIMIT_S = 300
# Large enough to reach the peak, small enough that a few repetitions take a second on two cores.
MATRIX_SIZE = 2048
COPY_BYTES = 256 * 2**20
REPETITIONS = 5
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
    the probe's findings, with "device", "sensors" and "runtimes": for each its "status", "reason",
    "runtime_version", "peaks" {"matmul_float32_gflops", "memory_copy_gb_s"}, "reference_ms", the
    median time of the reference model in each of some fresh processes, and "memory", what
    `hwfit.worker.reference_memory` finds; "peaks" beside them holds the largest of each over the runtimes
    """
    probe = read_json(probe_file)
    found = probe | {"device": device, "sensors": power_sensors(), "runtimes": {}, "peaks": {}}
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
    for taken in found["runtimes"].values():
        for name, value in taken.get("peaks", {}).items():
            found["peaks"][name] = max(value, found["peaks"].get(name, 0.0))
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
    paths = {"PYTHONPATH": str(Path(__file__).parents[2])}
    cores = probe.get("pinned_cores")
    if cores:
        command += ["--threads", str(len(cores))]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PEAKS_LIMIT_S,
            env=environment_without_thread_counts() | paths | probe["environment"],
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
    except subprocess.TimeoutExpired:
        return {"status": "timeout", "reason": f"no answer within {PEAKS_LIMIT_S} s"}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        return {"status": "crashed", "reason": said[-1]}


def measure_peaks(
    runtime: str,
    accelerator: str,
    index: int,
    reference_only: bool = False,
    threads: int | None = None,
    identity: str | None = None,
) -> dict[str, Any]:
    """In a runtime's own Python: what it is, the fastest matrix product and copy, the reference model."""
    from hwfit.worker import runtimes
    from hwfit.worker.errors import Unsupported

    module = runtimes.load(runtime)
    try:
        described = module.describe(accelerator, index)
    except Unsupported as error:
        return {"status": "unsupported", "reason": str(error)}
    found = {"status": "ok", "reason": ""} | described
    found["reference_ms"] = [reference_model_ms(runtime, module, accelerator, index, threads)]
    process = ReferenceProcess(runtime, module, accelerator, index, identity, threads)
    found["memory"] = memory_of_weights(process) if reference_only else memory_of_activations(process)
    del process
    if reference_only:
        return found
    matmul, copy = module.peak_kernels(accelerator, index, MATRIX_SIZE, COPY_BYTES)
    found["peaks"] = {
        "matmul_float32_gflops": 2 * MATRIX_SIZE**3 / fastest(matmul) / 1e9,
        # A copy reads and writes every byte.
        "memory_copy_gb_s": 2 * COPY_BYTES / fastest(copy) / 1e9,
    }
    return found


def reference_model_ms(
    name: str, module: Any, accelerator: str, index: int, threads: int | None = None
) -> float:
    """The median time of the zoo's `mlp` with weights from a seed, by the runtime's own session, in ms."""
    session = open_reference("mlp", name, module, accelerator, index, threads)
    placed = session.place(inputs_of("mlp", REFERENCE_BATCH))
    sampling.warm_up(session.run, [placed], REFERENCE_SECONDS)
    return 1e3 * float(np.median(run_for(lambda: session.run(placed), REFERENCE_SECONDS)))


def fastest(kernel: Callable[[], None]) -> float:
    """The shortest of a few runs in seconds, after one that is not counted: a peak is a best case."""
    kernel()
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        kernel()
        times.append(time.perf_counter() - start)
    return float(np.min(times))


def power_sensors() -> list[str]:
    """Power sensors that are there and can be read, by the name an energy source would carry."""
    found = [
        f"rapl:{path.parent.name}"
        for path in sorted(Path("/sys/class/powercap").glob("*/energy_uj"))
        if os.access(path, os.R_OK)
    ]
    try:
        import pynvml

        pynvml.nvmlInit()
        found += [f"nvml:{i}" for i in range(pynvml.nvmlDeviceGetCount())]
        pynvml.nvmlShutdown()
    except Exception:  # absent package, library or device: each means no NVML sensor
        pass
    return found
