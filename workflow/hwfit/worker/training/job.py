"""The job of a training process, and what of a run's files is still true of it. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwfit.records import RecordError, file_sha256, fingerprint, read_json
from hwfit.training.records import (
    OPTIMIZERS,
    SHARED_HYPERPARAMETERS,
    TrainingRecord,
    TrainingRun,
    read_training_record,
    record_path,
)
from hwfit.worker import recorded
from hwfit.worker.node_class import comparable

# Raised when what a figure means changes: every run is then trained again.
PROTOCOL_VERSION = 2
CHECKPOINT_SECONDS = 30.0
TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True)
class TrainingJob:
    """A run up to the end of one rung; `hwfit.training.records.JOB` says what each field is."""

    run: TrainingRun
    rung: int
    epochs: int
    max_epochs: int
    task: str
    source: Mapping[str, Any]
    data: Path
    directory: Path
    environment_file: Path
    probe_file: Path
    accelerator: str
    index: int
    target_accuracy: float | None = None
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    threads: int | None = None
    cores: tuple[int, ...] = ()
    memory_limit_mb: float | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    timeout_seconds: float = TIMEOUT_SECONDS
    parallel: Mapping[str, Any] | None = None
    energy: Mapping[str, Any] = field(default_factory=dict)
    device_class: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainingJob:
        """Read a job. Raises ValueError where a hyperparameter is none of the optimizer's."""
        paths = ("data", "directory", "environment_file", "probe_file")
        job = cls(
            **dict(data)
            | {"run": TrainingRun(**data["run"]), "cores": tuple(data.get("cores") or ())}
            | {name: Path(data[name]) for name in paths}
            | {"hyperparameters": dict(data.get("hyperparameters") or {})}
        )
        if job.run.optimizer in OPTIMIZERS:
            known = {**OPTIMIZERS[job.run.optimizer].hyperparameters, **SHARED_HYPERPARAMETERS}
            for name in job.hyperparameters:
                if name not in known:
                    raise ValueError(f"{job.run.optimizer} has no {name}; it has {', '.join(known)}")
        return job

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads."""
        return dict(self.__dict__) | {"run": self.run.to_dict(), "cores": list(self.cores)}

    @property
    def compute_threads(self) -> int | None:
        """The threads to compute with, where it is said."""
        return self.threads

    @property
    def processes(self) -> int:
        """How many share a batch."""
        return (self.parallel or {}).get("processes", 1)

    @property
    def resolved(self) -> dict[str, float]:
        """Every hyperparameter, given or by default."""
        defaults = {**SHARED_HYPERPARAMETERS, **OPTIMIZERS[self.run.optimizer].hyperparameters}
        return defaults | {name: float(value) for name, value in self.hyperparameters.items()}

    def path(self, _: int = 0) -> Path:
        """Where this rung's record lies."""
        return record_path(self.directory, self.rung)

    def record(self, status: str, reason: str = "", **more: Any) -> TrainingRecord:
        """A record of this job, with its fingerprints."""
        return TrainingRecord(
            self.run.to_dict(),
            self.rung,
            self.epochs,
            self.max_epochs,
            status,
            reason,
            **{
                "target_accuracy": self.target_accuracy,
                "fingerprints": self.fingerprints(),
                "flags": recorded.flags(),
            }
            | more,
        )

    @property
    def data_sha256(self) -> str | None:
        """Of the model's data; None where they are not there."""
        return file_sha256(self.data) if self.data.exists() else None

    def subject(self) -> tuple[Any, ...]:
        """What is trained."""
        hyperparameters = self.resolved if self.run.optimizer in OPTIMIZERS else {}
        return self.run.to_dict(), self.source, self.task, self.data_sha256, hyperparameters

    def fingerprints(self) -> dict[str, str]:
        """What was trained, how far, and where; apart, what runs of other devices must share with it."""
        return {
            "subject": fingerprint(*self.subject()),
            "data": fingerprint(PROTOCOL_VERSION, self.task, self.data_sha256),
            "protocol": fingerprint(
                PROTOCOL_VERSION, self.rung, self.epochs, self.max_epochs, self.target_accuracy, self.parallel
            ),
            "context": fingerprint(self.comparable_context()),
        }

    @property
    def trajectory(self) -> str:
        """What makes each step what it is: a checkpoint of another one is of no use."""
        return fingerprint(
            PROTOCOL_VERSION,
            self.subject(),
            self.max_epochs,
            self.parallel,
            fingerprint(self.comparable_context()),
        )

    def context(self) -> dict[str, Any]:
        """Where it takes place, as far as it is known before a framework is loaded."""
        probe, environment = read_json(self.probe_file), read_json(self.environment_file)
        return {
            "device": {key: probe.get(key) for key in ("status", "name", "identity", "driver", "memory_mb")},
            "environment": {
                key: environment.get(key) for key in ("name", "status", "python_version", "packages")
            },
            "threads": self.threads,
            "memory_limit_mb": self.memory_limit_mb,
            **recorded.context(),
        }

    def comparable_context(self) -> dict[str, Any]:
        """What of it must be the same for a record to stay true, and a checkpoint to be gone on from."""
        return comparable(self.context()) if self.device_class else self.context()

    def still_true(self) -> TrainingRecord | None:
        """The record on disk, if it was made from the same subject, protocol and context."""
        try:
            record = read_training_record(self.path())
        except RecordError:
            return None
        return record if record.fingerprints == self.fingerprints() else None
