"""From the section `training` to runs: pure logic on plain data, no files and no framework.

As with combinations, what can be told from the config alone is told here: a run that is excluded, or that
its runtime cannot make, is a row with its reason and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from hwfit.catalog import FRAMEWORKS, RUNTIMES
from hwfit.device_sections import Device
from hwfit.sections import Study
from hwfit.training.records import TrainingRun, what_is_unsupported
from hwfit.training.sections import TrainingExclusion, TrainingMatrix


@dataclass(frozen=True)
class PlannedRun:
    """A run with what its matrix says of it; `status` and `reason` are set where it will not be made."""

    run: TrainingRun
    matrix: TrainingMatrix
    status: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The run as `results/plan.json` holds it."""
        return self.run.to_dict() | {
            "target_accuracy": self.matrix.target_accuracy,
            "rung_epochs": list(self.matrix.rung_epochs),
            "eta": self.matrix.halving.eta,
            "status": self.status,
            "reason": self.reason,
        }


def planned_runs(study: Study) -> list[PlannedRun]:
    """Every run of the matrices' union, in the order of the config, once each."""
    found: dict[TrainingRun, PlannedRun] = {}
    for matrix in study.config.training_matrices:
        for run in runs_of(matrix, study.devices):
            status, reason = obstacle(run, study) or ("", "")
            if is_excluded(run, matrix.exclude):
                status, reason = "skipped", "excluded"
            known = found.get(run)
            # Excluded from one matrix and asked for in another: asked for.
            if known is None or known.reason == "excluded":
                found[run] = PlannedRun(run, matrix, status, reason)
    return list(found.values())


def runs_of(matrix: TrainingMatrix, devices: Mapping[str, Any]) -> Iterator[TrainingRun]:
    """The runs of one matrix."""
    for model, device in product(matrix.models, matrix.devices):
        listed = devices[device].runtimes
        trainers = [runtime for runtime in listed if runtime in FRAMEWORKS]
        for values in product(
            matrix.runtimes or trainers or listed,
            matrix.optimizers,
            matrix.learning_rates,
            matrix.batch_sizes,
            matrix.schedules,
            matrix.precisions,
            matrix.seeds,
            matrix.accumulation,
            matrix.activation_checkpointing,
        ):
            yield TrainingRun(model, device, *values)


def obstacle(run: TrainingRun, study: Study) -> tuple[str, str] | None:
    """The status and the reason for which a run cannot be made, as far as the config tells."""
    device = study.devices[run.device]
    if not isinstance(device, Device):
        return "unsupported", "training runs on a device of its own, and this is a composite"
    if run.runtime not in device.runtimes:
        return "unsupported", f"devices.yaml lists no {run.runtime} for {run.device}"
    if run.runtime not in FRAMEWORKS:
        return "unsupported", f"{run.runtime} runs models and trains none"
    if device.accelerator not in RUNTIMES[run.runtime].accelerators:
        return "unsupported", f"{run.runtime} does not run on {device.accelerator}"
    if run.runtime not in study.models[run.model].sources:
        return "unsupported", f"models.yaml names no {run.runtime} source for {run.model}"
    if reason := what_is_unsupported(run):
        return "unsupported", reason
    return None


def is_excluded(run: TrainingRun, exclusions: Iterable[TrainingExclusion]) -> bool:
    """Whether some exclusion matches in every key it gives, one at least."""
    actual = run.to_dict()
    rules = (exclusion.model_dump(exclude_none=True) for exclusion in exclusions)
    return any(rule and all(actual[key] == value for key, value in rule.items()) for rule in rules)
