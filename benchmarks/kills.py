"""Is anything lost when a sweep is killed? So many times, at random moments, in turn each of what can die.

    python -m benchmarks.kills [--kills 50] [--seed 0] [--everything]

A small sweep of recorded results (`HWFIT_RECORDED`: real supervisors, locks, attempts and records) is begun,
one of its processes is killed with -9 or its disk is filled, and it is run again as a user would. The table
must then be that of a sweep that nobody disturbed, with nothing measured twice but the batch size at work.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from kills import TABLE, VICTIMS, Killing, kill_and_run_again, make_sweep, small_disk


def run(kills: int, seed: int, directory: Path, targets: tuple[str, ...]) -> dict[str, object]:
    """Kill so often; raises AssertionError where something is lost."""
    unbroken = make_sweep(directory / "unbroken", directory / "recorded", targets)
    started = time.monotonic()
    unbroken.run()
    lasts_s = time.monotonic() - started
    found: list[Killing] = []
    for number in range(kills):
        victim = VICTIMS[number % len(VICTIMS)]
        with contextlib.ExitStack() as stack:
            place = directory / f"kill-{number}"
            if victim == "disk":
                place = stack.enter_context(small_disk(place))
            sweep = make_sweep(place / "a sweep", unbroken.recorded, targets)
            found.append(kill_and_run_again(sweep, victim, unbroken, lasts_s, seed + number))
        print(f"{number + 1} of {kills}: {found[-1]}", flush=True)
    return {
        "kills": {victim: sum(each.victim == victim for each in found) for victim in VICTIMS},
        "an unbroken sweep_s": lasts_s,
        "median moment_s": statistics.median(each.after_s for each in found),
        "measured again": sum(each.again for each in found),
        "lost": 0,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--everything", action="store_true", help="up to the report and MLflow, not the table alone"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        targets = ("all",) if asked.everything else (TABLE,)
        print(json.dumps(run(asked.kills, asked.seed, Path(directory), targets), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
