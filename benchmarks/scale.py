"""What a sweep of thousands of combinations costs beside its measurements: each step's time and memory.

    python -m benchmarks.scale [--combinations 1000 3000 10000] [--skip track] [--directory DIR]

The sweeps are recorded ones (tests/recordings.py) of ten models, each with a tenth of the rows. Every step is
the command that a user or a rule runs, in a process of its own; its memory is the largest resident set of
that process or of one that it started. `added` plans it with a batch size more, once all is there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
BATCH_SIZES = (1, 2, 4, 8, 16)
# Combinations: models, devices, runtimes, optimizations, each at five batch sizes.
SIZES = {1_000: (10, 1, 5, 4), 3_000: (10, 3, 5, 4), 10_000: (10, 4, 5, 10)}
SNAKEFILE = f"""
configfile: "config/config.yaml"

module hwfit:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config

use rule * from hwfit
"""
HWFIT, TABLE = (sys.executable, "-m", "hwfit"), "reports/combinations.csv"
PLAN = ("--plan", "results/plan.json")
DECISION = ("--table", TABLE, "--recommendation", "reports/recommendation.json")
PAGE = "reports/hardware-selection.html"
SNAKEMAKE = (sys.executable, "-m", "snakemake", "--cores", "2")
# Stands for the device with the most contenders.
BUSIEST = "BUSIEST"
STEPS: dict[str, tuple[str, ...]] = {
    "dry_run": (*SNAKEMAKE, "-n"),
    "plan": (*SNAKEMAKE, "--quiet", "all", "--", "results/plan.json"),
    "nominate": (
        *(*HWFIT, "nominate", *PLAN, "--first-looks", "results/first-looks.json"),
        *("--output", "results/contenders.json"),
    ),
    "confirm": (
        *(*HWFIT, "confirm", *PLAN, "--contenders", "results/contenders.json", "--device", BUSIEST),
        *("--output", f"results/confirmations/{BUSIEST}.json"),
    ),
    "decide": (*HWFIT, "decide", *PLAN, *DECISION),
    "archive": (*HWFIT, "archive", *PLAN, "--output", "reports/measurements.zip"),
    "report": (*HWFIT, "report", *PLAN, *DECISION, "--output", PAGE),
    "track": (*HWFIT, "track", *PLAN, *DECISION, "--report", PAGE, "--output", "results/tracking.json"),
}
# A process that starts one has its own memory counted in, until the new one has begun: this one has little.
WATCHED = """
import json, resource, subprocess, sys, time
started = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
seconds = time.monotonic() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
figures = {"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss * 1024 / 1e6}
print(json.dumps({"figures": figures, "status": done.returncode, "said": done.stdout}))
"""


def measure(
    directory: Path, combinations: Sequence[int] = tuple(SIZES), skip: Collection[str] = ()
) -> dict[str, Any]:
    """The seconds, those of the processor, and the MB of every step, and how they grow.

    Returns
    -------
    {"steps": {combinations: {step: {"seconds", "cpu_s", "peak_mb"}}}, "growth": {step: the exponent of the
    processor's time between the two largest sweeps, 1 for what is linear}, "page_mb": {combinations: of the
    report}}
    """
    steps, pages = {}, {}
    for count in combinations:
        place = directory / f"scale-{count}"
        steps[str(count)] = measure_sweep(place, SIZES[count], skip)
        pages[str(count)] = (place / PAGE).stat().st_size / 1e6
        shutil.rmtree(place)
    return {"steps": steps, "growth": growth(steps), "page_mb": pages}


def growth(steps: dict[str, dict[str, dict[str, Any]]]) -> dict[str, float]:
    """The exponent of each step's processor time between the two largest sweeps; none where there is one."""
    *_, (few, before), (many, after) = [("", {}), *steps.items()]
    return {
        step: math.log(after[step]["cpu_s"] / before[step]["cpu_s"]) / math.log(int(many) / int(few))
        for step in before
    }


def measure_sweep(place: Path, size: Sequence[int], skip: Collection[str]) -> dict[str, dict[str, Any]]:
    """Each step of one sweep, in its order."""
    shutil.rmtree(place, ignore_errors=True)
    for name in ("config", "results"):
        (place / name).mkdir(parents=True)
    (place / "Snakefile").write_text(SNAKEFILE)
    configure(place, *size)
    found = {"dry_run": watched(place, STEPS["dry_run"])}
    # A recording has the layout of what a run leaves behind.
    record(place, *size)
    for name, command in STEPS.items():
        if name not in found and name not in skip:
            device = busiest(place) if name == "confirm" else ""
            found[name] = watched(place, tuple(word.replace(BUSIEST, device) for word in command))
    watched(place, (*SNAKEMAKE, "--touch", "--quiet", "all"))
    configure(place, *size, batch_sizes=(*BATCH_SIZES, 32))
    found["added"] = watched(place, STEPS["dry_run"])
    return found


def busiest(place: Path) -> str:
    """The device with the most contenders."""
    contenders = json.loads((place / "results/contenders.json").read_text())
    return max(contenders, key=lambda device: len(contenders[device]))


def parts_of(*size: int, batch_sizes: tuple[int, ...] = BATCH_SIZES) -> dict[str, dict[str, Any]]:
    """The four parts of a study."""
    from tests.recordings import make_config

    limits = {"latency_p90_ms": 100.0, "max_accuracy_drop": 0.01}
    return make_config(*size, batch_sizes, decision={"objective": "throughput", "constraints": limits})


def configure(place: Path, *size: int, batch_sizes: tuple[int, ...] = BATCH_SIZES) -> None:
    """Write the study of a sweep."""
    for name, part in parts_of(*size, batch_sizes=batch_sizes).items():
        (place / "config" / f"{name}.yaml").write_text(yaml.safe_dump(part))


def record(place: Path, *size: int) -> None:
    """Write what the sweep's measurements would leave."""
    from tests.recordings import record as write_recording

    write_recording(parts_of(*size), place / "results")


def watched(place: Path, command: tuple[str, ...]) -> dict[str, Any]:
    """Run a command to its end; its seconds, those of the processor, its peak memory in MB, and of a plan its
    count of jobs.

    Raises RuntimeError with what it said where it fails.
    """
    variables = {
        "PYTHONPATH": str(ROOT / "workflow"),
        "HWFIT_RECORDED": str(place / "results"),
        "HWFIT_RECORDED_PACE": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *command],
        cwd=place,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    if told["status"]:
        raise RuntimeError(f"{' '.join(command)} failed:\n{told['said'][-4000:]}")
    jobs = re.findall(r"^total\s+(\d+)$", told["said"], re.MULTILINE)
    return told["figures"] | ({"jobs": int(jobs[-1])} if jobs else {})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--combinations", type=int, nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--skip", nargs="*", choices=STEPS, default=[], help="logging takes the longest")
    parser.add_argument("--directory", type=Path, default=ROOT / ".bench")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.directory.resolve(), asked.combinations, asked.skip), indent=1))


if __name__ == "__main__":
    main()
