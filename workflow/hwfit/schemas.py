"""The JSON schemas of the four config files, and what they allow in words.

Editors complete and check a config by them (`# yaml-language-server: $schema=…`); the error messages
and the reference in config/README.md say what is allowed from the same source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from hwfit.device_sections import DeviceOrComposite
from hwfit.key_path import KeyPath, child
from hwfit.section_types import NAME_MEANING, Name, PlannedDevice
from hwfit.sections import Config, Model, Optimization

ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "config": TypeAdapter(Config),
    "models": TypeAdapter(dict[Name, Model]),
    "devices": TypeAdapter(dict[Name, DeviceOrComposite]),
    "optimizations": TypeAdapter(dict[Name, Optimization]),
}
# Of a plan, which may have devices of other sites; no file of a user's.
PLANNED_DEVICES: TypeAdapter[Any] = TypeAdapter(dict[PlannedDevice, DeviceOrComposite])


@cache
def schema(file: str) -> dict[str, Any]:
    """The JSON schema of one of the four files, by its name without .yaml."""
    body = _without_titles(ADAPTERS[file].json_schema())
    if "patternProperties" in body:
        body["additionalProperties"] = False
    title = f"hwfit: config/{file}.yaml"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **body}


def text(file: str) -> str:
    """The content of a schema file."""
    return json.dumps(schema(file), indent=2, ensure_ascii=False) + "\n"


def at(root: Mapping[str, Any], path: KeyPath, value: Any) -> dict[str, Any]:
    """The part of a schema that speaks about a key path of a value; empty where none does.

    The value decides between alternatives: a list or a mapping, or which pass a mapping is.
    """
    node = _resolve(root, root, value)
    for part in path:
        if isinstance(part, int):
            node = node.get("items", {})
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        elif patterns := node.get("patternProperties"):
            node = next(iter(patterns.values()))
        else:
            found = node.get("additionalProperties")
            node = found if isinstance(found, dict) else {}
        value = child(value, part)
        node = _resolve(root, node, value)
    return dict(node)


def allowed(root: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """What a schema allows, in words.

    Starts with `a whole number`, `a number`, `text`, `one of`, `a name`, `a list` or `a mapping`.
    """
    if "$ref" in node:
        return allowed(root, target(root, node))
    if "patternErrorMessage" in node:
        return node["patternErrorMessage"].removeprefix("allowed: ")
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        values = node["enum"]
        return f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])
    if alternatives := node.get("anyOf") or node.get("oneOf"):
        alternatives = [choice for choice in alternatives if choice.get("type") != "null"]
        if "discriminator" in node:
            key, mapping = node["discriminator"]["propertyName"], node["discriminator"]["mapping"]
            return f"a mapping with `{key}`: one of {', '.join(mapping)}"
        return ", or ".join(allowed(root, choice) for choice in alternatives)
    match node.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return "a whole number" + _range(node)
        case "number":
            return "a number" + _range(node)
        case "array":
            return _allowed_list(root, node)
        case "object":
            return _allowed_mapping(root, node)
    return node.get("description", "text")


def _allowed_list(root: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    least = {0: "", 1: ", at least one", 2: ", at least two"}[node.get("minItems", 0)]
    repeats = ", none twice" if node.get("uniqueItems") else ""
    each = allowed(root, node["items"])
    if each.startswith("a mapping"):
        return f"a list of mappings{least}{repeats}"
    return f"a list{least}{repeats}; each {each}"


def _allowed_mapping(root: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    if properties := node.get("properties"):
        return "a mapping with the keys " + ", ".join(properties)
    keys = node.get("propertyNames", {}).get("enum")
    if not keys and "patternProperties" not in node:
        return "a mapping"
    return "a mapping with keys of " + (", ".join(keys) if keys else "your own naming: " + NAME_MEANING)


def _range(node: Mapping[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    above, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if above is not None and below is not None:
        return f" above {above} and below {below}"
    if above is not None:
        return f" above {above}" + (f" and at most {high}" if high is not None else "")
    return f" of {low} or more" if low is not None else ""


def _resolve(root: Mapping[str, Any], node: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
    """Follow references, and of alternatives the one that a value is meant as."""
    while True:
        if "$ref" in node:
            node = {**target(root, node), **{k: v for k, v in node.items() if k != "$ref"}}
            continue
        choices = [c for c in node.get("anyOf") or node.get("oneOf") or [] if c.get("type") != "null"]
        if "discriminator" in node:
            tag = child(value, node["discriminator"]["propertyName"])
            chosen = node["discriminator"]["mapping"].get(tag) if isinstance(tag, str) else None
            choices = [{"$ref": chosen}] if chosen else []
        elif len(choices) > 1:
            is_list = isinstance(value, list)
            wanted = [c for c in choices if (c.get("type") == "array") == is_list]
            choices = wanted if isinstance(value, (list, Mapping)) else []
            if len(choices) > 1 and isinstance(value, Mapping):
                # Of two kinds of mapping, the one whose keys are there; the first where none is.
                choices = sorted(choices, key=lambda choice: -_keys_there(root, choice, value))[:1]
        if len(choices) != 1:
            return node
        kept = {k: v for k, v in node.items() if k not in ("anyOf", "oneOf", "discriminator")}
        node = {**choices[0], **kept}


def _keys_there(root: Mapping[str, Any], choice: Mapping[str, Any], value: Mapping[str, Any]) -> int:
    section = target(root, choice) if "$ref" in choice else choice
    return sum(key in value for key in section.get("required", []))


def target(root: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    """The section that a reference names."""
    return root["$defs"][node["$ref"].rsplit("/", 1)[1]]


def _without_titles(node: Any) -> Any:
    """Drop the titles that pydantic makes of the keys: they say nothing that the keys do not."""
    if isinstance(node, dict):
        return {
            key: _without_titles(value)
            for key, value in node.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_without_titles(item) for item in node] if isinstance(node, list) else node
