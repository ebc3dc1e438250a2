"""The section `training` of a config: which runs of training to combine, and how long each may take."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from hwfit.section_types import (
    BatchSize,
    DeviceName,
    ModelName,
    OneOf,
    Positive,
    RuntimeName,
    Seconds,
    Section,
    Unique,
)
from hwfit.training.records import OPTIMIZERS, PRECISIONS, SCHEDULES

OptimizerName = Annotated[str, OneOf(tuple(OPTIMIZERS))]
Schedule = Annotated[str, OneOf(SCHEDULES)]
Precision = Annotated[str, OneOf(PRECISIONS)]
LearningRate = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Decay = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
# Of several schedules, this one found the winner of the whole grid most often at a third of its cost, on real
# learning curves (benchmarks/halving.py): four rungs, each somewhat longer than eta times the one before.
MOST_RUNGS, GROWTH = 4, 1.2


class Hyperparameters(Section):
    """Of one optimizer, each of those that it has; docs/training.md says what they mean."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    momentum: Decay | None = Field(default=None, description="share of the last step that is kept")
    weight_decay: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="how much weights shrink; what it multiplies depends on the optimizer"
    )
    beta1: Decay | None = Field(default=None, description="decay of the average of the gradient")
    beta2: Decay | None = Field(default=None, description="decay of the average of its square")
    rho: Decay | None = Field(default=None, description="of rmsprop: decay of the average of the square")
    epsilon: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="added to the denominator"
    )
    warm_up_epochs: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)] | None = Field(
        default=None, description="epochs in which the learning rate rises from 0"
    )

    def given(self) -> dict[str, float]:
        """Those that are set."""
        return self.model_dump(exclude_none=True)


class TrainingExclusion(Section):
    """Runs to leave out: those that match every key given."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    model: ModelName | None = Field(default=None, description="only of this model")
    device: DeviceName | None = Field(default=None, description="only on this device")
    runtime: RuntimeName | None = Field(default=None, description="only in this runtime")
    optimizer: OptimizerName | None = Field(default=None, description="only with this optimizer")
    learning_rate: LearningRate | None = Field(default=None, description="only at this learning rate")
    batch_size: BatchSize | None = Field(default=None, description="only at this batch size")
    schedule: Schedule | None = Field(default=None, description="only with this schedule")
    precision: Precision | None = Field(default=None, description="only in this precision")
    seed: Seed | None = Field(default=None, description="only with this seed")


class Halving(Section):
    """Successive halving: all runs go a little way, the best part of them further, and so on."""

    eta: Annotated[int, Field(ge=2, le=100)] = Field(
        default=2, description="of so many learning rates and optimizers one goes on after each rung"
    )
    rungs: Annotated[int, Field(ge=2, le=20)] | None = Field(
        default=None,
        description="how many times runs go on, the first included; the last ends at max_epochs. Absent: "
        f"{MOST_RUNGS}, or as many as fit where each is eta times as long as the one before",
    )
    first_epochs: Epochs | None = Field(
        default=None,
        description=f"of the first rung; absent: max_epochs over {GROWTH} times eta for each further rung",
    )

    def epochs(self, max_epochs: int) -> tuple[int, ...]:
        """The epochs that a run has gone at the end of each rung."""
        fitting = int(math.log(max(max_epochs / (self.first_epochs or 1), 1), self.eta) + 1e-9) + 1
        last = (self.rungs or min(MOST_RUNGS, max(2, fitting))) - 1
        first = self.first_epochs or max(1, round(max_epochs / (GROWTH * self.eta) ** last))
        growth = (max_epochs / first) ** (1 / last)
        return (*(round(first * growth**rung) for rung in range(last)), max_epochs)


class TrainingMatrix(Section):
    """Runs of training to combine: the product of the lists; what `exclude` matches becomes a skipped row."""

    models: Annotated[list[ModelName], Field(min_length=1), Unique()] = Field(description="what is trained")
    devices: Annotated[list[DeviceName], Field(min_length=1), Unique()] = Field(description="where")
    runtimes: Annotated[list[RuntimeName], Field(min_length=1), Unique()] | None = Field(
        default=None, description="in which software; absent: every one of the device's that trains"
    )
    optimizers: Annotated[list[OptimizerName], Field(min_length=1), Unique()] = Field(
        default=["sgd"], description="what makes steps of gradients"
    )
    learning_rates: Annotated[list[LearningRate], Field(min_length=1), Unique()] = Field(
        description="of the first step"
    )
    batch_sizes: Annotated[list[BatchSize], Field(min_length=1), Unique()] = Field(
        description="samples a step of the optimizer"
    )
    schedules: Annotated[list[Schedule], Field(min_length=1), Unique()] = Field(
        default=["constant"],
        description="of the learning rate: the same throughout, or falling along half a cosine to 0",
    )
    precisions: Annotated[list[Precision], Field(min_length=1), Unique()] = Field(
        default=["fp32"],
        description="of the arithmetic; bf16: mixed, weights and the optimizer's state stay in fp32",
    )
    seeds: Annotated[list[Seed], Field(min_length=1), Unique()] = Field(
        default=[0],
        description="of the first weights and the order of the data: a run each. With one, nothing tells how "
        "far chance moves the figures",
    )
    target_accuracy: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        description="share of the validation data that must be classified right; time, energy and cost count "
        "until then"
    )
    max_epochs: Epochs = Field(
        description="passes over the training data: where a run ends, and its schedule"
    )
    hyperparameters: dict[OptimizerName, Hyperparameters] = Field(
        default={}, description="for some optimizers, other values than their defaults"
    )
    accumulation: Annotated[list[BatchSize], Field(min_length=1), Unique()] = Field(
        default=[1],
        description="parts in which the gradients of a batch are computed, one after the other, for less "
        "memory: the batch size stays what it is",
    )
    activation_checkpointing: Annotated[list[bool], Field(min_length=1), Unique()] = Field(
        default=[False], description="compute activations again on the way back, instead of keeping them"
    )
    processes: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="that share each batch, data parallel: the batch size stays what it is"
    )
    search: Literal["grid", "halving"] = Field(
        default="grid",
        description="grid: every run goes to max_epochs; halving: learning rates and optimizers that fall "
        "behind are stopped early, within each batch size",
    )
    halving: Halving = Field(default=Halving(), description="how the search halving stops them")
    checkpoint_seconds: Seconds = Field(
        default=60, description="so often a run saves what it takes to go on after a kill, s"
    )
    timeout_seconds: Seconds = Field(
        default=600, description="a run that tells nothing for so long is stopped, s"
    )
    exclude: Annotated[list[TrainingExclusion], Unique()] = Field(default=[], description="runs to leave out")

    @property
    def rung_epochs(self) -> tuple[int, ...]:
        """The epochs that a run has gone at the end of each rung; a grid has one rung."""
        return self.halving.epochs(self.max_epochs) if self.search == "halving" else (self.max_epochs,)


TrainingOrList = Annotated[
    Annotated[TrainingMatrix, Tag("mapping")] | Annotated[list[TrainingMatrix], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "mapping"),
]


class TrainingWanted(Section):
    """What the recommended way of training is best in."""

    objective: Literal["seconds", "energy", "cost"] = Field(
        default="seconds", description="until the target accuracy: s, J, or money in cost.currency"
    )
    plus_inferences: Positive | None = Field(
        default=None,
        description="so many inferences follow the training: one device is then chosen for both, by the sum",
    )
