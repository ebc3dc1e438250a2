"""The words of the report: one YAML file a language, all with the same keys."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml
from markupsafe import Markup

from hwfit.costs import DOLLARS, SYMBOLS

LANGUAGES = ("en", "zh")


class Language:
    """A language's text, by dotted key: `words("verdict.chosen")`.

    The text itself may hold HTML; every value that is put into it is escaped. `{currency}` is that of the
    study, which has one.
    """

    def __init__(self, code: str, currency: str = DOLLARS) -> None:
        if code not in LANGUAGES:
            raise ValueError(f"language is {code!r}, allowed: {', '.join(LANGUAGES)}")
        self.code, self.currency = code, currency
        source = files("hwfit.report") / "text" / f"{code}.yaml"
        self.text: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))

    def __call__(self, key: str, /, **values: Any) -> Markup:
        """The text of a key with values put in; a `count` also picks singular or plural."""
        text = self.section(key)
        if isinstance(text, dict):
            text = text["one"] if values.get("count") in (1, "1") else text["other"]
        return Markup(text).format(**{"currency": SYMBOLS.get(self.currency, self.currency)} | values)

    def section(self, key: str) -> Any:
        """What lies at a key: a text, or a mapping of texts. Raises KeyError."""
        found: Any = self.text
        for part in key.split("."):
            found = found[part]
        return found

    def find(self, section: str, name: str) -> str | None:
        """A section's text for a name that comes from data, or None."""
        return self.section(section).get(name)

    def listing(self, items: list[Any]) -> Markup:
        """Items as a sentence lists them."""
        return Markup(self.section("list_separator")).join(items)
