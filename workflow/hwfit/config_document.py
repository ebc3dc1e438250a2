"""What pydantic found wrong with a config file, said to the user who wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hwfit import schemas
from hwfit.config_errors import display, hint, listed, nearest, shown, written
from hwfit.key_path import MISSING, KeyPath, at
from hwfit.yaml_source import YamlSource


@dataclass(frozen=True)
class Document:
    """One of the four config files: its value, and the files that it came from.

    `name` is that of its schema: config, models, devices or optimizations.
    """

    name: str
    value: dict[str, Any]
    sources: tuple[YamlSource, ...]

    def problem(self, path: KeyPath, message: str) -> str:
        """One line: file, line, key path, message."""
        subject = written(path) or "the file"
        return f"{self._where(path)}: {subject} {message}"

    @property
    def _schema(self) -> dict[str, Any]:
        return schemas.schema(self.name)

    def explain(self, error: ValidationError) -> Iterator[str]:
        """A line for each of pydantic's errors, in a user's words."""
        details = error.errors(include_url=False)
        bad_keys = [detail["loc"][:-1] for detail in details if detail["loc"][-1:] == ("[key]",)]
        for detail in details:
            location = detail["loc"]
            # What stands under a key that is itself wrong is not the user's next concern.
            if location[-1:] == ("[key]",) or not any(location[: len(key)] == key for key in bad_keys):
                yield self.problem(*self._explain(detail))

    def _where(self, path: KeyPath) -> str:
        """The file and line of a key path, or of the deepest part of it that is there."""
        present = path
        while at(self.value, present) is MISSING:
            present = present[:-1]
        for source in reversed(self.sources):
            if source.has(present, at(self.value, present)):
                return f"{display(source.path)}:{source.line(path)}"
        names = ", ".join(display(source.path) for source in self.sources)
        return f"{names} or --config" if names else "config"

    def _explain(self, detail: Any) -> tuple[KeyPath, str]:
        """The key path that one of pydantic's errors is about, and the message."""
        kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
        is_key = detail["loc"][-1:] == ("[key]",)
        path = self._path(detail["loc"], kind)
        node = schemas.at(self._schema, path, self.value)
        match kind:
            case "not_defined":
                known = _names(value, context["defined"])
                return path, f"is {shown(value)}, which is not in {context['place']}; defined: {known}"
            case "repeated":
                again, first = (*path, context["index"]), (*path, context["first"])
                return (
                    again,
                    f"is {shown(at(self.value, again))} again, as {written(first)}; allowed: each once",
                )
            case "missing":
                return path[:-1], f"lacks `{path[-1]}`{self._meaning(node)}"
            case "union_tag_not_found":
                return path, f"lacks `{node['discriminator']['propertyName']}`{self._meaning(node)}"
            case "union_tag_invalid":
                key, tags = node["discriminator"]["propertyName"], node["discriminator"]["mapping"]
                return (*path, key), f"is {shown(value[key])}; allowed: {_names(value[key], list(tags))}"
            case "extra_forbidden":
                return self._unknown_key(path)
            case "literal_error" if is_key:
                return self._unknown_key(path)
            case _ if is_key or kind == "invalid_key":
                return path, f"is not {schemas.NAME_MEANING.replace(':', '; allowed:', 1)}"
        wanted = schemas.allowed(self._schema, node)
        choices = [node, *node.get("anyOf", ()), *node.get("oneOf", ())]
        named = [name for choice in choices for name in choice.get("enum") or choice.get("examples") or ()]
        close = nearest(value, named)
        return path, f"is {shown(value)}; allowed: {wanted}{close or hint(value, wanted)}"

    def _unknown_key(self, path: KeyPath) -> tuple[KeyPath, str]:
        section = schemas.at(self._schema, path[:-1], self.value)
        keys = list(section.get("properties") or section["propertyNames"]["enum"])
        return path, f"is not a known key; allowed: {_names(path[-1], keys)}"

    def _meaning(self, node: Mapping[str, Any]) -> str:
        meaning = f" ({node['description']})" if "description" in node else ""
        return f"{meaning}; allowed: {schemas.allowed(self._schema, node)}"

    def _path(self, location: tuple[str | int, ...], kind: str) -> KeyPath:
        """A location of pydantic's without what only pydantic knows: names of alternatives."""
        path: KeyPath = ()
        for part in location[:-1]:
            if at(self.value, (*path, part)) is not MISSING:
                path = (*path, part)
        last = location[-1:]
        return (*path, *last) if kind == "missing" or at(self.value, (*path, *last)) is not MISSING else path


def _names(name: Any, names: Sequence[str]) -> str:
    return listed(names) + nearest(name, names)
