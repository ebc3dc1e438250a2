"""`make bench`: every figure of benchmarks/README.md, measured in one run on a quiet machine.

    python -m benchmarks [observer cost peer loadgen runtimes aa …] --directory DIR

Without names, all of them. Results go to benchmarks/results.json, those not run again stay.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.stats import beta

from benchmarks import guided as guided_search
from benchmarks import halving as halving_replay
from benchmarks import memory as memory_prediction
from benchmarks import scale as recorded_sweeps
from benchmarks import sweeps
from benchmarks import tracking as tracking_rate
from benchmarks import training as training_overhead
from benchmarks.project import CELL, LENGTHS, ROOT, RUNTIMES, Project
from hwfit.decide import TIE_SHARE
from hwfit.layout import model_directory
from hwfit.records import Cell, read_json, write_json
from hwfit.uncertainty import draws, estimate, pooled_spread

RESULTS = Path(__file__).with_name("results.json")
PROCESSES = 10
PROCESSES_A_RUNTIME = 6
BARE_SECONDS = 3.0
# Told apart from itself more often than this, a combination fails the A/A benchmark.
AA_RATE = 0.05
PAIRS = 200
AA_PROCESSES = 36
ROUNDS = 3
PEER_PACKAGES = ["optimum-benchmark==0.6.0", "transformers==4.55.4", "datasets==3.6.0"]
REPEATED = {
    "matrix": {
        "models": ["mlp", "lenet-5", "efficientnet-lite0", "minilm"],
        "devices": ["cpu"],
        "runtimes": ["torch", "onnxruntime", "openvino"],
        "optimizations": ["baseline", "bf16"],
        "batch_sizes": [1, 8],
    },
    "measurement": {"max_seconds": 4},
    "decision": {"constraints": {"min_fidelity": 0.95}},
}
ONNX_CELL = Cell("bert", "cpu", "onnxruntime", "baseline", "single_stream")


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """The ratio of medians of interleaved processes, with a 95% bootstrap interval over processes."""
    generator = np.random.default_rng(0)
    pairs = generator.integers(len(ours), size=(4000, len(ours)))
    ratios = np.median(np.array(ours)[pairs], axis=1) / np.median(np.array(theirs)[pairs], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return {"ratio": float(np.median(ours) / np.median(theirs)), "low": float(low), "high": float(high)}


def interleaved(
    project: Project, other: Callable[[int], dict[str, float]], cell: Cell = CELL
) -> dict[str, Any]:
    """hwfit and another program on the same model, process by process in random order."""
    found: dict[str, Any] = {}
    order = random.Random(0)
    for batch in (1, 8):
        ours: dict[str, list[float]] = {"p50": [], "p90": []}
        theirs: dict[str, list[float]] = {"p50": [], "p90": []}

        def measure(batch: int = batch, ours: dict[str, list[float]] = ours) -> None:
            project.measure(1, [batch], cell)
            samples = project.samples_ms(1, batch, cell)
            ours["p50"].append(float(np.median(samples)))
            ours["p90"].append(float(np.quantile(samples, 0.9)))

        def run(batch: int = batch, theirs: dict[str, list[float]] = theirs) -> None:
            figures = other(batch)
            theirs["p50"].append(figures["p50_ms"])
            theirs["p90"].append(figures["p90_ms"])

        for number in range(PROCESSES):
            steps = [measure, run]
            order.shuffle(steps)
            for step in steps:
                step()
            print(f"batch {batch}, process {number + 1} of {PROCESSES}", flush=True)
        figures: dict[str, Any] = {"hwfit": ours, "other": theirs}
        found[f"batch {batch}"] = {q: ratio(ours[q], theirs[q]) for q in ("p50", "p90")} | {"ms": figures}
    return found


def observer(project: Project) -> dict[str, Any]:
    """(a) What measuring with hwfit does to what is measured."""
    return interleaved(project, lambda batch: project.script("bare_loop.py", str(batch), str(BARE_SECONDS)))


def loadgen(project: Project) -> dict[str, Any]:
    """(d) Agreement with MLPerf LoadGen on the same ONNX file: SingleStream's percentiles, Offline's rate."""
    project.prepare(ONNX_CELL)
    file = project.weights(ONNX_CELL)

    def run(scenario: str, batch: int) -> dict[str, float]:
        return project.script(
            "load_generator.py", str(file), scenario, str(batch), str(BARE_SECONDS), runtime="onnxruntime"
        )

    found = interleaved(project, lambda batch: run("SingleStream", batch), ONNX_CELL)
    offline = replace(ONNX_CELL, scenario="offline")
    for batch in (1, 8):
        ours, theirs = [], []
        for _ in range(PROCESSES):
            row = project.measure(1, [batch], offline).profiles[batch]
            ours.append(row.metrics["throughput_samples_per_s"])
            theirs.append(run("Offline", batch)["samples_per_s"])
        found[f"batch {batch}"]["offline samples/s"] = ratio(ours, theirs)
        print(f"offline, batch {batch}", found[f"batch {batch}"]["offline samples/s"], flush=True)
    return found


def cost(project: Project) -> dict[str, Any]:
    """(c) What a cell and a batch size cost beside their timed calls, and a cell's wall time."""
    found = {}
    for name, round, sizes in (
        ("first look, 2 batch sizes", 0, [1, 8]),
        ("first look, 5 batch sizes", 0, [1, 2, 4, 8, 16]),
        ("later round, 2 batch sizes", 1, [1, 8]),
        ("later round, 5 batch sizes", 1, [1, 2, 4, 8, 16]),
    ):
        rounds = [project.measure(round, sizes) for _ in range(5)]
        rows = [p for r in rounds for p in r.profiles.values()]
        batch_s = [(p.metrics["wall_s"] or 0) - (p.metrics["measured_s"] or 0) for p in rows]
        whole = [r.wall_s - sum(p.metrics["wall_s"] or 0 for p in r.profiles.values()) for r in rounds]
        found[name] = {
            "wall_s": float(np.median([r.wall_s for r in rounds])),
            "fixed_s_a_cell": float(np.median(whole)),
            "fixed_s_a_batch_size": float(np.median(batch_s)),
            "measured_s": float(np.median([r.wall_s - r.fixed_s for r in rounds])),
        }
        print(name, found[name], flush=True)
    return found


def peer(project: Project) -> dict[str, Any]:
    """(b) The nearest peer on the same model: its wall time for two combinations, and its distance."""
    home = project.directory / "peer"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        torch = next(
            line for line in (ROOT / "envs/torch-cpu.txt").read_text().split() if line.startswith("torch==")
        )
        subprocess.run([python, "-m", "pip", "install", "--quiet", torch], check=True)
        for package in PEER_PACKAGES:
            # Each drags in versions that the next one replaces, and pip complains.
            subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=False)
        (home / "complete").write_text("")
    done = subprocess.run(
        [python, Path(__file__).with_name("peer.py"), home / "bert", "1", "8"],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    bare = {batch: project.script("bare_loop.py", batch, str(BARE_SECONDS)) for batch in ("1", "8")}
    ours = project.measure(0, [1, 8])
    for batch, figures in found.items():
        for q in ("p50", "p90"):
            figures[f"{q} over the bare loop's"] = figures[f"{q}_ms"] / bare[batch][f"{q}_ms"]
    return {"peer": found, "bare loop": bare, "hwfit_wall_s": ours.wall_s} | {
        "peer_wall_s": sum(figures["wall_s"] for figures in found.values())
    }


def runtimes(project: Project) -> dict[str, Any]:
    """(f) hwfit beside a loop written by hand in each runtime, on DenseNet-121 and MiniLM at batch size 1."""
    cells = [
        Cell(model, "cpu", runtime, "baseline", "single_stream")
        for model in ("densenet121", "minilm")
        for runtime in RUNTIMES[model]
    ]
    columns = {"p50_ms": "latency_p50_ms"}
    found = beside_loops(project, cells, columns, bare_runtime)
    return {f"{cell.model} in {cell.runtime}": figures["p50_ms"] for cell, figures in found.items()}


def turns(project: Project) -> dict[str, Any]:
    """(f) The same, with hwfit's session and the loop in one process, taking turns call by call."""
    found = {}
    for model in ("densenet121", "minilm"):
        for runtime in RUNTIMES[model]:
            cell = Cell(model, "cpu", runtime, "baseline", "single_stream")
            project.prepare(cell)
            directory = str(project.directory / model_directory(model))
            runs = [bare_runtime(project, cell, directory) for _ in range(PROCESSES_A_RUNTIME)]
            sides = {
                "hwfit": [run["session_p50_ms"] for run in runs],
                "bare": [run["p50_ms"] for run in runs],
            }
            found[f"{model} in {runtime}"] = paired_ratio(**sides) | {"ms": sides}
            print(f"{model} in {runtime}", found[f"{model} in {runtime}"], flush=True)
    return found


def paired_ratio(hwfit: list[float], bare: list[float]) -> dict[str, float]:
    """The median over processes of the ratio within one, with a 95% bootstrap interval over processes."""
    ratios = np.array(hwfit) / np.array(bare)
    chosen = np.random.default_rng(0).integers(len(ratios), size=(4000, len(ratios)))
    low, high = np.quantile(np.median(ratios[chosen], axis=1), [0.025, 0.975])
    return {"ratio": float(np.median(ratios)), "low": float(low), "high": float(high)}


def generation(project: Project) -> dict[str, Any]:
    """(g) A language model's writing beside a loop written by hand in each runtime: one prompt of 128 tokens
    is read, 32 tokens are written.
    """
    cells = [Cell("smollm2", "cpu", runtime, "baseline", LENGTHS.scenario) for runtime in RUNTIMES["smollm2"]]
    columns = {"first_token_ms": "time_to_first_token_ms", "token_ms": "time_per_output_token_ms"}
    found = beside_loops(project, cells, columns, bare_generation)
    return {cell.runtime: figures for cell, figures in found.items()}


def beside_loops(
    project: Project,
    cells: list[Cell],
    columns: Mapping[str, str],
    bare: Callable[[Project, Cell], dict[str, float]],
) -> dict[Cell, dict[str, Any]]:
    """hwfit at batch size 1 and a loop written by hand, cell by cell within a turn, so that a machine that
    wanders does so under all of them.

    Parameters
    ----------
    columns : what the loop calls a figure, and the metric that hwfit has of it
    """
    for cell in cells:
        project.prepare(cell)
    ours: dict[Cell, list[dict[str, Any]]] = {cell: [] for cell in cells}
    theirs: dict[Cell, list[dict[str, Any]]] = {cell: [] for cell in cells}
    order = random.Random(0)
    for number in range(PROCESSES_A_RUNTIME):
        for cell in order.sample(cells, len(cells)):
            steps = [
                lambda cell=cell: ours[cell].append(project.measure(1, [1], cell).profiles[1].metrics),
                lambda cell=cell: theirs[cell].append(bare(project, cell)),
            ]
            order.shuffle(steps)
            for step in steps:
                step()
        print(f"process {number + 1} of {PROCESSES_A_RUNTIME}", flush=True)
    found: dict[Cell, dict[str, Any]] = {cell: {} for cell in cells}
    for cell in cells:
        for name, column in columns.items():
            figures = {
                "hwfit": [run[column] for run in ours[cell]],
                "bare": [run[name] for run in theirs[cell]],
            }
            found[cell][name] = ratio(figures["hwfit"], figures["bare"]) | {"ms": figures}
    return found


def bare_runtime(project: Project, cell: Cell, *beside: str) -> dict[str, float]:
    """The median time of a call, by a loop written by hand; with the model's directory also by hwfit's
    session in the same process.
    """
    evaluation = project.directory / model_directory(cell.model) / "evaluation.npz"
    arguments = (cell.runtime, cell.model, str(project.weights(cell)), str(evaluation), str(BARE_SECONDS))
    return project.script("bare_runtime.py", *arguments, *beside, runtime=cell.runtime)


def bare_generation(project: Project, cell: Cell) -> dict[str, float]:
    """Medians of a loop written by hand, in ms."""
    directory = str(project.directory / model_directory(cell.model))
    sizes = (str(size) for size in (BARE_SECONDS, 1, LENGTHS.prompt_tokens, LENGTHS.output_tokens))
    arguments = (cell.runtime, cell.model, str(project.weights(cell)), directory, *sizes)
    return project.script("bare_generation.py", *arguments, runtime=cell.runtime)


def repeat(project: Project) -> dict[str, Any]:
    """(h) Two sweeps of one config: whether they name the same winner, or winners of one tie."""
    answers = []
    for number in (1, 2):
        directory = project.directory / f"repeat{number}"
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "config").mkdir(parents=True)
        shutil.copy(project.directory / "Snakefile", directory)
        (directory / "config" / "config.yaml").write_text(yaml.safe_dump(REPEATED))
        project.snakemake("reports/recommendation.json", directory=directory)
        answers.append(read_json(directory / "reports" / "recommendation.json")["models"])
    found = {}
    for first, second in zip(*answers, strict=True):
        ties = [{key_of(line) for line in (one["chosen"], *one["tied"])} for one in (first, second)]
        winners = [key_of(one["chosen"]) for one in (first, second)]
        found[first["model"]] = {
            "winners": winners,
            "probability_best": [one["probability_best"] for one in (first, second)],
            "same": winners[0] in ties[1] and winners[1] in ties[0],
        }
    return found


def key_of(line: Mapping[str, Any]) -> str:
    """Names a row of the table."""
    return "/".join(str(line[name]) for name in ("device", "runtime", "optimization", "batch_size"))


def told_apart(medians: list[float], errors: list[float]) -> int:
    """How many of PAIRS comparisons of two sides, drawn from the same processes, the decision decides."""
    generator = np.random.default_rng(0)
    different = 0
    for _ in range(PAIRS):
        chosen = generator.permutation(len(medians))[: 2 * ROUNDS].reshape(2, ROUNDS)
        sides = [[medians[i] for i in side] for side in chosen]
        spread = pooled_spread(sides)
        estimates = [
            estimate(side, [errors[i] for i in rows], spread)
            for side, rows in zip(sides, chosen, strict=True)
        ]
        times = draws(estimates, 4000, seed=0)
        leader = int(np.argmin([e.median_ms for e in estimates]))
        share = float((times[:, 1 - leader] <= times[:, leader]).mean())
        different += share < TIE_SHARE
    return different


def rate_lower_bound(different: int) -> float:
    """The lower 95% bound (Clopper and Pearson) of the rate at which PAIRS comparisons were told apart."""
    return float(beta.ppf(0.05, different, PAIRS - different + 1)) if different else 0.0


def aa(project: Project) -> dict[str, Any]:
    """(e) A combination against itself: how often the decision would call one better than the other.

    Each side is what the decision sees of a confirmed row: the medians of three fresh processes. Sides
    are drawn without replacement from the same processes, which are measured once.
    """
    medians, errors = [], []
    for number in range(AA_PROCESSES):
        profile = project.measure(1, [1]).profiles[1]
        medians.append(profile.pace_ms)
        errors.append(profile.details["median_standard_error"])
        print(f"A/A process {number + 1} of {AA_PROCESSES}", flush=True)
    different = told_apart(medians, errors)
    return {
        "pairs": PAIRS,
        "processes": AA_PROCESSES,
        "different": different,
        "rate": different / PAIRS,
        "rate_lower_95": rate_lower_bound(different),
        "spread_between_processes": float(np.std(np.log(medians), ddof=1)),
        "relative_error_within": float(np.median(errors)),
        "medians_ms": medians,
        "relative_errors": errors,
    }


def tracking(project: Project) -> dict[str, Any]:
    """(g) Runs a second into MLflow's SQLite store, beside MLflow's own client."""
    return tracking_rate.measure(project.directory)


def memory(project: Project) -> dict[str, Any]:
    """(j) Peak memory predicted from a model's card and its runtime's inventory, beside the measured one."""
    return memory_prediction.measure(project)


def training(project: Project) -> dict[str, Any]:
    """(k) Training by hwfit beside a loop written by hand, in each framework."""
    return training_overhead.measure(project)


def deep_compression(project: Project) -> dict[str, Any]:
    """(i) Deep Compression of the paper's networks on MNIST, beside the paper's figures."""
    found: dict[str, Any] = project.script("deep_compression.py", str(project.directory / "deep-compression"))
    return found


def halving(project: Project) -> dict[str, Any]:
    """(j) Successive halving against the whole grid of training, ten seeds, replayed from one training."""
    directory = project.directory / "halving"
    (directory / "config").mkdir(parents=True, exist_ok=True)
    shutil.copy(project.directory / "Snakefile", directory)
    study = {"sweep": "halving", "training": halving_replay.MATRIX}
    (directory / "config" / "config.yaml").write_text(yaml.safe_dump(study))
    project.snakemake("reports/training.csv", directory=directory)
    return halving_replay.compare_at_all_targets(
        halving_replay.read_curves(project.plan.study.devices, directory)
    )


def guided(project: Project) -> dict[str, Any]:
    """(k) Guided against exhaustive search, on simulated sweeps and on those of reports/examples."""
    return {
        "simulated": guided_search.compare(sweeps.simulated(seed) for seed in range(120)),
        "recorded": guided_search.compare(sweeps.recorded()),
    }


def scale(project: Project) -> dict[str, Any]:
    """(l) Time and memory of planning and deciding recorded sweeps of up to 10,000 combinations."""
    return recorded_sweeps.measure(project.directory)


BENCHMARKS = {
    "observer": observer,
    "cost": cost,
    "peer": peer,
    "loadgen": loadgen,
    "runtimes": runtimes,
    "turns": turns,
    "generation": generation,
    "repeat": repeat,
    "aa": aa,
    "memory": memory,
    "deep-compression": deep_compression,
    "halving": halving,
    "guided": guided,
    "tracking": tracking,
    "training": training,
    "scale": scale,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; all by default")
    parser.add_argument("--directory", type=Path, default=ROOT / ".bench")
    asked = parser.parse_args()
    project = Project(asked.directory.resolve())
    results = read_json(RESULTS) if RESULTS.exists() else {}
    probe = read_json(project.directory / "results/devices/cpu/probe.json")
    for name in asked.names or BENCHMARKS:
        results[name] = BENCHMARKS[name](project) | {"device": probe["name"], "kernel": platform.release()}
        write_json(RESULTS, results)
        print(
            json.dumps({k: v for k, v in results[name].items() if not isinstance(v, list)}, indent=1),
            flush=True,
        )
    if "aa" in (asked.names or BENCHMARKS) and results["aa"]["rate_lower_95"] > AA_RATE:
        print(f"A/A: more than {AA_RATE:.0%} of combinations are told apart from themselves", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
