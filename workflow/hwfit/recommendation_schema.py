"""The published form of `reports/recommendation.json`; workflow/schemas/ has it as a JSON schema."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from hwfit.records import COLUMNS
from hwfit.schema_parts import Part, row_of
from hwfit.training.answers import TrainingAndInferenceAnswer, TrainingAnswer

Line = row_of("Line", "combinations.csv", COLUMNS)


class Evidence(Part):
    """How the chosen row stands to one limit."""

    limit: str = Field(description="its name in decision.constraints")
    verdict: Literal["met", "violated", "unproven"] = Field(description="what is known")
    text: str = Field(description="the figure that says so")
    overshoot: float = Field(description="by how much it is missed, relative; 0 where it is met")


class ChangeOfAnswer(Part):
    """Something that may move, and where the answer then changes."""

    kind: Literal["limit", "price", "quality"] = Field(description="what moves")
    name: str = Field(description="the limit's, or the device's of a price")
    current: float | None = Field(description="where it stands")
    at: float = Field(description="where the answer changes")
    direction: Literal["looser", "tighter", "cheaper", "dearer", "lower"] = Field(description="which way")
    unit: str = Field(description="of current and at")
    then: Line | None = Field(description="the row that would win; null: none, or only this one drops out")  # type: ignore[valid-type]
    text: str = Field(description="the same in a sentence")
    at_low: float | None = Field(description="of a price: lower end of at by the doubt of both throughputs")
    at_high: float | None = Field(description="upper end; null: not known, or without end")


class PriceOfDevice(Part):
    """What a device costs at its cheapest, and what an hour of it may cost."""

    device: str = Field(description="name in devices.yaml")
    runtime: str = Field(description="of its cheapest row within the limits on all but cost")
    optimization: str = Field(description="of that row")
    batch_size: int = Field(description="of that row")
    price_per_hour: float | None = Field(description="of that row; null: the device has no price")
    cost_per_million: float | None = Field(description="of that row")
    wins_below: float | None = Field(
        description="price an hour, electricity included, below which the device wins; null: no price decides"
    )
    wins_below_low: float | None = Field(description="lower end of that by the doubt of both throughputs")
    wins_below_high: float | None = Field(description="upper end; null: not known, or without end")
    as_cheap_below: float | None = Field(
        description="price an hour below which its samples are cheaper than the chosen row's; null: its own"
    )


class Launch(Part):
    """How to run the chosen row."""

    environment: str = Field(description="the runtime's, in envs/")
    python: str | None = Field(description="its interpreter, from the project's directory; null: not built")
    code: str = Field(description="Python that opens the session with its precision, threads and batch size")


class ModelAnswer(Part):
    """The answer for one model in one scenario."""

    model: str = Field(description="name in models.yaml")
    scenario: str = Field(description="how requests arrive")
    objective: str = Field(description="what it is best in; mix: see weights")
    weights: dict[str, float] | None = Field(description="of a mix, which sum to 1; null elsewhere")
    constraints: dict[str, float | str] = Field(description="the limits of this model, by name")
    verdict: Literal["chosen", "provisional", "none"] = Field(
        description="provisional: not every limit is proven to be met; none: nothing fits"
    )
    summary: str = Field(description="the answer in a sentence")
    chosen: Line | None = Field(description="the row")  # type: ignore[valid-type]
    probability_best: float | None = Field(description="that no other row that fits is truly better")
    margin: float | None = Field(description="ahead of the runner-up, relative")
    tied: list[Line] = Field(description="rows that cannot be told from the leader")  # type: ignore[valid-type]
    runner_up: Line | None = Field(description="the best of the others")  # type: ignore[valid-type]
    nearest_misses: list[Line] = Field(description="where nothing fits, what is nearest")  # type: ignore[valid-type]
    advice: str = Field(description="where nothing fits, the one limit to relax")
    limits: list[Evidence] = Field(description="how the chosen row stands to each limit")
    sensitivity: list[ChangeOfAnswer] = Field(description="what would change the answer")
    prices: list[PriceOfDevice] = Field(description="each device at its cheapest; empty: none has a price")
    launch: Launch | None = Field(description="how to run the chosen row; null: another site's, or none")


class Excluded(Part):
    """A device that is not the answer."""

    device: str = Field(description="name in devices.yaml")
    reason: str = Field(description="why not this one")


class SetAnswer(Part):
    """The answer for several models that must share one device."""

    name: str = Field(description="in decision.share_device")
    models: list[str] = Field(description="which")
    verdict: Literal["chosen", "none"] = Field(description="none: no device serves all of them")
    device: str | None = Field(description="the answer")
    probability_best: float | None = Field(description="that no other device is truly better")
    tied: list[str] = Field(description="devices that cannot be told from the best")
    summary: str = Field(description="the answer in a sentence")
    choices: list[Line] = Field(description="what to run there, a row a model and scenario")  # type: ignore[valid-type]
    others: list[Excluded] = Field(description="the other devices")


class GuidedSearch(Part):
    """How the search was guided, and what it left out."""

    kind: Literal["guided"] = Field(description="what measurement.search asked for")
    rounds: int = Field(description="of looks at what was left")
    cells: int = Field(description="that were looked at")
    seconds: float = Field(description="that all looks took, starts of processes included, s")
    went_on: int = Field(description="combinations that were measured in full")
    dominated: int = Field(description="combinations that the leader was ahead of for certain")
    infeasible: int = Field(description="combinations that broke a limit for certain")
    failed: int = Field(description="combinations that failed when they were looked at")


class Recommendation(Part):
    """What hwfit recommends, and what that rests on."""

    schema_version: int = Field(description="of the records")
    hwfit_version: str = Field(description="that decided")
    sweep: str = Field(description="name of the study")
    objective: str | dict[str, float] = Field(description="of all models that have no other")
    constraints: dict[str, float | str] = Field(description="limits of all models that have no others")
    counts: dict[str, int] = Field(description="combinations in all, and by status")
    seconds_measured: float = Field(description="in timed calls, s")
    search: GuidedSearch | None = Field(
        default=None, description="how it was guided; null: every combination was measured"
    )
    models: list[ModelAnswer] = Field(description="an answer a model and scenario")
    sets: list[SetAnswer] = Field(description="an answer a set of models that share a device")
    training: list[TrainingAnswer] = Field(description="an answer a model that is trained and device")
    training_and_inference: list[TrainingAndInferenceAnswer] = Field(
        description="one device for both, a model and scenario, where decision.training.plus_inferences asks"
    )


def schema_text() -> str:
    """The JSON schema as the file in workflow/schemas/ has it."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hwfit: reports/recommendation.json",
    }
    body: dict[str, Any] = Recommendation.model_json_schema()
    return json.dumps(head | {k: v for k, v in body.items() if k != "title"}, indent=2) + "\n"
