"""The schemas of a training run's files, which both wings read: the run, its record, and lines of its log.

A run's directory, results/training/<path of the run>/, holds

- `rung<r>.json`, a record, written when the run has come to the epochs of its rung `r` (0 where it has one);
- `log.jsonl`, a line an epoch (`LOG`);
- `checkpoint.*`: from which the next rung, or a run that was interrupted, goes on.

`python -m hwfit.worker train --job JSON` makes them; `JOB` says what a job holds. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hwfit.records import STATUSES as PROFILE_STATUSES
from hwfit.records import TRUST_BREAKING_FLAGS, Flag, RecordError, read_json, values_of

SCHEMA_VERSION = 1
# `diverged`: the loss was no number, or grew beyond what can come back.
STATUSES = (*PROFILE_STATUSES, "diverged")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("fp32", "bf16")


# What a job holds; a run's own fields are those of `TrainingRun`.
JOB: dict[str, str] = {
    "run": "the fields of a TrainingRun",
    "rung": "its number; 0 where there is one",
    "epochs": "to have come to by the end of this rung",
    "max_epochs": "of the whole schedule: where a cosine ends",
    "target_accuracy": "of the validation data, 0 to 1: training ends when it is reached; null: none",
    "hyperparameters": "those that are not the optimizer's defaults",
    "task": "of the model, as in models.yaml",
    "source": "of the model in this runtime, as in models.yaml",
    "data": "the .npz file of the model's data",
    "directory": "of the run: results/training/<path>",
    "environment_file": "of the runtime",
    "probe_file": "of the device",
    "accelerator": "of the device",
    "index": "of the device",
    "threads": "to compute with; null: as many as the runtime takes",
    "cores": "to stay on; empty: any",
    "memory_limit_mb": "null: none",
    "checkpoint_seconds": "between two checkpoints: what a kill loses at most",
    "timeout_seconds": "without a word from the worker",
    "parallel": 'null, or {"processes": n}: so many, each with its share of a batch',
    "energy": "how the device is metered, as a profile's job says it; empty: not",
    "device_class": "of a class of nodes, as a profile's job says it; empty: the device is one",
}
# Those that may be left out.
OPTIONAL = {
    "threads",
    "cores",
    "memory_limit_mb",
    "parallel",
    "energy",
    "target_accuracy",
    "device_class",
}


@dataclass(frozen=True)
class Optimizer:
    """An optimizer, the runtimes whose own (or whose library's) it is, and what it takes.

    `hyperparameters` has each by its default; one that is not here cannot be given.
    """

    runtimes: tuple[str, ...]
    hyperparameters: Mapping[str, float]


_ALL = ("torch", "tensorflow", "mindspore")
_ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

# docs/optimizers.md says what each hyperparameter means, the same in all frameworks.
OPTIMIZERS = {
    "sgd": Optimizer(_ALL, {"weight_decay": 0.0}),
    "momentum": Optimizer(_ALL, {"momentum": 0.9, "weight_decay": 0.0}),
    "rmsprop": Optimizer(_ALL, {"rho": 0.99, "epsilon": 1e-12, "weight_decay": 0.0}),
    "adam": Optimizer(_ALL, {**_ADAM, "weight_decay": 0.0}),
    "adamw": Optimizer(_ALL, {**_ADAM, "weight_decay": 0.01}),
    "lion": Optimizer(("torch",), {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0}),
    "lamb": Optimizer(("torch",), {**_ADAM, "epsilon": 1e-6, "weight_decay": 0.0}),
    "schedule-free": Optimizer(("torch",), {**_ADAM, "weight_decay": 0.0}),
}
# What any optimizer may be given beside its own: epochs in which the learning rate rises from 0.
SHARED_HYPERPARAMETERS = {"warm_up_epochs": 0.0}

# What a record's `metrics` hold: numbers, or None where nothing was measured.
METRICS: dict[str, str] = {
    "samples_per_s": "samples a second while training, once steady",
    "samples_per_s_ci_low": "lower end of its 95% interval",
    "samples_per_s_ci_high": "upper end of its 95% interval",
    "step_p50_ms": "median time of a step of the optimizer, over intervals of steps",
    "first_step_ms": "the first step, compilation included",
    "epochs": "epochs trained, over all sessions and rungs",
    "steps": "steps of the optimizer",
    "samples": "samples trained on",
    "train_s": "time in training steps, without evaluation, checkpoints and starts",
    "evaluation_s": "time evaluating on the validation data",
    "checkpoint_s": "time writing checkpoints",
    "wall_s": "everything, starts of all sessions included",
    "epochs_to_target": "epochs until the target accuracy; null: not reached",
    "samples_to_target": "samples until the target accuracy",
    "seconds_to_target": "train_s until the target accuracy",
    "final_loss": "training loss, mean of the last epoch",
    "validation_loss": "after the last epoch",
    "validation_accuracy": "after the last epoch",
    "best_validation_accuracy": "the highest of all epochs",
    "test_accuracy": "on the test data, once the run is over: no choice is made by it",
    "peak_memory_mb": "of the process on cpu, of the device elsewhere, while training; starting not included",
    "parameters": "weights that are trained",
    "energy_j": "energy of training, evaluation and checkpoints, gross",
    "energy_to_target_j": "of that, until the target accuracy",
}

# What a line of log.jsonl holds; `at` is the time in UTC, all else as of the end of that epoch.
LOG: dict[str, str] = {
    "step": "steps of the optimizer since the beginning of the run",
    "epoch": "epochs since then",
    "samples": "samples since then",
    "seconds": "train_s since then",
    "samples_per_s": "in this epoch",
    "learning_rate": "of the last step",
    "loss": "training loss, mean of the epoch; null: no number",
    "validation_loss": "null: no number",
    "validation_accuracy": "share of validation labels (or next tokens) that score highest",
    "energy_j": "since the beginning of the run; null: not measured",
    "at": "UTC",
}

# Of these, numbers or null.
FIGURES = tuple(name for name in LOG if name != "at")


@dataclass(frozen=True, order=True)
class TrainingRun:
    """What is trained, where, and how; its seed draws the weights and the order of the data.

    `batch_size` is what an optimizer's step sees: with `accumulation`, of so many micro-batches together.
    """

    model: str
    device: str
    runtime: str
    optimizer: str
    learning_rate: float
    batch_size: int
    schedule: str = "constant"
    precision: str = "fp32"
    seed: int = 0
    accumulation: int = 1
    activation_checkpointing: bool = False

    @property
    def configuration(self) -> str:
        """What a run is without its seed, as the directory of its seeds."""
        rate = f"{self.learning_rate:g}"
        if float(rate) != self.learning_rate:
            # Six digits do not tell it from its neighbours.
            rate = repr(self.learning_rate)
        sizes = f"lr{rate}-bs{self.batch_size}-{self.schedule}-{self.precision}"
        if self.accumulation > 1:
            sizes += f"-acc{self.accumulation}"
        if self.activation_checkpointing:
            sizes += "-ckpt"
        return "/".join((self.device, self.runtime, self.model, self.optimizer, sizes))

    @property
    def path(self) -> str:
        """The run's directory, relative to that of all training runs."""
        return f"{self.configuration}/seed{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        where = f"{self.model} on {self.device} with {self.runtime}"
        rate = f"learning rate {self.learning_rate:g}"
        return f"{where}, {self.optimizer}, {rate}, batch size {self.batch_size}, seed {self.seed}"


RUN_FIELDS = tuple(field.name for field in fields(TrainingRun))


def run_of(planned: Mapping[str, Any]) -> TrainingRun:
    """The run that a line of the plan, or of a table, is of."""
    told = {name: planned[name] for name in RUN_FIELDS}
    told |= {name: int(told[name]) for name in ("batch_size", "seed", "accumulation")}
    told["activation_checkpointing"] = bool(told["activation_checkpointing"])
    return TrainingRun(**told)


def what_is_unsupported(run: TrainingRun) -> str | None:
    """Why no worker need be started for a run, as far as it is known from the run alone; None: it may run."""
    optimizer = OPTIMIZERS.get(run.optimizer)
    if optimizer is None:
        return f"there is no optimizer {run.optimizer}; there are {', '.join(OPTIMIZERS)}"
    if run.runtime not in optimizer.runtimes:
        return f"{run.optimizer} is in {', '.join(optimizer.runtimes)}; {run.runtime} has none of its own"
    if run.optimizer == "schedule-free" and run.schedule != "constant":
        return f"schedule-free stands in for a schedule: there is none beside it, {run.schedule} neither"
    if run.batch_size % run.accumulation:
        return f"a batch of {run.batch_size} cannot be made of {run.accumulation} micro-batches of one size"
    return None


@dataclass
class TrainingRecord:
    """What came of a run by the end of a rung.

    Attributes
    ----------
    run : the fields of a `TrainingRun`
    epochs, max_epochs : to come to by the end of the rung, and of the whole schedule
    is_reached : whether `target_accuracy` was; None where none was asked for
    diverged_at_step : where the status is `diverged`
    sessions : processes that trained: 1, and one more for each rung and interruption
    """

    run: dict[str, Any]
    rung: int
    epochs: int
    max_epochs: int
    status: str
    reason: str = ""
    target_accuracy: float | None = None
    is_reached: bool | None = None
    diverged_at_step: int | None = None
    flags: list[Flag] = field(default_factory=list)
    metrics: dict[str, float | None] = field(default_factory=dict)
    energy_source: str = ""
    energy_scope: str = ""
    fingerprints: dict[str, str] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    sessions: int = 1
    started_at: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def valid(self) -> bool:
        """Whether the figures can be trusted."""
        return self.status == "ok" and not any(f.code in TRUST_BREAKING_FLAGS for f in self.flags)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"valid": self.valid}

    @classmethod
    def from_dict(cls, data: Any) -> TrainingRecord:
        """Read what `to_dict` wrote. Raises RecordError where it does not hold together."""
        values = values_of(cls, data, SCHEMA_VERSION, ("run", "rung", "status"), STATUSES)
        try:
            record = cls(**values)
            TrainingRun(**record.run)
        except TypeError as error:
            raise RecordError(str(error)) from error
        if record.status == "ok" and not record.metrics.get("steps"):
            raise RecordError("status is ok, but metrics.steps is not a positive number")
        return record


def record_path(directory: Path | str, rung: int) -> Path:
    """Where the record of a rung lies in a run's directory."""
    return Path(directory) / f"rung{rung}.json"


def read_training_record(path: Path | str) -> TrainingRecord:
    """Read one record. Raises RecordError that names the file."""
    data = read_json(path)
    try:
        return TrainingRecord.from_dict(data)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error


def is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def read_log(directory: Path | str) -> list[dict[str, Any]]:
    """The lines of a run's log, oldest first; none where there is no log. A line that is cut short, or whose
    figures are none, is left out.
    """
    try:
        text = (Path(directory) / "log.jsonl").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and all(is_figure(found.get(name)) for name in FIGURES):
            lines.append(found)
    return lines
