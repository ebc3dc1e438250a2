"""The measuring worker: opens a cell's session once and measures its batch sizes in ascending order.

For each batch size: the first call, evaluation against the fp32 reference (the calls of which warm the
session up), warm-up until steady, sampling, then a check that the outputs of timed calls are those of
the evaluation; last the calls once more, under a power meter. Nothing else runs while a sample is taken;
garbage is collected before, not during.
"""

from __future__ import annotations

import functools
import gc
import io
import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from hwfit.records import (
    DISTURBANCE_FLAGS,
    Flag,
    Profile,
    bytes_sha256,
    without_non_finite,
    write_bytes,
    write_record,
)
from hwfit.worker import host, outputs, runtimes, sampling, scenarios
from hwfit.worker.child import is_out_of_memory, now
from hwfit.worker.conditions import Conditions, cpu_kernel
from hwfit.worker.energy import EnergyPass
from hwfit.worker.errors import Incorrect, Unavailable, Unsupported, lacking, require_space, writing
from hwfit.worker.evaluation_set import EvaluationSet
from hwfit.worker.generation.evaluation import LanguageEvaluation
from hwfit.worker.generation.text import TextSet
from hwfit.worker.job import Job, read_card, require_intact
from hwfit.worker.memory import SessionMemory, session_memory
from hwfit.worker.scenarios import Scenario, Series

WARM_UP_SECONDS = 5.0
REWARM_SECONDS = 0.1
# How much longer than usual the quickest call on inputs never seen before may take.
MEMORY_RATIO = 3.0
CONVICTING_CALLS = 16
# On an accelerator, the matrix product that tells whether it changed meanwhile.
REFERENCE_SIZE = 2048


def profile(job: Job, events: TextIO, kind: type[Bench] | None = None) -> None:
    """Measure every batch size of a job; writes a profile for each and says so on the pipe."""
    try:
        bench = (kind or Bench)(job, alive=lambda: say(events, "alive", 0))
    except Exception as error:
        status, reason = classify(error)
        for batch_size in job.batch_sizes:
            write(
                job, job.profile(batch_size, status, reason, started_at=now(), context=job.context()), events
            )
        return
    left = bench.ordered(job.batch_sizes)
    while left:
        batch_size = left.pop(0)
        say(events, "begin", batch_size)
        started_at = now()
        try:
            row = bench.measure(batch_size)
            row.started_at = started_at
            write(job, row, events)
        except Exception as error:
            status, reason = classify(error)
            more = {"started_at": started_at, "context": bench.context}
            details = {"traceback": traceback.format_exc().splitlines()[-20:]}
            write(job, job.profile(batch_size, status, reason, details=details, **more), events)
            if status == "oom":
                for larger in [size for size in left if size > batch_size]:
                    reason = f"implied by oom at {batch_size}"
                    write(job, job.profile(larger, "skipped", reason, **more), events)
                left = [size for size in left if size < batch_size]
            elif "cuda error" in str(error).lower():
                # Whatever else this process asks of the GPU fails with the same error: a new one goes on.
                return


class Bench:
    """An open session with the model's evaluation set."""

    def __init__(self, job: Job, alive: Callable[[], None] = lambda: None) -> None:
        self.job = job
        self.alive = alive
        self.card = read_card(job.model_directory)
        for directory in {job.model_directory, *job.weights_directories}:
            require_intact(directory)
        started = time.perf_counter()
        runtime = runtimes.load(job.cell.runtime)
        described = runtime.describe(job.accelerator, job.index)
        imported = time.perf_counter()
        self.framework_bytes = host.process_memory().now_bytes
        self.session = runtime.open_session(
            runtimes.Request(
                source=job.source,
                task=job.task,
                weights=job.weights_directory if job.members else job.weights_files[0],
                card=self.card,
                accelerator=job.accelerator,
                index=job.index,
                passes=job.passes,
                threads=job.threads,
                output_tokens=job.lengths[1] if job.lengths else None,
                members=job.members,
            )
        )
        self.load_s = time.perf_counter() - imported
        self.model_size_bytes = self.session.model_size_bytes()
        self.language = LanguageEvaluation(self.session, self.card, self.tolerance, alive)
        if job.accelerator == "cpu":
            kernel = cpu_kernel()
            self.make_reference: Callable[[], Callable[[], Any]] = lambda: kernel
        else:
            self.make_reference = functools.partial(
                runtime.matmul_kernel, job.accelerator, job.index, "float32", REFERENCE_SIZE, REFERENCE_SIZE
            )
        self.import_s = imported - started
        # What the framework and the model hold stays: later collections need not look at it again.
        gc.collect()
        gc.freeze()
        self.context = job.context() | {
            "runtime": described,
            "threads": self.session.threads(),
            "cores": sorted(os.sched_getaffinity(0)),
            "numa_nodes": host.numa_nodes(),
            "governor": host.governor(),
            "host": platform.node(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        }
        identity = self.context["device"]["identity"]
        self.energy = EnergyPass(job, identity, self.session.processes(), alive)

    @staticmethod
    def ordered(batch_sizes: Sequence[int]) -> list[int]:
        """In which order they are measured: what runs out of memory says so of all that come after."""
        return sorted(batch_sizes)

    def measure(self, batch_size: int) -> Profile:
        """Measure one batch size. Raises Unsupported, Incorrect, and whatever the runtime raises."""
        session, job = self.session, self.job
        began = time.perf_counter()
        session.forget_compiled()
        data = self.read_data()
        batches = data.buffers(batch_size)
        placed = [session.place(batch) for batch in batches]
        output, first_call_s = self.timed_run(placed[0])
        self.require_placement(output)
        placement = session.placement()
        # Some runtimes know them only when they have compiled.
        self.context["threads"] = session.threads()
        # Accuracy does not change from process to process: the first round settles it.
        evaluation = self.evaluate(data, batch_size, keep=len(placed)) if job.round == 0 else Evaluation()
        expected = evaluation.outputs or [session.fetch(output)]
        earlier = [first_call_s, *evaluation.seconds]
        for inputs in placed[len(expected) :]:
            output, seconds = self.timed_run(inputs)
            expected.append(session.fetch(output))
            earlier.append(seconds)
        kind = scenarios.load(job.cell.scenario)
        scenario = kind(job, session, batches, placed, expected, self.alive)
        # The evaluation set is not the model's memory: it goes before the counter starts.
        del data, output, batches
        host.give_memory_back()
        host.reset_process_peak()
        session.reset_peak_memory()
        steady_after, is_steady = scenario.warm_up(WARM_UP_SECONDS, earlier)
        attempts = self.attempt_until_undisturbed(scenario)
        attempt = attempts[-1]
        series, memory = attempt.series, attempt.memory
        self.require_no_memory_of_inputs(batch_size, placed, series.call_s)

        figures, flags, details = scenario.figures(series)
        energy = self.energy.measure(scenario, series)
        flags += attempt.conditions.flags() + energy.flags
        if is_steady is None:
            said = f"only {steady_after} calls in {WARM_UP_SECONDS:g} s: too few to tell that it was over"
            flags.append(Flag("warm_up_unproven", said))
        elif not is_steady:
            flags.append(Flag("unsteady", f"times still fell after {WARM_UP_SECONDS:g} s of warm-up"))
        if placement and placement.elsewhere:
            named = ", ".join(f"{count} {operator}" for operator, count in placement.elsewhere.items())
            flags.append(Flag("fell_back", f"ran on the host: {named}", placement.share))
        if self.card.get("synthetic_inputs"):
            said = "inputs were generated from the model's signature, not taken from real data"
            flags.append(Flag("synthetic_inputs", said))
        weights = read_card(job.weights_directory)
        if (weights.get("calibration") or {}).get("is_evaluated"):
            said = "calibrated on samples that it is judged by: name others in models.yaml, `calibration`"
            flags.append(Flag("calibrated_on_evaluation", said))
        samples_path = job.path(batch_size).with_suffix(".npz")
        digest = write_samples(samples_path, [a.series.durations for a in attempts], series.arrays)
        activation_bytes = (self.card | weights).get("activation_bytes_per_sample")
        metrics = (figures | energy.figures) | {
            "throughput_samples_per_s": series.throughput,
            "samples": len(series.durations),
            "measured_s": series.measured_s,
            "first_call_ms": first_call_s * 1e3,
            "load_s": self.load_s,
            **memory.metrics(self.model_size_bytes),
            "model_size_mb": self.model_size_bytes / 1e6,
            "file_size_mb": file_size_mb(job.stored_files),
            "parameters": weights.get("parameters", self.card.get("parameters")),
            "nonzero_parameters": weights.get("nonzero_parameters", self.card.get("parameters")),
            "flops_per_sample": weights.get("flops_per_sample", self.card.get("flops_per_sample")),
            "activation_mb_per_sample": activation_bytes and activation_bytes / 1e6,
            "device_share": placement.share if placement else None,
            "wall_s": time.perf_counter() - began,
        }
        return job.profile(
            batch_size,
            "ok",
            metrics=without_non_finite(metrics | evaluation.figures),
            flags=flags,
            context=self.context,
            attempts=len(attempts),
            details={
                "import_s": self.import_s,
                "warm_up_calls": steady_after,
                "operators_elsewhere": dict(placement.elsewhere) if placement else {},
                "operators_by_format": session.precisions(),
                "pass_seconds": session.pass_seconds,
                "pass_facts": session.pass_facts,
                "artifact_steps": weights.get("steps", []),
                "samples_file": samples_path.name,
                "samples_sha256": digest,
                "memory_measure": memory.measure,
                "conditions": attempt.conditions.figures(),
                "attempts": [a.summary() for a in attempts],
                "energy": energy.details,
            }
            | details
            | evaluation.details
            | series.details
            | session.details(),
        )

    def attempt_until_undisturbed(self, scenario: Scenario) -> list[Attempt]:
        """Sample, and sample again where the machine was disturbed, as often as the config allows.

        Only what happened around the calls is ground for another attempt, never their times: to throw
        away what looks slow would be to choose the answer. All attempts are kept; the last one counts.
        """
        measurement = self.job.measurement
        rule = sampling.StoppingRule(
            measurement["relative_ci"],
            measurement["min_seconds"],
            measurement["max_seconds"],
            tuple((float(q), limit / 1e3) for q, limit in self.job.limits_ms.items()),
        )
        identity = self.context["device"]["identity"]
        attempts: list[Attempt] = []
        while len(attempts) <= measurement["repeats"]:
            self.alive()
            gc.collect()
            gc.disable()
            try:
                with Conditions(
                    self.make_reference, identity=identity, processes=self.session.processes()
                ) as conditions:
                    if self.job.accelerator not in ("cpu", "composite"):
                        # What the reference took of the device is not the model's; nor is what it pushed out.
                        self.session.reset_peak_memory()
                        scenario.warm_up(REWARM_SECONDS, [])
                    series = scenario.sample(rule)
                    memory = self.memory()
            finally:
                gc.enable()
            for got, wanted in series.answers:
                outputs.require_same(got, wanted)
            attempts.append(Attempt(series, conditions, memory))
            if not any(flag.code in DISTURBANCE_FLAGS for flag in conditions.flags()):
                break
        return attempts

    def memory(self) -> SessionMemory:
        """What the session took since its peaks were reset."""
        return session_memory(
            self.session, self.job.accelerator, self.context["device"]["identity"], self.framework_bytes
        )

    def require_placement(self, output: Any) -> None:
        """Raises Incorrect where the outputs do not lie on the device that was asked for."""
        found = self.session.accelerator_of(output)
        if found != self.job.accelerator:
            raise Incorrect(f"the outputs lie on {found}, asked for {self.job.accelerator}")

    def require_no_memory_of_inputs(self, batch_size: int, placed: list[Any], usual_s: float) -> None:
        """Time calls on inputs never seen before. Raises Incorrect where they take far longer.

        What was timed ran on a few inputs in turn; a runtime that remembers outputs would be quick on
        those alone. Two quick calls acquit. To convict, every one of more calls must take far longer
        than the calls on known inputs between them, which a busy neighbour slows down as well.
        """
        data = self.read_data()
        fresh = [self.session.place(batch) for batch in data.recombined(batch_size, 1, 2)]
        if min(self.timed_run(inputs)[1] for inputs in fresh) <= MEMORY_RATIO * usual_s:
            return
        known_s, fresh_s = [], []
        for number, batch in enumerate(data.recombined(batch_size, 2, CONVICTING_CALLS)):
            new = self.session.place(batch)
            known_s.append(self.timed_run(placed[number % len(placed)])[1])
            fresh_s.append(self.timed_run(new)[1])
        if min(fresh_s) > MEMORY_RATIO * max(usual_s, float(np.median(known_s))):
            raise Incorrect(
                f"calls on inputs not seen before take {min(fresh_s) * 1e3:.3g} ms, on those seen "
                f"{usual_s * 1e3:.3g} ms: outputs are remembered, not computed"
            )

    def read_data(self) -> EvaluationSet:
        """The evaluation set; not kept, since its memory is not the model's."""
        path = self.job.model_directory / "evaluation.npz"
        return TextSet(path, self.job.lengths[0]) if self.job.lengths else EvaluationSet(path)

    def timed_run(self, placed: Any) -> tuple[Any, float]:
        """One call, and its seconds."""
        start = time.perf_counter()
        output = self.session.run(placed)
        return output, time.perf_counter() - start

    def evaluate(self, data: EvaluationSet, batch_size: int, keep: int) -> Evaluation:
        """Accuracy and fidelity of this cell on this device, at this batch size.

        Parameters
        ----------
        keep : how many batches' outputs to keep

        Raises Incorrect where an output is not finite, or where a session without passes disagrees
        with the fp32 reference by more than the model's tolerance.
        """
        if isinstance(data, TextSet):
            return Evaluation(*self.language.evaluate(data, batch_size))
        done = Evaluation()
        got: np.ndarray | None = None
        for number, (rows, batch) in enumerate(data.batches(batch_size)):
            self.alive()
            raw, seconds = self.timed_run(self.session.place(batch))
            done.seconds.append(seconds)
            output = self.session.fetch(raw)
            if len(output) != batch_size:
                raise Incorrect(f"a batch of {batch_size} gave outputs of shape {output.shape}")
            if number < keep:
                done.outputs.append(output)
            if got is None:
                got = np.empty((data.samples, *output.shape[1:]), np.float32)
            fresh = min(len(rows), data.samples - rows[0])
            got[rows[:fresh]] = output[:fresh]
        assert got is not None
        outputs.require_finite(got)
        figures = done.figures
        reference, labels = data.reference, data.labels
        if reference is not None:
            if got.shape != reference.shape:
                wanted = reference.shape[1:]
                raise Incorrect(
                    f"outputs have shape {got.shape[1:]} a sample, the fp32 reference's have {wanted}"
                )
            figures["fidelity"] = outputs.fidelity(self.job.task, got, reference)
            figures["relative_error"] = error = outputs.relative_error(got, reference)
            outputs.require_close(error, self.tolerance)
        if labels is not None and self.job.task == "classification":
            outputs.require_classes(got, labels, "evaluation set")
            figures["accuracy"] = accuracy = outputs.accuracy(got, labels)
            if self.card.get("reference_accuracy") is not None:
                figures["accuracy_drop"] = self.card["reference_accuracy"] - accuracy
        return done

    @property
    def tolerance(self) -> float | None:
        """How far the outputs may be from the fp32 reference's; None where passes have changed the model."""
        is_lossless = self.job.keeps_outputs and not read_card(self.job.weights_directory).get("passes")
        return self.card.get("tolerance") if is_lossless else None


@dataclass
class Attempt:
    """What was timed, the conditions it ran under, and the memory it took."""

    series: Series
    conditions: Conditions
    memory: SessionMemory

    def summary(self) -> dict[str, Any]:
        """What the record keeps of it; the samples are in the file beside."""
        return {
            "latency_p50_ms": float(np.median(self.series.durations)) * 1e3,
            "samples": len(self.series.durations),
            "flags": [flag.code for flag in self.conditions.flags()],
            "foreign_load": self.conditions.load.foreign,
            "reference_change": self.conditions.change,
        }


@dataclass
class Evaluation:
    """What evaluating a batch size gave: figures, the first batches' outputs, seconds of every call, and what
    only the record keeps.
    """

    figures: dict[str, float | None] = field(default_factory=dict)
    outputs: list[np.ndarray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    details: dict[str, float] = field(default_factory=dict)


def classify(error: Exception) -> tuple[str, str]:
    """The status and the reason that an exception becomes. Raises NotWritten where the disk is full."""
    require_space(error)
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0]
    if isinstance(error, Unsupported):
        return "unsupported", text
    if isinstance(error, Incorrect):
        return "incorrect", text
    if isinstance(error, Unavailable):
        return "unavailable", text
    if missing := lacking(error):
        return "unavailable", missing
    if isinstance(error, MemoryError) or is_out_of_memory(f"{type(error).__name__} {text}"):
        return "oom", first
    return "crashed", f"{type(error).__name__}: {first}"


def write(job: Job, row: Profile, events: TextIO) -> None:
    """Write a profile, then say that it is there."""
    with writing(job.path(row.batch_size)):
        write_record(job.path(row.batch_size), row.to_dict())
    say(events, "row", row.batch_size, status=row.status)


def say(events: TextIO, event: str, batch_size: int, **more: Any) -> None:
    events.write(json.dumps({"event": event, "batch_size": batch_size} | more) + "\n")
    events.flush()


def write_samples(path: Path, attempts: list[np.ndarray], more: Mapping[str, np.ndarray]) -> str:
    """Every timed call of every attempt, in order, in seconds; `durations_s` is the attempt that counts, and
    of that one is what a scenario keeps beside. Returns the file's SHA-256.
    """
    content = io.BytesIO()
    discarded = {f"discarded_{number}_s": durations for number, durations in enumerate(attempts[:-1])}
    np.savez_compressed(content, allow_pickle=False, durations_s=attempts[-1], **discarded, **more)
    with writing(path):
        write_bytes(path, content.getvalue())
    return bytes_sha256(content.getvalue())


def file_size_mb(paths: Iterable[Path]) -> float | None:
    """The size of some files; None where one is not there, as of a callable that brings its own weights."""
    found = set(paths)
    if not all(path.exists() for path in found):
        return None
    return sum(path.stat().st_size for path in found) / 1e6
