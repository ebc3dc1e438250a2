"""Sweeps to search in: what every process of every combination gives, by simulation and by reports/examples.

Simulated sweeps draw runtimes, optimizations and devices as factors of a call's fixed part and its part a
sample; a cell's own factor; batch sizes beyond which a sample takes longer; outputs that are off, failures,
an optimization that compiles for seconds, tails, limits and objectives. Processes lie 15% apart, in half of
the sweeps as a fifth of slow ones. Recorded sweeps are those of reports/examples with such processes around.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.collect import Row, estimate_of, paces_of, spread_of_devices
from hwfit.records import Cell, Profile, fingerprint
from hwfit.search.records import Key

EXAMPLES = Path(__file__).parents[1] / "reports/examples"
SPREAD = 0.15
# Seconds until a runtime's process has its framework and a small model, as on two cores of an AMD EPYC.
START_S = {"torch": 1.6, "tensorflow": 4.5, "mindspore": 3.5, "onnxruntime": 0.8, "openvino": 0.8}
# A fork of one that has it, with the model.
FORK_S = 0.2
# Timed seconds of a batch size, as often as in reports/examples, which ask for 2% within 3 s.
TIMED_S, TIMED_SHARES = (1.0, 1.5, 2.25, 3.0), (0.25, 0.15, 0.15, 0.45)
# What a batch size takes beside its calls, in full and for a moment; calls beside the timed ones in full.
FULL_S, MOMENT_S, OTHER_CALLS = 0.2, 0.05, 14
SCREEN_S = 0.05
EVALUATION_SAMPLES = 64
SAMPLES = 400
OBJECTIVES: tuple[Any, ...] = (
    "throughput",
    "latency",
    "cost",
    {"throughput": 0.7, "latency": 0.3},
)


@dataclass(frozen=True)
class Truth:
    """What a combination is, whatever any process says.

    Attributes
    ----------
    tail : its 90th percentile over its median
    compile_s : of a first call
    """

    median_ms: float
    tail: float = 1.05
    fidelity: float = 1.0
    status: str = "ok"
    compile_s: float = 0.0


@dataclass
class Sweep:
    """A matrix with the truth of each combination, and what its processes give.

    `spent_s` adds up what each stage took since it was forgotten.
    """

    name: str
    truths: Mapping[Key, Truth]
    plan: dict[str, Any]
    is_bimodal: bool = False
    seed: int = 0
    spent_s: Counter[str] = field(default_factory=Counter)
    full: dict[tuple[Key, int], Profile] = field(default_factory=dict)

    @property
    def cells(self) -> dict[Cell, list[int]]:
        """Each cell with its batch sizes."""
        sizes: dict[Cell, list[int]] = {}
        for cell, size in self.truths:
            sizes.setdefault(cell, []).append(size)
        return sizes

    def random(self, *what: Any) -> np.random.Generator:
        """Chance that is the same whenever the same is asked for."""
        return np.random.default_rng(int(fingerprint(self.name, self.seed, *what)[:12], 16))

    def process_factor(self, cell: Cell, process: str) -> float:
        """How much slower than usual one process is as a whole."""
        random = self.random(cell.path, process)
        if self.is_bimodal:
            return math.exp(random.normal(0, 0.04) + (0.3 if random.random() < 0.2 else 0.0))
        return math.exp(random.normal(0, SPREAD))

    def forget(self) -> None:
        """As if nothing had been measured."""
        self.spent_s, self.full = Counter(), {}

    def measure(self, cell: Cell, sizes: Iterable[int], round: int) -> None:
        """One round of full measurements in a process of its own."""
        took = START_S.get(cell.runtime, 2.0)
        slow = self.process_factor(cell, f"full {round}")
        for size in sizes:
            truth, random = self.truths[cell, size], self.random(cell.path, size, "full", round)
            took += FULL_S
            if truth.status == "ok":
                call_s = truth.median_ms * slow / 1e3
                evaluating_s = 0.0 if round else EVALUATION_SAMPLES / size * call_s
                timed_s = max(random.choice(TIMED_S, p=TIMED_SHARES), 5 * call_s)
                took += truth.compile_s + timed_s + evaluating_s + OTHER_CALLS * call_s
            self.full[(cell, size), round] = self.profile(cell, size, round, slow, random.normal(0, 0.01))
        self.spent_s["confirmation" if round else "full"] += took

    def look(self, cells: Mapping[Cell, Sequence[int]], round: int) -> dict[Cell, dict[int, list[Profile]]]:
        """A round of moments: one start for each target and model, a fork for each cell."""
        found: dict[Cell, dict[int, list[Profile]]] = {}
        starts = {(cell.device, cell.runtime, cell.model) for cell in cells}
        took = sum(START_S.get(runtime, 2.0) for _, runtime, _ in starts)
        for cell, sizes in cells.items():
            took += FORK_S
            slow = self.process_factor(cell, f"look {round}")
            for size in sorted(sizes, reverse=True):
                truth, random = self.truths[cell, size], self.random(cell.path, size, "look", round)
                profile = self.profile(cell, size, round, slow, random.normal(0, 0.06))
                is_evaluated = size == max(sizes) and round == 0
                profile.details["is_evaluated"] = is_evaluated
                found.setdefault(cell, {})[size] = [profile]
                took += MOMENT_S
                if truth.status == "ok":
                    call_s = truth.median_ms * slow / 1e3
                    took += truth.compile_s + 2 * call_s + max(SCREEN_S, call_s) + max(SCREEN_S, 3 * call_s)
                    took += is_evaluated * EVALUATION_SAMPLES / size * call_s
                    if truth.compile_s > 2:
                        for smaller in sorted(sizes)[:-1]:
                            named = asdict(cell) | {"batch_size": smaller, "round": round}
                            found[cell][smaller] = [Profile(**named, status="skipped")]
                        break
        self.spent_s["looks"] += took
        return found

    def profile(self, cell: Cell, size: int, round: int, slow: float, noise: float) -> Profile:
        """A record without samples."""
        truth = self.truths[cell, size]
        named = asdict(cell) | {"batch_size": size, "round": round}
        if truth.status != "ok":
            return Profile(**named, status=truth.status, reason="simulated")
        median_ms = truth.median_ms * slow * math.exp(noise)
        metrics: dict[str, float | None] = {
            "latency_p50_ms": median_ms,
            "throughput_samples_per_s": 1e3 * size / median_ms,
            "fidelity": truth.fidelity,
        }
        details = {"median_standard_error": 0.008}
        return Profile(**named, status="ok", metrics=metrics, details=details)

    def rows(self, confirming: Mapping[Key, list[int]]) -> list[Row]:
        """The rows of what was measured in full; what was not is skipped."""
        rows = []
        for (cell, size), truth in self.truths.items():
            first = self.full.get(((cell, size), 0))
            if first is None:
                rows.append(Row(cell, size, "skipped", "not measured"))
            elif first.status != "ok":
                rows.append(Row(cell, size, first.status, first.reason, first=first))
            else:
                again = [self.full[(cell, size), round] for round in confirming.get((cell, size), ())]
                rounds = again or [first]
                row = Row(cell, size, "ok", first=first, rounds=rounds, confirmed=bool(again))
                sigma = math.log(truth.tail) / 1.2816
                calls = self.random(cell.path, size, "calls").lognormal(0, sigma, SAMPLES)
                row.known_durations_ms = calls * float(np.mean([pace for pace in paces_of(row)]))
                rows.append(row)
        spreads = spread_of_devices(rows, {})
        for row in rows:
            if row.status == "ok":
                row.estimate = estimate_of(row, spreads[row.cell.device].moderated([paces_of(row)]))
        return rows


def plan_of(truths: Mapping[Key, Truth], decision: Mapping[str, Any], prices: Mapping[str, float]) -> dict:
    """The plan of a sweep, as far as searches and decisions look at it."""
    optimizations = dict.fromkeys(cell.optimization for cell, _ in truths)
    study = {
        "config": {
            "measurement": {"rounds": 1, "confirm_rounds": 3, "search": "guided"},
            "decision": dict(decision),
        },
        "models": {cell.model: {"task": "embedding"} for cell, _ in truths},
        "devices": {
            device: {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}, "price_per_hour": price}
            for device, price in prices.items()
        },
        "optimizations": {
            name: {"passes": [] if name == "baseline" else [{"pass": "channels_last"}]}
            for name in optimizations
        },
    }
    combinations = [asdict(cell) | {"batch_size": size, "status": "", "reason": ""} for cell, size in truths]
    return {"study": study, "combinations": combinations}


def simulated(seed: int) -> Sweep:
    """A sweep of chance; see the module."""
    random = np.random.default_rng(seed)
    devices = {f"device{k}": float(math.exp(random.normal(0, 0.7))) for k in range(random.integers(2, 5))}
    runtimes = random.choice(list(START_S), random.integers(3, 6), replace=False)
    optimizations = ["baseline", *(f"pass{k}" for k in range(random.integers(3, 9)))]
    sizes = [1, 2, 4, 8, 16, 32, 64, 128][: random.integers(5, 9)]
    sample_ms = math.exp(random.uniform(math.log(0.01), math.log(5)))
    fixed_ms = sample_ms * random.uniform(0.3, 8)
    compiling = optimizations[-1] if random.random() < 0.3 else ""
    speed = {name: math.exp(random.normal(0, 0.35)) for name in [*runtimes, *optimizations[1:]]}
    truths: dict[Key, Truth] = {}
    for device, factor in devices.items():
        for runtime in runtimes:
            for optimization in optimizations:
                cell = Cell("net", device, str(runtime), optimization, "single_stream")
                own = [math.exp(random.normal(0, 0.15)) for _ in range(2)]
                knee, bend = random.choice(sizes), random.choice([0.0, 0.0, random.uniform(0, 0.3)])
                lost = abs(random.normal(0, 0.006)) if random.random() < 0.8 else random.uniform(0.02, 0.2)
                failed = random.choice(["ok", "unsupported", "crashed"], p=[0.9, 0.08, 0.02])
                largest = "oom" if random.random() < 0.05 else "ok"
                for size in sizes:
                    beyond = max(0.0, math.log2(size / knee)) * bend
                    per_sample = sample_ms * speed[str(runtime)] * speed.get(optimization, 1.0) * own[0]
                    call_ms = fixed_ms * speed[str(runtime)] * own[1] + per_sample * size * (1 + beyond)
                    status = str(failed) if failed != "ok" or size < sizes[-1] else largest
                    truths[cell, int(size)] = Truth(
                        call_ms * factor,
                        1.02 + abs(random.normal(0, 0.1)),
                        1.0 if optimization == "baseline" else 1 - lost,
                        status,
                        float(random.uniform(3, 15)) if optimization == compiling else 0.0,
                    )
    objective = OBJECTIVES[seed % len(OBJECTIVES)]
    limits: dict[str, float] = {"min_fidelity": 0.98} if random.random() < 0.7 else {}
    medians = [truth.median_ms for truth in truths.values() if truth.status == "ok"]
    if medians and random.random() < 0.6:
        limits["latency_p90_ms"] = float(np.quantile(medians, random.uniform(0.3, 0.9)))
    decision = {"objective": objective, "constraints": limits}
    prices = {device: float(math.exp(random.normal(0, 0.5)) / factor) for device, factor in devices.items()}
    plan = plan_of(truths, decision, prices)
    return Sweep(f"simulated {seed}", truths, plan, is_bimodal=seed % 2 == 1, seed=seed)


def recorded(directory: Path = EXAMPLES, repeats: int = 4) -> list[Sweep]:
    """The sweeps of reports/examples, a model each, with processes of several chances around them."""
    sweeps = []
    for path in sorted(directory.glob("*/combinations.csv")):
        with path.open(newline="") as stream:
            lines = list(csv.DictReader(stream))
        for model in dict.fromkeys(line["model"] for line in lines):
            truths = {}
            for line in (line for line in lines if line["model"] == model):
                names = ("model", "device", "runtime", "optimization", "scenario")
                key = Cell(*(line[name] for name in names)), int(line["batch_size"])
                truths[key] = truth_of(line)
            if len({cell for cell, _ in truths}) < 5:
                continue
            limits = {"latency_p90_ms": 100.0, "min_fidelity": 0.98}
            for repeat in range(repeats):
                decision = {"objective": OBJECTIVES[repeat % len(OBJECTIVES)], "constraints": limits}
                plan = plan_of(truths, decision, {cell.device: 1.0 for cell, _ in truths})
                name = f"{path.parent.name} {model} {repeat}"
                sweeps.append(Sweep(name, truths, plan, is_bimodal=repeat % 2 == 1, seed=repeat))
    return sweeps


def truth_of(line: Mapping[str, str]) -> Truth:
    """What a recorded row says."""
    if line["status"] != "ok":
        return Truth(1.0, status=line["status"])
    median = float(line["latency_p50_ms"])
    tail = float(line["latency_p90_ms"] or median * 1.1) / median
    first_s = float(line["first_call_ms"] or 0) / 1e3
    compiles = first_s if first_s > 2 and first_s > 5 * median / 1e3 else 0.0
    return Truth(median, max(tail, 1.01), float(line["fidelity"] or 1), "ok", compiles)
