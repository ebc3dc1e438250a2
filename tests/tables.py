"""Small factories for what a run leaves behind: a table, a recommendation, inventories, a plan."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from hwfit.records import COLUMNS

# Made-up but plausible: milliseconds a sample at a large batch, overhead a call, and how a runtime compares.
MODELS = {
    "efficientnet-lite0": ("classification", 9.5, 6.0, None),
    "minilm": ("embedding", 5.2, 3.1, None),
    "lenet-5": ("classification", 0.02, 0.11, 0.9752),
}
RUNTIMES = {"torch": ("2.13.0", 1.0), "tensorflow": ("2.21.0", 1.12), "mindspore": ("2.8.0", 1.35)}
OPTIMIZATIONS = {
    "baseline": (1.0, 0.0),
    "bf16": (0.55, 0.004),
    "int8": (0.62, 0.024),
    "prune50": (1.01, 0.011),
}
SPEEDS = {"cpu": 1.0, "gpu0": 0.08, "tpu0": 0.11}
IDENTITY = ("model", "device", "runtime", "optimization", "scenario", "batch_size")


def make_table(
    *,
    models: tuple[str, ...] = tuple(MODELS),
    devices: tuple[str, ...] = ("cpu",),
    absent: tuple[str, ...] = ("gpu0",),
    runtimes: tuple[str, ...] = tuple(RUNTIMES),
    optimizations: tuple[str, ...] = tuple(OPTIMIZATIONS),
    batch_sizes: tuple[int, ...] = (1, 8, 32),
    seed: int = 0,
) -> pd.DataFrame:
    """A table of the product of the lists, with rows of every verdict and several statuses."""
    random = np.random.default_rng(seed)
    product = itertools.product(models, (*devices, *absent), runtimes, optimizations, batch_sizes)
    rows = [
        make_row(model, device, runtime, optimization, batch, device in absent, random)
        for model, device, runtime, optimization, batch in product
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for _, group in table[table["verdict"] == "dominated"].groupby("model"):
        table.loc[group["throughput_samples_per_s"].idxmax(), ["verdict", "reason"]] = ["chosen", ""]
    return table


def make_row(
    model: str,
    device: str,
    runtime: str,
    optimization: str,
    batch_size: int,
    is_absent: bool = False,
    random: np.random.Generator | None = None,
) -> dict[str, Any]:
    """One row; a device that is absent and int8 outside torch give rows without figures."""
    random = random or np.random.default_rng(0)
    task, per_sample, per_call, reference = MODELS.get(model, ("classification", 2.0, 1.0, 0.9))
    version, slowness = RUNTIMES.get(runtime, ("1.0", 1.1))
    row: dict[str, Any] = {
        "model": model,
        "task": task,
        "device": device,
        "device_name": f"Processor of {device}, 2 cores",
        "runtime": runtime,
        "runtime_version": version,
        "optimization": optimization,
        "scenario": "single_stream",
        "batch_size": batch_size,
        "status": "ok",
        "reason": "",
        "valid": True,
        "flags": "",
        "rounds": 3,
    }
    if is_absent:
        reason = f"no NVIDIA driver: nvidia-smi is not on the PATH ({device})"
        return row | {"status": "unavailable", "reason": reason, "valid": False, "verdict": "not_measured"}
    if optimization == "int8" and runtime != "torch":
        reason = f"quantize_dynamic works in torch, not in {runtime}"
        return row | {"status": "unsupported", "reason": reason, "valid": False, "verdict": "not_measured"}
    factor, lost = OPTIMIZATIONS.get(optimization, (0.8, 0.002))
    factor = max(factor, 0.9) if batch_size == 1 else factor
    p50 = (per_call + per_sample * batch_size * factor) * slowness * SPEEDS.get(device, 0.5)
    p50 *= float(random.uniform(0.97, 1.03))
    width = float(random.uniform(0.008, 0.03))
    fidelity = 1 - lost * float(random.uniform(0.6, 1.2))
    p90 = p50 * float(random.uniform(1.04, 1.15))
    row |= {
        "latency_p50_ms": p50,
        "latency_p50_ci_low_ms": p50 * (1 - width),
        "latency_p50_ci_high_ms": p50 * (1 + width),
        "latency_p90_ms": p90,
        "throughput_samples_per_s": 1000 * batch_size / (p50 * 1.01),
        "first_call_ms": p50 * 4,
        "load_s": 0.3,
        "samples": 180,
        "measured_s": 180 * p50 / 1000,
        "wall_s": 6.2,
        "peak_memory_mb": 310 + 4.1 * batch_size,
        "predicted_memory_mb": 320 + 4 * batch_size,
        "framework_memory_mb": 240.0,
        "working_memory_mb": 70 + 4.1 * batch_size - (9.3 if optimization == "bf16" else 18.6),
        "model_size_mb": 18.6 * (0.5 if optimization == "bf16" else 1),
        "parameters": 4_652_008,
        "nonzero_parameters": 2_326_004 if optimization == "prune50" else 4_652_008,
        "flops_per_sample": 7.7e8,
        "activation_mb_per_sample": 53.6,
        "number_format": "bf16" if optimization == "bf16" else "fp32",
        "bound": None if optimization == "bf16" else "memory",
        "utilization": None
        if optimization == "bf16"
        else min(1.0, 7.7e8 * batch_size / (p50 / 1000) / 1.4e11),
        "fidelity": fidelity,
        "relative_error": lost,
        "verdict": "dominated",
        "reason": "slower than the chosen row",
    }
    if reference is not None:
        row |= {"accuracy": reference - lost / 3, "accuracy_drop": lost / 3}
    if p90 > 100:
        row |= {"verdict": "rejected", "reason": f"p90 {p90:.0f} ms > 100 ms, over by {p90 - 100:.0f}%"}
    elif fidelity < 0.98:
        row |= {"verdict": "rejected", "reason": f"fidelity {fidelity:.3f} < 0.98"}
    elif random.random() < 0.05:
        row |= {"valid": False, "flags": "drift wide_interval", "verdict": "not_measured", "reason": "drift"}
    elif random.random() < 0.1:
        row |= {"flags": "p99_unproven"}
    return row


def as_csv_reads_it(table: pd.DataFrame, path: Any) -> pd.DataFrame:
    """The table after a round trip through combinations.csv."""
    table.to_csv(path, index=False)
    return pd.read_csv(path)


def plain(row: pd.Series) -> dict[str, Any]:
    """A row as recommendation.json holds it: no NaN."""
    return {name: None if value != value else value for name, value in row.items()}


def make_recommendation(table: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    """A recommendation that chooses the rows which the table calls chosen."""
    return {
        "schema_version": 1,
        "hwfit_version": "0.1.0",
        "sweep": "default",
        "generated_at": "2026-11-23T09:00:00Z",
        "objective": "throughput",
        "constraints": {"latency_p90_ms": 100.0, "max_accuracy_drop": 0.01, "min_fidelity": 0.98},
        "counts": {"combinations": len(table), "ok": int((table["status"] == "ok").sum())},
        "seconds_measured": 412.0,
        "models": [make_verdict(group) for _, group in table.groupby("model", sort=False)],
    } | changes


def make_verdict(rows: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    """The verdict on one model's rows."""
    best = rows.sort_values("throughput_samples_per_s", ascending=False)
    chosen = [plain(row) for _, row in best[best["verdict"] == "chosen"].iterrows()]
    others = [plain(row) for _, row in best[best["verdict"] == "dominated"].iterrows()]
    misses = [plain(row) for _, row in best[best["verdict"] == "rejected"].iterrows()]
    entry: dict[str, Any] = {
        "model": str(rows["model"].iloc[0]),
        "verdict": "chosen" if chosen else "none",
        "summary": "The best of what fits." if chosen else "Every combination breaks a limit.",
        "chosen": chosen[0] if chosen else None,
        "probability_best": 0.93 if chosen else None,
        "margin": None,
        "tied": [],
        "runner_up": others[0] if chosen and others else None,
        "nearest_misses": [] if chosen else misses[:3],
        "advice": "" if chosen else "Relaxing min_fidelity alone would let one in.",
        "limits": [],
        "launch": None,
    }
    if entry["runner_up"]:
        rates = [row["throughput_samples_per_s"] for row in (entry["chosen"], entry["runner_up"])]
        entry["margin"] = rates[0] / rates[1] - 1
    if chosen:
        text = f"p90 {chosen[0]['latency_p90_ms']:.3g} ms, 0.0% of 180 calls over 100 ms"
        entry["limits"] = [{"limit": "latency_p90_ms", "verdict": "met", "text": text, "overshoot": 0.0}]
        code = "import torch\n\ntorch.set_num_threads(2)\nmodel = load().to(torch.bfloat16).eval()\n"
        entry["launch"] = {"environment": "torch-cpu", "python": "results/environments/torch-cpu/bin/python"}
        entry["launch"]["code"] = code + f"outputs = model(batch)  # {chosen[0]['batch_size']} samples\n"
    return entry | changes


def make_sensitivity(row: dict[str, Any]) -> list[dict[str, Any]]:
    """One change of each kind, and a limit under which nothing fits."""
    empty: dict[str, Any] = {"unit": "", "then": None}
    return [
        empty
        | {"kind": "limit", "name": "latency_p90_ms", "current": 100.0, "at": 12.5, "direction": "tighter"}
        | {
            "unit": " ms",
            "then": row,
            "text": "It holds down to 12.5 ms; beyond it another row wins.",
        },
        empty
        | {"kind": "limit", "name": "min_fidelity", "current": 0.98, "at": 0.9999, "direction": "tighter"}
        | {"text": "The answer holds up to 0.9999; beyond it nothing fits."},
        empty
        | {"kind": "price", "name": "gpu0", "current": 2.0, "at": 0.75, "direction": "cheaper"}
        | {"then": row, "text": "Were gpu0 cheaper, another row would win."},
        empty
        | {"kind": "quality", "name": "max_accuracy_drop", "current": 0.003, "at": 0.01, "direction": "lower"}
        | {"text": "Its accuracy may fall by 0.7 points more before max_accuracy_drop (0.01) rejects it."},
        empty
        | {"kind": "limit", "name": "latency_p90_ms", "current": 100.0, "at": 120.4, "direction": "looser"}
        | {"unit": " ms", "then": row, "text": "With latency_p90_ms at 120.4 ms another row would win."},
    ]


def make_prices() -> list[dict[str, Any]]:
    """What two devices cost, of which one has no price, and below which price each wins."""
    row = {"runtime": "torch", "optimization": "baseline", "batch_size": 8, "as_cheap_below": None}
    wins = {"wins_below": 2.4, "wins_below_low": 2.3, "wins_below_high": 2.5}
    return [
        {"device": "cpu", "price_per_hour": 2.0, "cost_per_million": 3.21} | row | wins,
        {"device": "gpu0", "price_per_hour": None, "cost_per_million": None} | row | wins,
    ]


def make_set(recommendation: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A set of all models of a recommendation, on the device of their choices."""
    choices = [entry["chosen"] for entry in recommendation["models"] if entry["chosen"]]
    return {
        "name": "edge-box",
        "models": [entry["model"] for entry in recommendation["models"]],
        "verdict": "chosen",
        "device": "cpu",
        "probability_best": 0.97,
        "tied": [],
        "summary": "cpu serves all models within their limits.",
        "choices": choices,
        "others": [{"device": "gpu0", "reason": "no combination of minilm was measured on it"}],
    } | changes


def make_inventories() -> dict[str, dict[str, Any]]:
    """One device that is there, without a power sensor, and one that is not."""
    return {
        "cpu": {
            "device": "cpu",
            "accelerator": "cpu",
            "name": "Intel(R) Xeon(R) Processor, 2 cores",
            "memory_mb": 16_700.0,
            "identity": "cpu:host:Intel(R) Xeon(R) Processor:2",
            "driver": "6.1.0",
            "cpu_flags": ["amx_bf16", "avx2", "avx512f", "avx512_vnni"],
            "runtimes": {
                "torch": {"status": "ok", "runtime_version": "2.13.0"},
                "tensorflow": {"status": "ok", "runtime_version": "2.21.0"},
                "mindspore": {"status": "crashed", "reason": "Illegal instruction"},
            },
            "sensors": [],
            "peaks": {"matmul_float32_gflops": 142.7, "memory_copy_gb_s": 11.2},
            "status": "ok",
        },
        "gpu0": {"status": "unavailable", "reason": "no NVIDIA driver: nvidia-smi is not on the PATH"},
    }


def make_environments() -> dict[str, dict[str, Any]]:
    """An environment that was built, and one that was not."""
    packages = {"numpy": "2.4.6", "torch": "2.13.0", "typing_extensions": "4.16.0"}
    return {
        "torch-cpu": {"status": "ok", "reason": "", "python_version": "3.11.7", "packages": packages},
        "torch-cuda": {"status": "unavailable", "reason": "no NVIDIA driver", "packages": {}},
    }


def make_contexts() -> dict[str, dict[str, dict[str, int]]]:
    """Two runtimes with different numbers of threads, one of which saw its driver change."""
    same = {"host": {"node7": 36}, "kernel": {"6.1.0": 36}}
    return {
        "cpu · torch": same | {"threads": {"intra 2, inter 1": 36}, "driver": {"6.1.0": 30, "6.1.1": 6}},
        "cpu · tensorflow": same | {"threads": {"intra 2": 36}, "driver": {"6.1.0": 36}},
    }


def with_energy_and_cost(table: pd.DataFrame) -> pd.DataFrame:
    """The table with energy by a sensor, and the cost of a device of two dollars an hour."""
    measured = table["throughput_samples_per_s"].notna()
    rate = table["throughput_samples_per_s"]
    return table.assign(
        power_w=np.where(measured, 65.0, np.nan),
        energy_j_per_sample=65.0 / rate,
        idle_power_w=np.where(measured, 21.0, np.nan),
        energy_net_j_per_sample=44.0 / rate,
        energy_source=np.where(measured, "counter:rapl", None),
        energy_scope=np.where(measured, "package", None),
        cost_usd_per_million=2.0 / 3600 / rate * 1e6,
        cost_per_million=2.0 / 3600 / rate * 1e6,
        price_per_hour=np.where(measured, 2.0, np.nan),
        price_source=np.where(measured, "rented", None),
        currency=np.where(measured, "USD", None),
    )


def make_plan() -> dict[str, Any]:
    """A plan whose tracking address holds a password, which no report may show."""
    config: dict[str, Any] = {
        "sweep": "default",
        "matrix": [{"models": list(MODELS), "devices": ["cpu"], "batch_sizes": [1, 8, 32]}],
        "measurement": {"relative_ci": 0.02, "max_seconds": 5},
        "tracking": {"uri": "https://someone:secret-word@mlflow.example/", "experiment": "hwfit"},
    }
    return {"study": {"config": config}, "combinations": []}
