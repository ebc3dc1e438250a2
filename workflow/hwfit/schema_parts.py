"""What the parts of a published form have in common: closed mappings, and rows of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

Value = str | bool | int | float | None


class Part(BaseModel):
    """A mapping of the file: all keys are there, and no others."""

    model_config = ConfigDict(extra="forbid")


def row_of(name: str, table: str, columns: Mapping[str, str]) -> Any:
    """The form of a table's row, by the columns and what each is."""
    fields: dict[str, Any] = {column: (Value, Field(description=said)) for column, said in columns.items()}
    doc = f"A row of {table}; what was not measured is null."
    return create_model(name, __base__=Part, __doc__=doc, **fields)
