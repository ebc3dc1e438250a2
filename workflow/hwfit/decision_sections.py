"""The section `decision` of a config: what is wanted, under which limits, and for what together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from hwfit.relative_bound import PATTERN
from hwfit.section_types import (
    BatchSize,
    DeviceName,
    ModelName,
    Name,
    OptimizationName,
    Positive,
    RuntimeName,
    Section,
    Share,
    Unique,
)
from hwfit.section_types import text as _text
from hwfit.training.sections import TrainingWanted

GoalName = Literal["throughput", "latency", "energy", "cost"]
RelativeBound = Annotated[
    str, _text(PATTERN, "a share of the baseline's figure, such as `50% of baseline`", 40)
]


Bound = Annotated[
    Annotated[Positive, Tag("number")] | Annotated[RelativeBound, Tag("text")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "number"),
]


class Constraints(Section):
    """Limits that a recommended combination must meet; none where absent. Units are in the names. What is
    measured in units may be limited by a share of the baseline's figure too: `50% of baseline`.
    """

    latency_p50_ms: Bound | None = Field(default=None, description="most: median time of a call, ms")
    latency_p90_ms: Bound | None = Field(
        default=None, description="most: 90th percentile of a call's time, ms"
    )
    latency_p99_ms: Bound | None = Field(
        default=None, description="most: 99th percentile of a call's time, ms"
    )
    time_to_first_token_ms: Bound | None = Field(
        default=None, description="most, of a language model: median time until the first token is there, ms"
    )
    time_per_output_token_ms: Bound | None = Field(
        default=None, description="most, of a language model: median time of each further token, ms"
    )
    min_throughput_samples_per_s: Bound | None = Field(default=None, description="least: samples a second")
    max_accuracy_drop: Share | None = Field(
        default=None,
        description="most: accuracy lost against the fp32 reference, absolute (0.01 is one point)",
    )
    max_perplexity_increase: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None,
        description="most, of a language model: perplexity above the fp32 reference's, relative (0.01 is 1%)",
    )
    min_fidelity: Share | None = Field(
        default=None, description="least: agreement with the fp32 reference, a share (0.98 is 98%)"
    )
    max_memory_mb: Bound | None = Field(default=None, description="most: peak memory, MB")
    max_model_size_mb: Bound | None = Field(
        default=None, description="most: weights as the session holds them, MB"
    )
    max_power_w: Bound | None = Field(default=None, description="most: mean power while measuring, W")
    max_energy_j_per_sample: Bound | None = Field(default=None, description="most: energy a sample, J")
    max_cost_usd_per_million: Bound | None = Field(
        default=None, description="most: a million samples, US dollars, where that is cost.currency"
    )
    max_cost_per_million: Bound | None = Field(
        default=None, description="most: a million samples, in cost.currency"
    )

    def given(self) -> dict[str, float | str]:
        """Those that are set."""
        return self.model_dump(exclude_none=True)


class Mix(Section):
    """Several goals, each with its weight; what counts is the product of the figures to these powers."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    throughput: Positive | None = Field(default=None, description="weight of the throughput")
    latency: Positive | None = Field(default=None, description="weight of the median latency")
    energy: Positive | None = Field(default=None, description="weight of the energy a sample")
    cost: Positive | None = Field(default=None, description="weight of the price of a sample")


Wanted = Annotated[
    Annotated[GoalName, Tag("text")] | Annotated[Mix, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, (Mapping, Mix)) else "text"),
]


class Preference(Section):
    """What is wanted of one model."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    objective: Wanted | None = Field(default=None, description="instead of the one of all models")
    constraints: Constraints | None = Field(
        default=None, description="each instead of the limit of that name of all models, or beside them"
    )


class BaselineRow(Section):
    """The row that `% of baseline` means: what is absent is as in the row that is judged."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    device: DeviceName | None = Field(default=None, description="of the row")
    runtime: RuntimeName | None = Field(default=None, description="of the row")
    optimization: OptimizationName = Field(default="baseline", description="a name in optimizations.yaml")
    batch_size: BatchSize | None = Field(default=None, description="of the row")


class Decision(Section):
    """What is wanted, and under which limits."""

    objective: Wanted = Field(
        default="throughput",
        description="what the recommended combination is best in: throughput, latency, energy or cost, or a "
        "mapping of these to weights, whose product of figures to the powers of their weights then counts; "
        "latency means throughput in the scenarios offline, where nobody waits, and server, where the limits "
        "say how long",
    )
    constraints: Constraints = Field(default=Constraints(), description="limits that it must meet")
    per_model: dict[ModelName, Preference] = Field(
        default={}, description="for some models another objective, or other limits"
    )
    baseline: BaselineRow | None = Field(
        default=None,
        description="the row that limits such as `50% of baseline` look at; absent: the one without an "
        "optimization of the same model, device, runtime, scenario and batch size",
    )
    share_device: dict[Name, Annotated[list[ModelName], Field(min_length=2), Unique()]] = Field(
        default={},
        description="sets of models that must run on one device, by a name: each gets an answer of its own",
    )
    training: TrainingWanted = Field(
        default=TrainingWanted(), description="what the recommended way of training is best in"
    )

    def wanted_of(self, model: str) -> str | dict[str, float]:
        """The objective for a model: a goal's name, or the weights of several."""
        special = self.per_model.get(model)
        objective = special.objective if special and special.objective else self.objective
        return objective if isinstance(objective, str) else objective.model_dump(exclude_none=True)

    def limits_of(self, model: str) -> dict[str, float | str]:
        """The limits for a model, by name."""
        special = self.per_model.get(model)
        more = special.constraints.given() if special and special.constraints else {}
        return self.constraints.given() | more

    def percentile_limits_of(self, model: str) -> dict[str, float]:
        """The limits on percentiles of the latency that are known before anything is measured: ms by
        percentile.
        """
        limits = self.limits_of(model)
        named = {"0.9": limits.get("latency_p90_ms"), "0.99": limits.get("latency_p99_ms")}
        return {percentile: limit for percentile, limit in named.items() if isinstance(limit, float)}
