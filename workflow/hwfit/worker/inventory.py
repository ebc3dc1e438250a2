"""What a device is and what it can do at most: identity, software, sensors, measured peaks."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.records import read_json
from hwfit.worker.lock import device_lock

PEAKS_LIMIT_S = 300
# Large enough to reach the peak, small enough that a few repetitions take a second on two cores.
MATRIX_SIZE = 2048
COPY_BYTES = 256 * 2**20
REPETITIONS = 5


def take_inventory(device: str, probe_file: Path, environments: dict[str, Path]) -> dict[str, Any]:
    """Take stock of a device, with each of its runtimes.

    Parameters
    ----------
    environments : the environment file of each runtime of the device

    Returns
    -------
    the probe's findings, with "device", "sensors" and "runtimes": for each its "status", "reason",
    "runtime_version" and "peaks" {"matmul_float32_gflops", "memory_copy_gb_s"}; "peaks" beside them
    holds the largest of each over the runtimes
    """
    probe = read_json(probe_file)
    found = probe | {"device": device, "sensors": power_sensors(), "runtimes": {}, "peaks": {}}
    if probe["status"] != "ok":
        return found
    with device_lock(probe["identity"]):
        for runtime, file in environments.items():
            found["runtimes"][runtime] = ask_runtime(runtime, read_json(file), probe)
    for taken in found["runtimes"].values():
        for name, value in taken.get("peaks", {}).items():
            found["peaks"][name] = max(value, found["peaks"].get(name, 0.0))
    return found


def ask_runtime(runtime: str, environment: dict[str, Any], probe: dict[str, Any]) -> dict[str, Any]:
    """Versions and measured peaks, by a fresh process of the runtime's own Python."""
    if environment["status"] != "ok":
        return {"status": "unavailable", "reason": environment["reason"]}
    command = [environment["python"], "-m", "hwfit.worker", "peaks", "--runtime", runtime]
    command += ["--accelerator", probe["accelerator"], "--index", str(probe["index"])]
    paths = {"PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PEAKS_LIMIT_S,
            env=os.environ | paths | probe["environment"],
        )
    except subprocess.TimeoutExpired:
        return {"status": "timeout", "reason": f"no answer within {PEAKS_LIMIT_S} s"}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        return {"status": "crashed", "reason": said[-1]}


def measure_peaks(runtime: str, accelerator: str, index: int) -> dict[str, Any]:
    """In a runtime's own Python: what it is, and the fastest matrix product and copy it reached."""
    from hwfit.worker import runtimes
    from hwfit.worker.errors import Unsupported

    module = runtimes.load(runtime)
    try:
        described = module.describe(accelerator, index)
    except Unsupported as error:
        return {"status": "unsupported", "reason": str(error)}
    matmul, copy = module.peak_kernels(accelerator, index, MATRIX_SIZE, COPY_BYTES)
    peaks = {
        "matmul_float32_gflops": 2 * MATRIX_SIZE**3 / fastest(matmul) / 1e9,
        # A copy reads and writes every byte.
        "memory_copy_gb_s": 2 * COPY_BYTES / fastest(copy) / 1e9,
    }
    return {"status": "ok", "reason": ""} | described | {"peaks": peaks}


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
