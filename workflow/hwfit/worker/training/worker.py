"""The worker that trains: one session of a run in the runtime's own Python, up to the end of a rung.

It writes the rung's record, whatever came of it, but for what ends the process; that the supervisor writes.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import numpy as np

from hwfit.records import Flag, RecordError, without_non_finite, write_record
from hwfit.training.records import METRICS, TrainingRecord, read_training_record, record_path
from hwfit.worker import host
from hwfit.worker.child import now
from hwfit.worker.conditions import Conditions, cpu_kernel
from hwfit.worker.errors import Unsupported, writing
from hwfit.worker.profile import classify
from hwfit.worker.training import data
from hwfit.worker.training.job import TrainingJob
from hwfit.worker.training.loop import Diverged, Loop
from hwfit.worker.training.metering import Metering
from hwfit.worker.training.progress import each_code_once, speed
from hwfit.worker.training.trainer import Setup, open_trainer


def train(job: TrainingJob, events: TextIO) -> None:
    """Train, write the record, and say so on the pipe."""

    def say(event: str) -> None:
        events.write(json.dumps({"event": event}) + "\n")
        events.flush()

    started_at = now()
    try:
        record = Session(job, lambda: say("alive")).record()
    except Exception as error:
        status, reason = classify(error)
        details = {"traceback": traceback.format_exc().splitlines()[-20:]}
        record = job.record(status, reason, context=job.context(), details=details)
    record.started_at = started_at
    with writing(job.path()):
        write_record(job.path(), record.to_dict())
    say("row")


class Session:
    """One session of a run.

    To make one raises what makes the run impossible: Unsupported, Unavailable, what the framework raises.
    """

    def __init__(self, job: TrainingJob, alive: Callable[[], None] = lambda: None) -> None:
        self.began = time.perf_counter()
        self.job = job
        read = data.read(job.data, job.task, job.source)
        self.setup = Setup(
            run=job.run,
            task=job.task,
            source=job.source,
            hyperparameters=job.resolved,
            data=read,
            accelerator=job.accelerator,
            index=job.index,
            threads=job.threads,
            processes=job.processes,
        )
        self.require_batch()
        self.trainer = open_trainer(self.setup)
        identity = job.context()["device"]["identity"]
        self.metering = Metering(job, identity)
        alive()
        classes = self.trainer.outputs()
        read.require_labels(classes, str(job.data))
        self.conditions: Conditions | None = None
        self.loop = Loop(
            *(job, self.setup, self.trainer, classes, alive, self.metering),
            began=self.began,
            doubts=lambda: self.conditions.flags_so_far() if self.conditions else [],
        )
        self.loop.resume()
        # What the framework and the model hold stays: later collections need not look at it again.
        gc.collect()
        gc.freeze()
        self.load_s = time.perf_counter() - self.began

    def require_batch(self) -> None:
        """Raises Unsupported where a batch cannot be made, or not be shared."""
        job = self.job
        self.setup.data.require_batch(job.run.batch_size)
        if self.setup.micro_batch_size % job.processes:
            raise Unsupported(
                f"{self.setup.micro_batch_size} samples cannot be shared evenly by {job.processes} processes"
            )

    def record(self) -> TrainingRecord:
        """Train to the end of the rung. Raises NotWritten, and what the framework raises."""
        loop, status, reason, diverged_at = self.loop, "ok", "", None
        context = self.context()
        kernel = cpu_kernel()
        conditions = self.conditions = Conditions(
            lambda: kernel, identity=context["device"]["identity"], processes=self.trainer.processes()
        )
        try:
            with conditions:
                loop.train()
        except Diverged as error:
            status, reason, diverged_at = "diverged", str(error), error.step
        progress, target = loop.progress, self.job.target_accuracy
        is_over = progress.reached is not None or progress.epoch >= self.job.max_epochs
        test_accuracy = None
        if status == "ok" and is_over and self.setup.data.test:
            _, test_accuracy = self.trainer.evaluate("test")
        weights = self.trainer.weights()
        self.trainer.close()
        return self.job.record(
            status,
            reason,
            is_reached=None if target is None else progress.reached is not None,
            diverged_at_step=diverged_at,
            metrics=metrics(loop, weights, test_accuracy),
            flags=each_code_once(
                [
                    *flags_of_the_rung_before(self.job),
                    *loop.flags_before,
                    *conditions.flags(),
                    *self.metering.flags,
                ]
            ),
            energy_source=self.metering.source,
            energy_scope=self.metering.scope,
            context=context,
            sessions=progress.sessions,
            details=self.trainer.details
            | {
                "micro_batch_size": self.setup.micro_batch_size,
                "processes": self.job.processes,
                "hyperparameters": self.setup.hyperparameters,
                "training_samples": self.setup.data.samples,
                "validation_samples": len(self.setup.data.validation[0]),
                "steps_an_epoch": loop.steps_an_epoch,
                "weights_sha256": digest(weights),
                "resumed_at_step": loop.resumed_at,
                "checkpoints": loop.said,
                "load_s": self.load_s,
                "conditions": conditions.figures(),
                "energy_absences": self.metering.absences,
            },
        )

    def context(self) -> dict[str, Any]:
        """Where it takes place."""
        return self.job.context() | {
            "runtime": self.trainer.describe(),
            "cores": sorted(os.sched_getaffinity(0)),
            "numa_nodes": host.numa_nodes(),
            "governor": host.governor(),
            "host": platform.node(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        }


def metrics(
    loop: Loop, weights: Mapping[str, np.ndarray], test_accuracy: float | None
) -> dict[str, float | None]:
    """The figures of a record."""
    progress, batch_size = loop.progress, loop.job.run.batch_size
    reached = progress.reached or {}
    return without_non_finite(
        dict.fromkeys(METRICS)
        | speed(progress.intervals, batch_size)
        | {
            "first_step_ms": progress.first_step_s and progress.first_step_s * 1e3,
            "epochs": progress.epoch,
            "steps": progress.step,
            "samples": progress.step * batch_size,
            "train_s": progress.train_s,
            "evaluation_s": progress.evaluation_s,
            "checkpoint_s": progress.checkpoint_s,
            "wall_s": loop.wall_s(),
            "epochs_to_target": reached.get("epochs"),
            "samples_to_target": reached.get("samples"),
            "seconds_to_target": reached.get("seconds"),
            "energy_to_target_j": reached.get("energy_j"),
            "energy_j": progress.energy_j,
            "final_loss": progress.final_loss,
            "validation_loss": progress.validation_loss,
            "validation_accuracy": progress.validation_accuracy,
            "best_validation_accuracy": progress.best_validation_accuracy,
            "test_accuracy": test_accuracy,
            "peak_memory_mb": progress.peak_bytes and progress.peak_bytes / 1e6,
            "parameters": sum(math.prod(array.shape) for array in weights.values()),
        }
    )


def flags_of_the_rung_before(job: TrainingJob) -> list[Flag]:
    """Doubts about the part of the run that this session goes on from."""
    try:
        return read_training_record(record_path(job.directory, job.rung - 1)).flags
    except RecordError:
        return []


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of weights, by which two runs can be told to have ended in the same ones."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(np.ascontiguousarray(weights[name]).tobytes())
    return found.hexdigest()
