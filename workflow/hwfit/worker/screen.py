"""The short look of the guided search: enough to see which cells cannot win, and no more.

Of each batch size the first call, a moment of warm-up and a moment of timed calls; accuracy and fidelity at
one batch size alone, since they hardly change with it. No energy, no memory, no look for outputs that are
remembered: what goes on is measured in full. Beside a full measurement's seconds this takes tenths.

The largest batch size comes first. Where its first call takes as long as compiling does, it is the only one:
what it takes in proportion is a bound on the smaller ones.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from typing import Any

from hwfit.records import Profile, without_non_finite
from hwfit.worker import outputs, scenarios
from hwfit.worker.job import Job
from hwfit.worker.load_monitor import LoadMonitor
from hwfit.worker.profile import Bench, Evaluation, write_samples
from hwfit.worker.sampling import StoppingRule
from hwfit.worker.scenarios import Scenario
from hwfit.worker.scenarios.server import Server, predicted_rate

# Of slow calls so many are timed, whatever they take.
LEAST_SAMPLES = 3
# Distinct inputs that the calls take in turn.
INPUTS = 2
# A first call that takes so long, and so many times as long as a later one, has compiled.
LONG_SECONDS, LONG_RATIO = 2.0, 5.0


class Screen(Bench):
    """An open session that is looked at for a moment."""

    job: Job
    # Why no further batch size is looked at.
    enough = ""

    @staticmethod
    def ordered(batch_sizes: Sequence[int]) -> list[int]:
        return sorted(batch_sizes, reverse=True)

    def measure(self, batch_size: int) -> Profile:
        """Look at one batch size. Raises what `Bench.measure` raises."""
        session, job = self.session, self.job
        if self.enough:
            return job.profile(batch_size, "skipped", self.enough, context=self.context)
        began = time.perf_counter()
        # Of all of it, since the host's counters are too coarse for the timed calls alone.
        with LoadMonitor(session.processes()) as load:
            session.forget_compiled()
            data = self.read_data()
            batches = data.buffers(batch_size)[:INPUTS]
            placed = [session.place(batch) for batch in batches]
            output, first_call_s = self.timed_run(placed[0])
            self.require_placement(output)
            self.context["threads"] = session.threads()
            is_evaluated = job.round == 0 and batch_size == job.measurement["evaluated_batch_size"]
            evaluation = self.evaluate(data, batch_size, keep=len(placed)) if is_evaluated else Evaluation()
            expected = evaluation.outputs or [session.fetch(output)]
            earlier = [first_call_s, *evaluation.seconds]
            for inputs in placed[len(expected) :]:
                output, seconds = self.timed_run(inputs)
                expected.append(session.fetch(output))
                earlier.append(seconds)
            scenario = scenarios.load(job.cell.scenario)(job, session, batches, placed, expected, self.alive)
            seconds = job.measurement["screen_seconds"]
            scenario.warm_up(seconds, earlier)
            figures, details = self.look(scenario, batch_size, seconds)
        if first_call_s > max(LONG_SECONDS, LONG_RATIO * (figures["latency_p50_ms"] or 0.0) / 1e3):
            self.enough = (
                f"only looked at with batch size {batch_size}: its first call took {first_call_s:.3g} s"
            )
        metrics = figures | {
            "first_call_ms": first_call_s * 1e3,
            "load_s": self.load_s,
            "model_size_mb": self.model_size_bytes / 1e6,
            "wall_s": time.perf_counter() - began,
        }
        return job.profile(
            batch_size,
            "ok",
            metrics=without_non_finite(metrics | evaluation.figures),
            flags=load.flags(),
            context=self.context,
            details={
                "import_s": self.import_s,
                "is_evaluated": is_evaluated,
                "conditions": load.figures(),
            }
            | details
            | evaluation.details,
        )

    def look(
        self, scenario: Scenario, batch_size: int, seconds: float
    ) -> tuple[dict[str, float | None], dict[str, Any]]:
        """What a moment of calls says: metrics, and details of the record."""
        if isinstance(scenario, Server):
            return server_figures(scenario)
        rule = StoppingRule(1.0, seconds, seconds, least_samples=LEAST_SAMPLES)
        gc.disable()
        try:
            series = scenario.sample(rule)
        finally:
            gc.enable()
        for got, wanted in series.answers:
            outputs.require_same(got, wanted)
        samples_path = self.job.path(batch_size).with_suffix(".npz")
        digest = write_samples(samples_path, [series.durations], series.arrays)
        # What so few calls do not prove is no doubt of a record that promises nothing.
        figures, _, details = scenario.figures(series)
        figures |= {
            "throughput_samples_per_s": series.throughput,
            "samples": len(series.durations),
            "measured_s": series.measured_s,
        }
        return figures, details | series.details | {
            "samples_file": samples_path.name,
            "samples_sha256": digest,
        }


def server_figures(scenario: Server) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Of a server, the rate that a simulated queue predicts from the time of its calls: to try rates takes
    minutes.
    """
    rate = predicted_rate(scenario.call_s, scenario.limits_s)
    called = {str(size): seconds * 1e3 for size, seconds in scenario.call_s.items()}
    figures: dict[str, float | None] = {
        "latency_p50_ms": scenario.call_s[scenario.sizes[0]] * 1e3,
        "throughput_samples_per_s": rate or None,
    }
    return figures, {"predicted_rate_per_s": rate, "call_ms": called}
