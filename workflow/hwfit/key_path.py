"""Ways into nested plain data: `("matrix", 0, "batch_sizes", 2)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KeyPath = tuple[str | int, ...]

MISSING: Final = object()


def child(value: Any, part: str | int) -> Any:
    """What a mapping has under a key, or a list at an index; MISSING where it has nothing there."""
    if isinstance(value, Mapping):
        return value.get(part, MISSING)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return MISSING


def at(value: Any, path: KeyPath) -> Any:
    """What stands at a key path; MISSING where nothing does."""
    for part in path:
        value = child(value, part)
    return value
