"""The loop that trains: epochs, the data's order, the clock, the log, checkpoints, and when to stop.

It asks the trainer for numbers, and so waits for the device, once an interval; between, a step costs it a
look at the clock. Training stops at the target accuracy, at the rung's end, and where the loss diverges:

- a step's loss, or the validation loss, is no finite number; or
- the mean loss of an interval is more than EXPLODED times the larger of the first step's loss and that of
  guessing, the logarithm of the number of classes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hwfit.records import Flag
from hwfit.training.records import read_log
from hwfit.worker import host
from hwfit.worker.child import now
from hwfit.worker.errors import NotWritten
from hwfit.worker.training import checkpoint
from hwfit.worker.training.job import TrainingJob
from hwfit.worker.training.metering import Metering
from hwfit.worker.training.progress import Progress, each_code_once
from hwfit.worker.training.schedule import learning_rates, order
from hwfit.worker.training.trainer import Setup, Trainer

# Long against the look at the numbers at its end, short against what disturbs a machine.
INTERVAL_SECONDS = 0.25
EXPLODED = 10.0


class Diverged(Exception):
    """The loss is lost: the message says how, `step` where."""

    def __init__(self, reason: str, step: int) -> None:
        super().__init__(reason)
        self.step = step


class WriteError(NotWritten):
    """A log or a checkpoint could not be written: the message says which, why, and what is kept."""


class Loop:
    """One session of a run, from its last checkpoint or from its beginning.

    Parameters
    ----------
    classes : that the network tells apart
    alive : called now and then
    metering : has the session's energy; None where nothing meters
    began : when the session began, by `clock`
    """

    def __init__(
        self,
        job: TrainingJob,
        setup: Setup,
        trainer: Trainer,
        classes: int,
        alive: Callable[[], None] = lambda: None,
        metering: Metering | None = None,
        clock: Callable[[], float] = time.perf_counter,
        began: float | None = None,
        doubts: Callable[[], list[Flag]] = lambda: [],
    ) -> None:
        self.job, self.setup, self.trainer, self.classes = job, setup, trainer, classes
        self.alive, self.metering, self.clock = alive, metering, clock
        self.progress = Progress()
        self.said: list[str] = []
        self.resumed_at: int | None = None
        # The data's checksum is in it: looked at once, and not at each checkpoint.
        self.trajectory = job.trajectory
        self.log_path = job.directory / "log.jsonl"
        self.steps_an_epoch = setup.data.samples // job.run.batch_size
        self.is_fresh = self.is_first_epoch = True
        self.doubts = doubts
        self.flags_before: list[Flag] = []
        self.began = clock() if began is None else began
        self.saved_at = clock()

    def resume(self) -> None:
        """Take up the last checkpoint, if there is one, and cut from the log what came after it."""
        last_step = self.job.epochs * self.steps_an_epoch
        found, self.said = checkpoint.newest(self.job.directory, self.trajectory, last_step)
        if found:
            self.progress = Progress(**found.meta["progress"])
            self.trainer.load(found.arrays)
            self.resumed_at = self.progress.step
            self.flags_before = [Flag(**told) for told in self.progress.flags]
        self.progress.sessions += 1
        self.wall_before_s, self.energy_before_j = self.progress.wall_s, self.progress.energy_j
        self.job.directory.mkdir(parents=True, exist_ok=True)
        with self.writing(self.log_path), self.log_path.open("ab") as stream:
            # To a log that was lost, nothing is added in front.
            self.progress.log_bytes = min(self.progress.log_bytes, stream.tell())
            stream.truncate(self.progress.log_bytes)
        if self.progress.target != self.job.target_accuracy:
            # It was trained towards another one: its log says when it came to this.
            self.progress.target, self.progress.reached = self.job.target_accuracy, self.reached_in_log()

    def reached_in_log(self) -> dict[str, float | None] | None:
        """What had been taken when the target was reached, by the log; None where it was not."""
        target = math.inf if self.job.target_accuracy is None else self.job.target_accuracy
        for line in read_log(self.job.directory):
            if (line["validation_accuracy"] or 0.0) >= target:
                taken = {key: line[key] for key in ("samples", "seconds", "energy_j")}
                return {"epochs": line["epoch"]} | taken
        return None

    def train(self) -> None:
        """Train to the end of the rung, or to the target. Raises Diverged and WriteError."""
        progress = self.progress
        if self.is_done():
            return
        self.trainer.reset_peak_memory()
        host.reset_process_peak()
        if self.metering:
            self.metering.start()
        try:
            while not self.is_done():
                self.train_epoch()
                self.finish_epoch()
                if not self.is_done() and self.clock() - self.saved_at >= self.job.checkpoint_seconds:
                    self.save()
        finally:
            progress.energy_j = self.energy(is_last=True)
        if progress.reached:
            progress.reached["energy_j"] = progress.energy_j
        self.save()

    def is_done(self) -> bool:
        """Whether the target, or the end of the rung, is reached."""
        return self.progress.epoch >= self.job.epochs or self.progress.reached is not None

    def train_epoch(self) -> None:
        """The steps of this epoch that are still to be made."""
        progress, run = self.progress, self.job.run
        rows = order(self.setup.data.samples, run.batch_size, run.seed, progress.epoch)
        rows = rows[progress.step_in_epoch :]
        if not len(rows):
            return
        planned = self.trainer.plan(rows, self.rates(progress.step, progress.step + len(rows)))
        step, clock = self.trainer.step, self.clock
        pending: list[Any] = []
        started = clock()
        until = started if self.is_fresh else started + INTERVAL_SECONDS
        for each in planned:
            pending.append(step(each))
            if clock() >= until:
                self.settle(pending, started)
                if progress.step_in_epoch < self.steps_an_epoch:
                    self.between_intervals()
                pending = []
                started = clock()
                until = started + INTERVAL_SECONDS
        if pending:
            self.settle(pending, started)

    def rates(self, first: int, last: int) -> np.ndarray:
        """The learning rates of some steps."""
        run = self.job.run
        return learning_rates(
            run.schedule,
            run.learning_rate,
            first,
            last,
            self.job.max_epochs * self.steps_an_epoch,
            self.setup.hyperparameters["warm_up_epochs"] * self.steps_an_epoch,
        )

    def settle(self, pending: Sequence[Any], started: float) -> None:
        """Wait for some steps, and take in what they say. Raises Diverged."""
        losses = self.trainer.losses(pending)
        seconds = self.clock() - started
        progress = self.progress
        if progress.first_loss is None and math.isfinite(losses[0]):
            progress.first_loss = float(losses[0])
        wrong = np.flatnonzero(~np.isfinite(losses))
        if len(wrong):
            step = progress.step + int(wrong[0]) + 1
            raise Diverged(f"the loss of step {step} is {losses[wrong[0]]}", step)
        # One after the other, so that the sum does not depend on where intervals ended.
        for loss in losses:
            progress.epoch_loss += float(loss)
        progress.step += len(losses)
        progress.step_in_epoch += len(losses)
        if self.is_fresh:
            # It compiles, and warms caches up.
            self.is_fresh = False
            progress.first_step_s = progress.first_step_s or seconds
            progress.fresh_steps += len(losses)
            progress.fresh_s += seconds
        else:
            progress.add_interval(len(losses), seconds)
            progress.add_time(seconds)
            progress.count_fresh()
        limit = EXPLODED * max(progress.first_loss or 0.0, math.log(max(self.classes, 2)))
        mean = float(losses.mean())
        if mean > limit:
            grew = f"the loss grew from {progress.first_loss:.3g} to {mean:.3g} by step {progress.step}"
            raise Diverged(f"{grew}, above {limit:.3g}", progress.step)

    def between_intervals(self) -> None:
        """What need not wait for the end of an epoch."""
        self.alive()
        if self.clock() - self.saved_at >= self.job.checkpoint_seconds:
            self.save()

    def finish_epoch(self) -> None:
        """Evaluate, write the line of the log, and see whether the target is reached. Raises Diverged."""
        progress = self.progress
        progress.count_fresh()
        if self.is_first_epoch:
            # Later ones are mixed up with what evaluation took, and what allocators kept of it.
            self.is_first_epoch = False
            self.note_peak()
        started = self.clock()
        loss, accuracy = self.trainer.evaluate("validation")
        progress.evaluation_s += self.clock() - started
        progress.epoch += 1
        progress.final_loss = progress.epoch_loss / self.steps_an_epoch
        progress.energy_j = self.energy()
        is_finite = math.isfinite(loss)
        progress.validation_loss = loss if is_finite else None
        progress.validation_accuracy = accuracy
        progress.best_validation_accuracy = max(accuracy, progress.best_validation_accuracy or 0.0)
        self.append_line()
        if not is_finite:
            said = f"the validation loss after epoch {progress.epoch} is {loss}"
            raise Diverged(said, progress.step)
        target = self.job.target_accuracy
        if target is not None and accuracy >= target:
            progress.reached = {
                "epochs": progress.epoch,
                "samples": progress.step * self.job.run.batch_size,
                "seconds": progress.train_s,
                "energy_j": None,
            }
        progress.step_in_epoch, progress.epoch_loss, progress.epoch_s = 0, 0.0, 0.0
        self.alive()

    def append_line(self) -> None:
        """Add an epoch to the log. Raises WriteError."""
        progress = self.progress
        batch_size = self.job.run.batch_size
        samples = self.steps_an_epoch * batch_size
        line = {
            "step": progress.step,
            "epoch": progress.epoch,
            "samples": progress.step * batch_size,
            "seconds": progress.train_s,
            "samples_per_s": samples / progress.epoch_s if progress.epoch_s else None,
            "learning_rate": float(self.rates(progress.step - 1, progress.step)[0]),
            "loss": progress.final_loss,
            "validation_loss": progress.validation_loss,
            "validation_accuracy": progress.validation_accuracy,
            "energy_j": progress.energy_j,
            "at": now(),
        }
        with self.writing(self.log_path), self.log_path.open("ab") as stream:
            stream.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            stream.flush()
            progress.log_bytes = stream.tell()

    def save(self) -> None:
        """Write a checkpoint. Raises WriteError, with the one before it kept."""
        started = self.clock()
        progress = self.progress
        progress.flags = [asdict(flag) for flag in each_code_once([*self.flags_before, *self.doubts()])]
        progress.wall_s = self.wall_s()
        progress.energy_j = self.energy()
        meta = {
            "step": progress.step,
            "trajectory": self.trajectory,
            "progress": progress.to_dict(),
        }
        with self.writing(self.job.directory / "checkpoint"):
            checkpoint.write(self.job.directory, checkpoint.Checkpoint(self.trainer.state(), meta))
        self.saved_at = self.clock()
        progress.checkpoint_s += self.saved_at - started

    def wall_s(self) -> float:
        """The time of all sessions, this one so far."""
        return self.wall_before_s + self.clock() - self.began

    def energy(self, is_last: bool = False) -> float | None:
        """Joules of all sessions; None where one of them was not metered."""
        metered = self.metering.energy_j(is_last) if self.metering else None
        if metered is None or (self.energy_before_j is None and self.resumed_at is not None):
            return None
        return (self.energy_before_j or 0.0) + metered

    def note_peak(self) -> None:
        """Keep the most memory that training has taken."""
        of_device = self.trainer.peak_memory_bytes()
        peak = host.process_memory().peak_bytes if of_device is None else float(of_device)
        self.progress.peak_bytes = max(peak, self.progress.peak_bytes or 0.0)

    def writing(self, path: os.PathLike[str]) -> Writing:
        """Turns what the system says of a write into a WriteError."""
        return Writing(str(path), self.saved_step)

    def saved_step(self) -> int:
        """The step of the last checkpoint on disk; -1 where there is none."""
        return max(checkpoint.step_of(self.job.directory / name) for name in checkpoint.NAMES)


@dataclasses.dataclass
class Writing:
    """Context manager: an OSError inside becomes a WriteError that says what is kept."""

    path: str
    saved_step: Callable[[], int]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            step = self.saved_step()
            kept = f"the checkpoint of step {step}" if step >= 0 else "no checkpoint"
            raise WriteError(
                f"{self.path} could not be written ({error.strerror or error}); {kept} is kept: free some "
                "space, and run again to go on from there"
            ) from error
