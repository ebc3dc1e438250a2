"""What a user is told about a config that cannot be used: one line a problem, nothing of Python in it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hwfit.key_path import KeyPath

MAX_PROBLEMS = 10
MAX_LISTED = 24

# What people call things that hwfit names after their programming interface; too far off for difflib.
_SYNONYMS = {"gpu": "cuda", "nvidia": "cuda", "ascend": "npu", "keras": "tensorflow"}


class ConfigError(ValueError):
    """A configuration that cannot be used. `str(error)` is the whole message, one line a problem."""

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        lines = list(self.problems[:MAX_PROBLEMS])
        if len(self.problems) > MAX_PROBLEMS:
            lines.append(f"… and {len(self.problems) - MAX_PROBLEMS} more")
        super().__init__("\n".join(lines))


def mask_credentials(text: str) -> str:
    """Hide what a URI may hold of secrets: all before its last `@`, a port that is none, and its query."""
    text = re.sub(r"^([\w+.-]+://)?.*@", r"\1***@", text, flags=re.DOTALL)
    text = re.sub(r"(://[^/:]*):(?!\d+(/|$))[^/]*", r"\1:***", text)
    return re.sub(r"\?.*=.*", "?***", text, flags=re.DOTALL)


def written(path: KeyPath) -> str:
    """A key path as a user would write it: `matrix[0].batch_sizes[2]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = re.fullmatch(r"[\w-]{1,80}", part, re.ASCII)
            text += ("." if text else "") + (part if plain else shown(part))
    return text


def shown(value: Any) -> str:
    """A value as it reads in a message: quoted, short, without control characters or secrets."""
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            text = mask_credentials(value)
            return repr(text if len(text) <= 80 else text[:77] + "…")
        case int() if value.bit_length() > 128:
            return f"a number of {value.bit_length()} bits"
        case int() | float():
            return str(value)
        case Mapping():
            return "a mapping" if value else "an empty mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case _:
            return f"{str(value)!r} (a {type(value).__name__})"


def nearest(name: Any, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` where one of the allowed names is close, else nothing."""
    if not isinstance(name, str):
        return ""
    allowed = list(allowed)
    if _SYNONYMS.get(name.lower()) in allowed:
        return f"; did you mean {_SYNONYMS[name.lower()]!r}?"
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    close = difflib.get_close_matches(name.lower()[:100], by_lower, n=1, cutoff=0.5)
    # A name that only lost its unit or gained a word is further away than difflib's measure allows.
    close = close or [low for low in by_lower if len(name) > 2 and low.startswith(name.lower())][:1]
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def listed(names: Sequence[str]) -> str:
    """Names in one line, cut where a line would become a page."""
    if not names:
        return "none is defined"
    more = f", … ({len(names)} in all)" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def hint(value: Any, wants: str) -> str:
    """What the writer of a value of the wrong type probably meant.

    Parameters
    ----------
    value : what was written
    wants : what is allowed there, as `hwfit.schemas.allowed` says it
    """
    if wants.startswith(("a number", "a whole number")) and isinstance(value, str):
        return _number_in_text(value, wants)
    if wants.startswith(("text", "one of", "a name")):
        if isinstance(value, bool):
            return "; YAML reads yes, no, on and off as true or false: put it in quotes"
        if value is not None and not isinstance(value, (str, list, tuple, Mapping)):
            return "; put it in quotes"
    if wants.startswith("a list") and "each" in wants and isinstance(value, (str, int)):
        return f"; write [{value}]" if re.fullmatch(r"[\w.-]{1,80}", str(value), re.ASCII) else ""
    return ""


def _number_in_text(text: str, wants: str) -> str:
    try:
        number = float(text)
    except ValueError:
        match = re.fullmatch(r"\s*([-+]?\d+\.?\d*)\s*(%|[A-Za-z/]+)\s*", text)
        if not match:
            return ""
        if match[2] == "%" and "% of baseline" in wants:
            return f"; write '{match[1]}% of baseline'"
        if match[2] == "%":
            return f"; write {float(match[1]) / 100:g}"
        return "; write the number alone: a key that has a unit has it in its name"
    if not math.isfinite(number):
        return ""
    if "whole" in wants:
        return f"; write {int(number)} without quotes" if number == int(number) else ""
    return f"; that is text, write {number:g} without quotes"


def display(path: Path) -> str:
    """A file's path as short as it stays true: relative below the working directory."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
