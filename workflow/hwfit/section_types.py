"""What the sections of a config are made of: their base, and annotations that check text, names and lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, StringConstraints
from pydantic import ValidationInfo as Info
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from hwfit import catalog


@dataclass(frozen=True)
class OneOf:
    """Annotates text that must be one of a few values."""

    values: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(self.values))


@dataclass(frozen=True)
class Defined:
    """Annotates a name that another file must define.

    What is defined there comes as the validation context, `{kind: names}`; without it any name passes.
    """

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"description": f"a name in {self.place}"} | handler(schema)

    @property
    def place(self) -> str:
        return "envs/" if self.kind == "environments" else f"{self.kind}.yaml"

    def check(self, name: str, info: Info) -> str:
        defined = (info.context or {}).get(self.kind)
        if defined is not None and name not in defined:
            raise PydanticCustomError(
                "not_defined", "not defined", {"place": self.place, "defined": list(defined)}
            )
        return name


@dataclass(frozen=True)
class Unique:
    """Annotates a list in which nothing stands twice."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return handler(schema) | {"uniqueItems": True}

    def check(self, values: list[Any]) -> list[Any]:
        for index, value in enumerate(values):
            if value in values[:index]:
                context = {"index": index, "first": values.index(value)}
                raise PydanticCustomError("repeated", "there twice", context)
        return values


def text(pattern: str, meaning: str, max_length: int = 256) -> Any:
    """Text of a pattern, with the words that an editor and an error message say for it."""
    return Field(
        pattern=pattern,
        max_length=max_length,
        json_schema_extra={"patternErrorMessage": f"allowed: {meaning}"},
    )


# Paths go through Snakemake, which reads braces as wildcards, and stand in command lines, where a dash begins
# an option; a shell's ~ is no folder.
PATH_START, PATH_REST = r"[^\x00-\x1f{}~ -]", r"[^\x00-\x1f{}]"
PLAIN_PATH = "without control characters and braces, not beginning with - or ~"
FilePath = Annotated[
    str,
    text(
        rf"^{PATH_START}{PATH_REST}{{0,399}}$",
        f"the path of a file or folder, {PLAIN_PATH}",
    ),
]

# Names become file names, rule names, MLflow tags and HTML: one plain alphabet serves all of them.
NAME_MEANING = "a name: lowercase letters and digits, parts joined by one of . _ - (at most 64 characters)"
_NAME = r"[a-z0-9]+([._-][a-z0-9]+)*"
Name = Annotated[
    str,
    StringConstraints(pattern=rf"^{_NAME}$", max_length=64),
    Field(json_schema_extra={"patternErrorMessage": f"allowed: {NAME_MEANING}"}),
]
# A device of a plan: the study's own, or one that was imported from another site.
PlannedDevice = Annotated[str, StringConstraints(pattern=rf"^{_NAME}(@{_NAME})?$", max_length=129)]
RuntimeName = Annotated[str, OneOf(tuple(catalog.RUNTIMES))]
ModelName = Annotated[str, Defined("models")]
DeviceName = Annotated[str, Defined("devices")]
OptimizationName = Annotated[str, Defined("optimizations")]
Core = Annotated[int, Field(ge=0, le=65535)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
PowerScope = Annotated[str, OneOf(catalog.POWER_SCOPES)]
PowerCommand = Annotated[
    str, text(r"^[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*$", "a command line, without control characters", 2000)
]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class Section(BaseModel):
    """A mapping of the config: unknown keys are errors, values are not coerced from text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
