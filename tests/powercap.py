"""A processor that is not there: a powercap tree whose package draws known watts, and what a session adds."""

from __future__ import annotations

import threading
import time
from pathlib import Path

STEP_SECONDS = 0.001


class Package:
    """Context manager: one package under a root that $HWFIT_POWERCAP names, idle at so many watts.

    Its counter is written anew each millisecond, as real ones are, and after each call.
    """

    def __init__(self, root: Path, idle_w: float) -> None:
        self.zone = root / "intel-rapl:0"
        self.zone.mkdir(parents=True)
        (self.zone / "name").write_text("package-0\n")
        (self.zone / "max_energy_range_uj").write_text("262143328850\n")
        self.idle_w, self.spent_j = idle_w, 0.0
        self.is_over, self.lock = threading.Event(), threading.Lock()
        self.thread = threading.Thread(target=self.count)
        self.begun = time.perf_counter()
        self.write()

    def spend(self, joules: float) -> None:
        """Let a call cost so much; the counter knows at once."""
        self.spent_j += joules
        self.write()

    def write(self) -> None:
        """Bring the counter up to now; renamed, so that no reader finds it empty."""
        with self.lock:
            joules = self.idle_w * (time.perf_counter() - self.begun) + self.spent_j
            fresh = self.zone / "fresh"
            fresh.write_text(f"{1e6 * joules:.0f}\n")
            fresh.replace(self.zone / "energy_uj")

    def count(self) -> None:
        while not self.is_over.wait(STEP_SECONDS):
            self.write()

    def __enter__(self) -> Package:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.is_over.set()
        self.thread.join()
