"""The tables of training: a row a run, and a row a configuration with its seeds together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hwfit import costs
from hwfit.cost_sections import Cost
from hwfit.records import codes
from hwfit.training.collect import TrainingRow
from hwfit.training.records import RUN_FIELDS, STATUSES

VERDICTS = (
    "chosen",
    "tied",
    "dominated",
    "unreliable",
    "not_reached",
    "rejected",
    "diverged",
    "not_measured",
)

_CONFIGURATION = {
    "model": "name in models.yaml",
    "task": "what the model's outputs mean",
    "device": "name in devices.yaml",
    "device_name": "what the device calls itself",
    "runtime": "software that trained it",
    "optimizer": "what makes steps of gradients",
    "learning_rate": "of the first step",
    "batch_size": "samples a step of the optimizer",
    "schedule": "of the learning rate",
    "precision": "of the arithmetic",
    "accumulation": "parts in which the gradients of a batch are computed",
    "activation_checkpointing": "whether activations are computed again on the way back",
}
# reports/training.csv, in order: the name, what it is.
RUN_COLUMNS: dict[str, str] = _CONFIGURATION | {
    "seed": "of the first weights and the order of the data",
    "status": "one of: " + ", ".join(STATUSES),
    "reason": "why this status",
    "stopped": "after which rung the search stopped it, and why; empty: it went to max_epochs",
    "valid": "false when the figures cannot be trusted",
    "flags": "codes, separated by spaces",
    "target_accuracy": "share of the validation data that must be right",
    "reached": "whether it was; empty where nothing was measured",
    "epochs_to_target": "epochs until then; empty: not reached",
    "seconds_to_target": "time in training steps until then, s",
    "energy_to_target_j": "energy until then, gross",
    "cost_to_target": "price of that time, of an hour as combinations.csv has it, in `currency`",
    "currency": "of that price",
    "best_validation_accuracy": "the highest of all epochs",
    "validation_accuracy": "after the last epoch",
    "test_accuracy": "on the test data, once the run is over",
    "final_loss": "training loss, mean of the last epoch",
    "epochs": "epochs trained",
    "max_epochs": "where the schedule ends",
    "steps": "steps of the optimizer",
    "samples_per_s": "samples a second while training, once steady",
    "samples_per_s_ci_low": "lower end of its 95% interval",
    "samples_per_s_ci_high": "upper end of its 95% interval",
    "step_p50_ms": "median time of a step",
    "train_s": "time in training steps",
    "wall_s": "everything, starts included",
    "peak_memory_mb": "of the process on cpu, of the device elsewhere",
    "energy_j": "energy while training, gross",
    "energy_source": "how energy was read, and of what sensor",
    "energy_scope": "board, package or node: never ranked against each other",
}
# reports/training-configurations.csv: of each figure the median of the seeds, those that did not reach the
# target counting as never.
CONFIGURATION_COLUMNS: dict[str, str] = _CONFIGURATION | {
    "verdict": "one of: " + ", ".join(VERDICTS),
    "reason": "why this verdict",
    "seeds": "runs",
    "seeds_measured": "of these, measured and to be trusted",
    "seeds_reached": "of these, those that reached the target",
    "seeds_diverged": "runs whose loss was no number, or exploded",
    "target_accuracy": "share of the validation data that must be right",
    "epochs_to_target": "median epochs until then; empty: half of the seeds or more did not reach it",
    "seconds_to_target": "median time in training steps until then, s",
    "seconds_to_target_low": "the soonest of the seeds that reached it",
    "seconds_to_target_high": "the latest of them",
    "energy_to_target_j": "median energy until then, gross",
    "cost_to_target": "median price of that time, in `currency`",
    "currency": "of that price",
    "best_validation_accuracy": "median of the highest of all epochs",
    "best_validation_accuracy_low": "the lowest of the seeds",
    "best_validation_accuracy_high": "the highest of the seeds",
    "samples_per_s": "median, while training, once steady",
    "step_p50_ms": "median of the seeds' medians",
    "peak_memory_mb": "the highest of the seeds",
    "epochs": "median epochs trained: fewer than max_epochs where the search stopped it",
}
# What other load on the host does not change.
LEARNT = ("epochs_to_target", "best_validation_accuracy", "epochs")
# What a decision may be made by: the column of a run.
FIGURES = {"seconds": "seconds_to_target", "energy": "energy_to_target_j", "cost": "cost_to_target"}
UNITS = {"seconds": "s", "energy": "J"}


def unit_of(objective: str, currency: str | None) -> str:
    """What an objective is counted in, as a sentence has it."""
    return UNITS.get(objective) or currency or "money"


def price_to_target(line: Mapping[str, Any], tariff: costs.Tariff, cost: Cost) -> float | None:
    """The price of the time until the target; None where it was not reached, or an hour has no price."""
    seconds, energy_j = line["seconds_to_target"], line["energy_to_target_j"]
    if not seconds:
        return None
    hour = costs.hour_of(tariff, cost, None if energy_j is None else energy_j / seconds)
    return None if hour.price is None else hour.price / 3600 * seconds / cost.utilization


def line_of(
    row: TrainingRow, task: str, device_name: str | None, tariff: costs.Tariff | None, cost: Cost
) -> dict[str, Any]:
    """One line of training.csv."""
    line: dict[str, Any] = dict.fromkeys(RUN_COLUMNS)
    line |= {name: getattr(row.run, name) for name in RUN_FIELDS}
    line |= {
        "task": task,
        "device_name": device_name,
        "status": row.status,
        "reason": row.reason,
        "stopped": row.stopped,
        "valid": row.valid,
        "flags": codes(row.record.flags) if row.record else "",
        "target_accuracy": row.planned["target_accuracy"],
        "max_epochs": row.planned["rung_epochs"][-1],
    }
    if row.record is None:
        return line
    line |= {name: value for name, value in row.metrics.items() if name in RUN_COLUMNS}
    seconds = line["seconds_to_target"]
    if row.status == "ok":
        line["reached"] = seconds is not None
    line |= {name: getattr(row.record, name) or None for name in ("energy_source", "energy_scope")}
    if tariff:
        line |= {"cost_to_target": price_to_target(line, tariff, cost), "currency": cost.currency}
    return line


def make_run_table(
    rows: Iterable[TrainingRow],
    plan: Mapping[str, Any],
    inventories: Mapping[str, Any],
    tariffs: Mapping[str, costs.Tariff | None],
    cost: Cost,
) -> pd.DataFrame:
    """The table a user reads, a row a run, with the columns of `RUN_COLUMNS`."""
    models = plan["study"]["models"]
    lines = [
        line_of(
            row,
            models[row.run.model]["task"],
            inventories.get(row.run.device, {}).get("name"),
            tariffs.get(row.run.device),
            cost,
        )
        for row in rows
    ]
    return pd.DataFrame(lines, columns=list(RUN_COLUMNS))


def read_run_table(path: Path) -> pd.DataFrame:
    """The table of runs as training.csv holds it."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)


@dataclass
class Configuration:
    """Runs that differ in the seed alone, as lines of training.csv; a decision sets verdict and reason."""

    lines: Sequence[Mapping[str, Any]]
    verdict: str = "not_measured"
    reason: str = ""

    def __getattr__(self, name: str) -> Any:
        """What all of its lines say: `model`, `optimizer` and so on."""
        if name not in _CONFIGURATION and name != "target_accuracy":
            raise AttributeError(name)
        return self.lines[0][name]

    @cached_property
    def trusted(self) -> list[Mapping[str, Any]]:
        """The runs whose figures count."""
        return [line for line in self.lines if line["status"] == "ok" and line["valid"]]

    @property
    def counted(self) -> list[Mapping[str, Any]]:
        """Those that were measured and trusted, and those that diverged: a result as well."""
        return [line for line in self.lines if line in self.trusted or line["status"] == "diverged"]

    @property
    def trained(self) -> list[Mapping[str, Any]]:
        """The runs that came to their end: what they learnt is true, however disturbed their time was."""
        return [line for line in self.lines if line["status"] == "ok"]

    def values(self, column: str) -> list[float]:
        """A figure of the runs that have it: of those that are trusted, or what was learnt of all."""
        lines = self.trained if column in LEARNT else self.trusted
        return [float(line[column]) for line in lines if line[column] is not None]

    def to_target(self, column: str) -> float | None:
        """The median of a figure that counts until the target, a run that never reached it counting as
        infinite; None where that is the median.
        """
        lines = self.ended if column in LEARNT else self.counted
        found = [math.inf if line[column] is None else float(line[column]) for line in lines]
        median = float(np.median(found)) if found else math.inf
        return median if math.isfinite(median) else None

    @property
    def ended(self) -> list[Mapping[str, Any]]:
        """The runs whose end is known: at the target, without it, diverged. Other load changes none of it."""
        return [line for line in self.lines if line["status"] in ("ok", "diverged")]

    @property
    def reached(self) -> int:
        return sum(bool(line["reached"]) for line in self.ended)

    @property
    def diverged(self) -> int:
        return sum(line["status"] == "diverged" for line in self.lines)

    @property
    def name(self) -> str:
        """The configuration as a sentence names it."""
        more = [self.schedule] if self.schedule != "constant" else []
        more += [self.precision] if self.precision != "fp32" else []
        more += [f"in {self.accumulation} parts"] if self.accumulation > 1 else []
        more += ["activations computed again"] if self.activation_checkpointing else []
        named = f"{self.optimizer}, learning rate {self.learning_rate:g}, batch size {self.batch_size}"
        return ", ".join([named, *more, f"in {self.runtime}"])

    def to_line(self) -> dict[str, Any]:
        """One line of training-configurations.csv."""
        line = {name: self.lines[0][name] for name in _CONFIGURATION}
        seconds, best = self.values("seconds_to_target"), self.values("best_validation_accuracy")
        line |= {
            "verdict": self.verdict,
            "reason": self.reason,
            "seeds": len(self.lines),
            "seeds_measured": len(self.trusted),
            "seeds_reached": self.reached,
            "seeds_diverged": self.diverged,
            "target_accuracy": self.target_accuracy,
            "currency": self.lines[0]["currency"],
            "seconds_to_target_low": min(seconds, default=None),
            "seconds_to_target_high": max(seconds, default=None),
            "best_validation_accuracy_low": min(best, default=None),
            "best_validation_accuracy_high": max(best, default=None),
            "peak_memory_mb": max(self.values("peak_memory_mb"), default=None),
        }
        line |= {column: self.to_target(column) for column in ("epochs_to_target", *FIGURES.values())}
        for column in ("best_validation_accuracy", "samples_per_s", "step_p50_ms", "epochs"):
            found = self.values(column)
            line[column] = float(np.median(found)) if found else None
        return line


def make_configurations(table: pd.DataFrame) -> list[Configuration]:
    """The configurations of a table of runs, in its order."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    identity = [name for name in RUN_FIELDS if name != "seed"]
    for line in table.astype(object).where(table.notna(), None).to_dict("records"):
        plain = {str(name): value for name, value in line.items()}
        found.setdefault(tuple(plain[name] for name in identity), []).append(plain)
    return [Configuration(lines) for lines in found.values()]


def make_configuration_table(configurations: Iterable[Configuration]) -> pd.DataFrame:
    """The table of configurations, with the columns of `CONFIGURATION_COLUMNS`."""
    return pd.DataFrame([each.to_line() for each in configurations], columns=list(CONFIGURATION_COLUMNS))
