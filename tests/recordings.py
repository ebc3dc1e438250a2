"""Recordings of sweeps that never were: for `HWFIT_RECORDED`, with figures from a formula, and failures.

A call of a batch takes, on a device with a runtime and an optimization,

    overhead(runtime) + batch x gflop(model) / rate, in ms, where
    rate = peak(device) x efficiency(runtime, model) x speedup(optimization, runtime, model)
           x batch / (batch + 2)

times log-normal noise of 3% for the process and of 5% for each call. What stands for a name is drawn by it
and the seed alone, evenly on a logarithmic scale, so that a row is the same in every study it is in. A batch
that needs more memory than the device has is `oom`, and larger ones are skipped; of cells one in 40 is
`unsupported`, of combinations one in 100 `crashed`.
"""

from __future__ import annotations

import io
import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.catalog import READ_ONNX
from hwfit.config import Study
from hwfit.layout import (
    PROFILES,
    checkpoint_directory,
    data_files,
    environment_file,
    inventory_file,
    model_directory,
    probe_file,
)
from hwfit.matrix import Plan
from hwfit.records import Cell, Flag, Profile, fingerprint, profile_path

RUNTIMES = ("torch", "tensorflow", "mindspore", "onnxruntime", "openvino")
# Passes that every runtime has, on any CPU.
OPTIMIZATIONS: dict[str, list[dict[str, Any]]] = {
    "baseline": [],
    "keep-memory": [{"pass": "keep_memory"}],
    "threads-1": [{"pass": "threads", "count": 1}],
    "prune50": [{"pass": "prune", "amount": 0.5}],
    "threads-2": [{"pass": "threads", "count": 2}],
    "prune50-keep-memory": [{"pass": "prune", "amount": 0.5}, {"pass": "keep_memory"}],
    "threads-4": [{"pass": "threads", "count": 4}],
    "prune70": [{"pass": "prune", "amount": 0.7}],
    "threads-8": [{"pass": "threads", "count": 8}],
    "prune30": [{"pass": "prune", "amount": 0.3}],
}
PROCESS_NOISE, CALL_NOISE = 0.03, 0.05
CALLS = 100
LABELLED = 1000


def make_config(
    models: int = 2,
    devices: int = 1,
    runtimes: int = 2,
    optimizations: int = 2,
    batch_sizes: tuple[int, ...] = (1, 8),
    **config: Any,
) -> dict[str, dict[str, Any]]:
    """The four parts of a study, "config", "models", "devices" and "optimizations", of so many of each."""
    names = RUNTIMES[:runtimes]
    network = {
        "task": "classification",
        "data": "digits",
        "sources": {name: {"zoo": "lenet-5"} for name in names},
    }
    chosen = dict(list(OPTIMIZATIONS.items())[:optimizations])
    parts: dict[str, dict[str, Any]] = {
        "models": {f"net-{number}": network for number in range(models)},
        "devices": {
            f"node-{number}": {
                "accelerator": "cpu",
                "cores": [number],
                "runtimes": {name: f"{name}-cpu" for name in names},
                "price_per_hour": 1.0 + number,
            }
            for number in range(devices)
        },
        "optimizations": {name: {"passes": passes} for name, passes in chosen.items()},
    }
    matrix = {key: list(part) for key, part in parts.items()} | {"batch_sizes": list(batch_sizes)}
    measurement = {"confirm_rounds": 1, "most_confirm_rounds": 1}
    return parts | {"config": {"sweep": "recorded", "matrix": matrix, "measurement": measurement} | config}


def record(
    parts: dict[str, dict[str, Any]], directory: Path, seed: int = 0
) -> dict[tuple[Cell, int], tuple[str, str]]:
    """Write the `results/` of a sweep, as far as a replay needs it.

    Returns
    -------
    the status and the reason of every combination
    """
    plan = Plan(Study.model_validate(parts))
    for name in plan.environments:
        write(directory, environment_file(name), make_environment(name))
    for device in plan.hardware:
        probe = make_probe(device, seed)
        write(directory, probe_file(device), probe)
        write(directory, inventory_file(device), probe | make_inventory(plan, device, seed))
    for model in plan.models:
        for file in data_files(model, plan.study.models[model].data):
            write(directory, file, npz(inputs=np.zeros((1, 1), np.float32)))
        write(directory, f"{model_directory(model)}/card.json", make_card(model, seed))
    cards = {}
    for cell in plan.cells:
        places = [plan.weights_directory(cell)]
        if cell.runtime in READ_ONNX:
            places.append(checkpoint_directory(cell.model, plan.artifact(cell.optimization)))
        for place in places:
            if place not in cards and place != model_directory(cell.model):
                cards[place] = make_card(cell.model, seed) | {"weights_sha256": fingerprint(place, seed)}
                write(directory, f"{place}/card.json", cards[place])
    return record_profiles(plan, directory, seed)


def record_profiles(plan: Plan, directory: Path, seed: int) -> dict[tuple[Cell, int], tuple[str, str]]:
    """Write every first look, with the samples of those that were measured; returns what became of each."""
    found = {(each.cell, each.batch_size): (each.status, each.reason) for each in plan.combinations}
    for cell, sizes in plan.batch_sizes.items():
        for batch_size, outcome in outcomes_of(cell, sizes, seed).items():
            found[cell, batch_size] = outcome
            for round in range(plan.study.config.measurement.rounds):
                write_profile(directory, cell, batch_size, round, outcome, seed)
    return found


def outcomes_of(cell: Cell, sizes: dict[int, str], seed: int) -> dict[int, tuple[str, str]]:
    """The status and the reason of each batch size; `sizes` has for each why it is left out, if it is."""
    found, full_at = {}, 0
    for batch_size, excluded in sorted(sizes.items()):
        if excluded:
            found[batch_size] = "skipped", excluded
        elif full_at:
            found[batch_size] = "skipped", f"implied by oom at {full_at}"
        elif chance("unsupported", cell.path, seed) < 1 / 40:
            reason = f"{cell.optimization} meets an operator that {cell.runtime} lacks"
            found[batch_size] = "unsupported", reason
        elif memory_mb(cell, batch_size, seed) > device_memory_mb(cell.device, seed):
            full_at = batch_size
            found[batch_size] = "oom", "DefaultCPUAllocator: can't allocate memory"
        elif chance("crashed", cell.path, batch_size, seed) < 1 / 100:
            found[batch_size] = "crashed", "the worker died of SIGSEGV"
        else:
            found[batch_size] = "ok", ""
    return found


def latency_ms(cell: Cell, batch_size: int, seed: int = 0) -> float:
    """What a call takes by the formula, without noise."""
    gflop = drawn(0.01, 10, "gflop", cell.model, seed)
    peak = drawn(50, 500, "peak", cell.device, seed)
    efficiency = drawn(0.2, 0.8, "efficiency", cell.runtime, cell.model, seed)
    gain = drawn(0.7, 2.5, "speedup", cell.optimization, cell.runtime, cell.model, seed)
    speedup = 1.0 if cell.optimization == "baseline" else gain
    rate = peak * efficiency * speedup * batch_size / (batch_size + 2)
    return drawn(0.02, 0.3, "overhead", cell.runtime, seed) + 1e3 * batch_size * gflop / rate


def memory_mb(cell: Cell, batch_size: int, seed: int) -> float:
    """The peak memory of a call."""
    base = drawn(80, 600, "base", cell.runtime, seed)
    return base + batch_size * drawn(1, 200, "activations", cell.model, seed)


def device_memory_mb(device: str, seed: int) -> float:
    return drawn(1_000, 16_000, "memory", device, seed)


def drawn(low: float, high: float, *names: Any) -> float:
    """A number between two, evenly on a logarithmic scale, that is the same for the same names."""
    return low * (high / low) ** chance(*names)


def chance(*names: Any) -> float:
    """A number from 0 to 1 that is the same for the same names."""
    return random.Random(fingerprint(*names)).random()


def write_profile(
    directory: Path, cell: Cell, batch_size: int, round: int, outcome: tuple[str, str], seed: int
) -> None:
    """One record with its samples, as large as a measured one's."""
    path = profile_path(directory / Path(PROFILES).name, cell, round, batch_size)
    status, reason = outcome
    known: dict[str, Any] = {}
    if status == "ok":
        generator = np.random.default_rng(int(fingerprint(cell.path, batch_size, round, seed), 16))
        process = latency_ms(cell, batch_size, seed) * math.exp(generator.normal(0, PROCESS_NOISE))
        durations_ms = process * np.exp(generator.normal(0, CALL_NOISE, CALLS))
        write(path.parent, path.with_suffix(".npz").name, npz(durations_s=durations_ms / 1e3))
        known = {
            "metrics": make_metrics(cell, batch_size, durations_ms, seed),
            "flags": [Flag("p99_unproven", f"{CALLS} samples, 299 prove it")],
            "details": {
                "warm_up_calls": 20,
                "samples_file": path.with_suffix(".npz").name,
                "conditions": {"reference_ms": [0.22, 0.22], "foreign_load": 0.01, "steal": 0.0},
                "attempts": [{"samples": CALLS, "flags": [], "foreign_load": 0.01, "reference_change": 0.0}],
                "median_standard_error": 1.25 * CALL_NOISE / math.sqrt(CALLS),
            },
        }
    probe = make_probe(cell.device, seed)
    profile = Profile(
        *(cell.model, cell.device, cell.runtime, cell.optimization, cell.scenario, batch_size, round),
        status,
        reason,
        fingerprints={
            "subject": fingerprint("subject", cell.path, batch_size, seed),
            "protocol": fingerprint("protocol"),
            "context": fingerprint("context", cell.device, cell.runtime),
        },
        context={
            "device": {key: probe.get(key) for key in ("status", "name", "identity", "driver", "memory_mb")},
            "environment": make_environment(f"{cell.runtime}-cpu"),
            "runtime": {"runtime_version": "1.0", "device_name": probe["name"]},
            "threads": {"intra_op": 1, "inter_op": 1},
            "host": cell.device,
            "kernel": "6.1.0",
            "python": "3.11.7",
        },
        started_at="2026-11-01T00:00:00+00:00",
        **known,
    )
    write(path.parent, path.name, profile.to_dict())


def make_metrics(cell: Cell, batch_size: int, durations_ms: np.ndarray, seed: int) -> dict[str, float | None]:
    """The figures of a combination that was measured."""
    p50, p90 = (float(value) for value in np.quantile(durations_ms, (0.5, 0.9)))
    error = 1.25 * CALL_NOISE / math.sqrt(CALLS)
    pruned = "prune" in cell.optimization
    lost = drawn(0.001, 0.03, "lost", cell.optimization, cell.model, seed) if pruned else 0.0
    # Of so many labelled samples, as accuracies are.
    accuracy = round((0.95 - lost) * LABELLED) / LABELLED
    parameters = drawn(1e5, 1e8, "parameters", cell.model, seed)
    measured_s = float(durations_ms.sum()) / 1e3
    return {
        "latency_p50_ms": p50,
        "latency_p50_ci_low_ms": p50 * (1 - 1.96 * error),
        "latency_p50_ci_high_ms": p50 * (1 + 1.96 * error),
        "latency_p90_ms": p90,
        "latency_p99_ms": None,
        "throughput_samples_per_s": 1e3 * batch_size / float(durations_ms.mean()),
        "first_call_ms": 3 * p50,
        "load_s": 0.5,
        "samples": CALLS,
        "measured_s": measured_s,
        "wall_s": measured_s + 0.5,
        "peak_memory_mb": memory_mb(cell, batch_size, seed),
        "host_peak_memory_mb": memory_mb(cell, batch_size, seed),
        "model_size_mb": parameters * 4e-6,
        "file_size_mb": parameters * 4e-6,
        "parameters": round(parameters),
        "nonzero_parameters": round(parameters / 2 if pruned else parameters),
        "flops_per_sample": round(1e9 * drawn(0.01, 10, "gflop", cell.model, seed)),
        "activation_mb_per_sample": drawn(1, 200, "activations", cell.model, seed),
        "accuracy": accuracy,
        "accuracy_drop": 0.95 - accuracy,
        "fidelity": 1.0 - lost,
        "relative_error": 1e-6 + lost,
    }


def make_environment(name: str) -> dict[str, Any]:
    """What is known of an environment with as many packages as a real one."""
    return {
        "name": name,
        "status": "ok",
        "reason": "",
        "python": sys.executable,
        "python_version": "3.11.7",
        "packages": {f"package-{number}": f"{number}.0" for number in range(25)},
        "seconds": 1.0,
    }


def make_probe(device: str, seed: int) -> dict[str, Any]:
    """What a probe finds."""
    return {
        "status": "ok",
        "reason": "",
        "accelerator": "cpu",
        "index": 0,
        "name": f"recorded {device}",
        "identity": f"recorded:{device}",
        "memory_mb": device_memory_mb(device, seed),
        "driver": "6.1.0",
        "environment": {},
    }


def make_inventory(plan: Plan, device: str, seed: int) -> dict[str, Any]:
    """What an inventory adds to it."""
    times = [drawn(0.9, 1.1, "reference", device, number, seed) for number in range(4)]
    peak = drawn(50, 500, "peak", device, seed)
    taken = {"status": "ok", "reason": "", "runtime_version": "1.0", "reference_ms": times}
    return {
        "device": device,
        "runtimes": {runtime: taken for runtime in plan.runtimes_of(device)},
        "peaks": {"matmul_float32_gflops": peak, "memory_copy_gb_s": peak / 10},
        "sensors": [],
        "sensors_unread": [],
    }


def make_card(model: str, seed: int) -> dict[str, Any]:
    """A model's card, by which fingerprints tell weights and inputs apart."""
    return {
        "schema_version": 1,
        "status": "ok",
        "reason": "",
        "name": model,
        "weights_sha256": fingerprint("weights", model, seed),
        "evaluation_sha256": fingerprint("evaluation", model, seed),
        "reference_accuracy": 0.95,
    }


def npz(**arrays: np.ndarray) -> bytes:
    """The content of a file of arrays."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def write(directory: Path, place: str, content: Any) -> None:
    """Write a file where a run has it: `directory` stands for `results`."""
    path = directory / place.removeprefix("results/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, bytes):
        content = (json.dumps(content, indent=1) + "\n").encode()
    path.write_bytes(content)
