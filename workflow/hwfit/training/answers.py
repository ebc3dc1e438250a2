"""What `reports/recommendation.json` says of training: its part of the schema, and decisions as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from hwfit.decision_sections import Decision as Wanted
from hwfit.schema_parts import Part, row_of
from hwfit.training.and_inference import WholeDecision, decide_whole
from hwfit.training.decision import TrainingDecision, decide_training
from hwfit.training.scaling import Scaling, scaling_of, sentence
from hwfit.training.table import CONFIGURATION_COLUMNS, Configuration

ConfigurationLine = row_of("ConfigurationLine", "training-configurations.csv", CONFIGURATION_COLUMNS)


class ScaledRateAnswer(Part):
    """A batch size with its best learning rate, beside the one that linear scaling names."""

    batch_size: int = Field(description="samples a step")
    found: float | None = Field(description="the best learning rate of those tried; null: none was measured")
    predicted: float = Field(description="the smallest batch size's best rate, times the growth of the batch")
    at_predicted: Literal["reached", "not_reached", "diverged", "not_tried"] = Field(
        description="what the run nearest to the predicted rate came to"
    )


class ScalingAnswer(Part):
    """The linear-scaling rule beside what was found, for one optimizer."""

    runtime: str = Field(description="software that trained")
    optimizer: str = Field(description="what makes steps of gradients")
    schedule: str = Field(description="of the learning rate")
    precision: str = Field(description="of the arithmetic")
    rates: list[ScaledRateAnswer] = Field(description="by batch size, the smallest first")
    exponent: float | None = Field(description="of the batch size in the best rate; 1: the linear rule")
    text: str = Field(description="the same in a sentence")


class TrainingAnswer(Part):
    """How to train one model on one device."""

    model: str = Field(description="name in models.yaml")
    device: str = Field(description="name in devices.yaml")
    objective: Literal["seconds", "energy", "cost"] = Field(description="what counts, until the target")
    target_accuracy: float = Field(description="share of the validation data that must be right")
    verdict: Literal["chosen", "none"] = Field(description="none: nothing reaches the target")
    summary: str = Field(description="the answer in a sentence")
    chosen: ConfigurationLine | None = Field(description="the configuration")  # type: ignore[valid-type]
    figure: float | None = Field(description="of the chosen configuration, in the objective's unit")
    unit: str = Field(description="of the figure")
    probability_best: float | None = Field(description="that no other is truly better; null: no seeds tell")
    margin: float | None = Field(description="how much more the next best takes, relative")
    margin_low: float | None = Field(description="lower end of its 95% interval")
    margin_high: float | None = Field(description="upper end of its 95% interval")
    tied: list[ConfigurationLine] = Field(description="those that cannot be told from the best")  # type: ignore[valid-type]
    runner_up: ConfigurationLine | None = Field(description="the best of the others")  # type: ignore[valid-type]
    scaling: list[ScalingAnswer] = Field(description="the linear-scaling rule beside what was found")


class WholeAnswer(Part):
    """What a device takes to train a model once and to run it so many times."""

    device: str = Field(description="name in devices.yaml")
    training: float = Field(description="until the target, in the objective's unit")
    inference: float = Field(description="of all inferences")
    total: float = Field(description="of both")
    configuration: str = Field(description="how it is trained there")
    combination: str = Field(description="how it is run there")


class DeviceWithout(Part):
    """A device that cannot be the answer."""

    device: str = Field(description="name in devices.yaml")
    reason: str = Field(description="what it lacks")


class TrainingAndInferenceAnswer(Part):
    """One device for training a model and running it."""

    model: str = Field(description="name in models.yaml")
    scenario: str = Field(description="how requests arrive")
    objective: Literal["seconds", "energy", "cost"] = Field(description="what is summed up")
    unit: str = Field(description="of the sums")
    inferences: float = Field(description="how many follow one training")
    verdict: Literal["chosen", "none"] = Field(description="none: no device does both")
    summary: str = Field(description="the answer in a sentence")
    best: WholeAnswer | None = Field(description="the device")
    others: list[WholeAnswer] = Field(description="the other devices, by their sums")
    excluded: list[DeviceWithout] = Field(description="those that cannot do both")
    changes_at: float | None = Field(
        description="inferences at which another device would be the answer; null: at none"
    )


def training_answers(
    configurations: Sequence[Configuration], table: pd.DataFrame, wanted: Wanted
) -> dict[str, Any]:
    """The keys `training` and `training_and_inference` of the recommendation.

    Parameters
    ----------
    table : combinations.csv with its verdicts
    """
    objective = wanted.training.objective
    decisions = decide_training(configurations, objective)
    scalings = scaling_of(configurations, objective)
    inferences = wanted.training.plus_inferences
    whole = decide_whole(decisions, table, objective, inferences) if inferences and decisions else []
    return {
        "training": [describe(decision, scalings) for decision in decisions],
        "training_and_inference": [describe_whole(decision) for decision in whole],
    }


def describe(decision: TrainingDecision, scalings: Sequence[Scaling]) -> dict[str, Any]:
    """One answer as plain data."""
    mine = [s for s in scalings if (s.model, s.device) == (decision.model, decision.device)]
    kept = ("model", "device", "objective", "target_accuracy", "verdict", "summary", "figure")
    told = (*kept, "probability_best", "margin", "margin_low", "margin_high")
    return {name: getattr(decision, name) for name in told} | {
        "unit": decision.unit,
        "chosen": decision.chosen.to_line() if decision.chosen else None,
        "runner_up": decision.runner_up.to_line() if decision.runner_up else None,
        "tied": [each.to_line() for each in decision.tied],
        "scaling": [describe_scaling(each) for each in mine],
    }


def describe_scaling(scaling: Scaling) -> dict[str, Any]:
    """The rule for one optimizer as plain data."""
    told = asdict(scaling) | {"rates": [asdict(rate) for rate in scaling.rates], "text": sentence(scaling)}
    return {name: value for name, value in told.items() if name not in ("model", "device")}


def describe_whole(decision: WholeDecision) -> dict[str, Any]:
    """One answer for both as plain data."""
    excluded = [{"device": device, "reason": reason} for device, reason in decision.excluded]
    others = [asdict(each) for each in decision.others]
    return asdict(decision) | {"others": others, "excluded": excluded}
