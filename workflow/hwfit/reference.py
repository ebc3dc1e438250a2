"""The reference of every config key, made from the JSON schemas: the tables in config/README.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hwfit import schemas

BEGIN = "<!-- reference: made by `python -m hwfit.generated --write` -->"
END = "<!-- end of reference -->"


def inserted(page: str) -> str:
    """A page with the reference between its two markers made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def reference() -> str:
    """Tables of every key of the four files: type and limits, default, meaning."""
    return "\n".join(line for file in schemas.ADAPTERS for line in _file(file))


def _file(file: str) -> Iterator[str]:
    root = schemas.schema(file)
    yield f"### {file}.yaml\n"
    if file == "config":
        yield from _table(root, root, "", {})
    else:
        (entry,) = root["patternProperties"].values()
        yield f"A mapping. Each key is {schemas.NAME_MEANING}.\n"
        yield from _sections(root, entry, "<name>", {})


def _table(
    root: Mapping[str, Any], section: Mapping[str, Any], path: str, told: dict[str, str]
) -> Iterator[str]:
    """A table of a section's keys, then those of the sections below it; `told` says where each one is."""
    yield "| key | default | allowed | meaning |"
    yield "|---|---|---|---|"
    required = section.get("required", [])
    for key, node in section["properties"].items():
        default = "required" if key in required else _default(node)
        cells = (f"`{key}`", default, _allowed(root, node), node.get("description", ""))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    for key, node in section["properties"].items():
        yield from _sections(root, node, f"{path}.{key}" if path else key, told)


def _sections(
    root: Mapping[str, Any], node: Mapping[str, Any], path: str, told: dict[str, str]
) -> Iterator[str]:
    """Tables of the sections that a value is made of, of several where they are alternatives."""
    if "$ref" in node:
        section = schemas.target(root, node)
        yield f"#### `{path}`\n"
        if node["$ref"] in told:
            yield f"As `{told[node['$ref']]}`.\n"
            return
        told[node["$ref"]] = path
        yield section.get("description", "").replace("\n", " ") + "\n"
        yield from _table(root, section, path, told)
    elif "discriminator" in node:
        key = node["discriminator"]["propertyName"]
        for name, target in node["discriminator"]["mapping"].items():
            yield from _sections(root, {"$ref": target}, f"{path} with {key}: {name}", told)
    elif alternatives := node.get("oneOf") or node.get("anyOf"):
        # The one mapping of the matrix is described by the list of them.
        described = [choice for choice in alternatives if _holds_sections(choice)]
        for number, choice in enumerate(described):
            # A second kind of mapping is told apart by the key that it must have.
            kind = f" with {schemas.target(root, choice)['required'][0]}" if number else ""
            yield from _sections(root, choice, path + kind, told)
    elif "items" in node:
        yield from _sections(root, node["items"], f"{path}[]", told)
    elif isinstance(entries := node.get("additionalProperties"), Mapping):
        key = {"sources": "runtime", "inputs": "input"}.get(path.rpartition(".")[2], "name")
        yield from _sections(root, entries, f"{path}.<{key}>", told)


def _holds_sections(node: Mapping[str, Any]) -> bool:
    """Whether a value is a section, or a mapping of them."""
    entries = node.get("additionalProperties")
    return "$ref" in node or (isinstance(entries, Mapping) and "$ref" in entries)


def _allowed(root: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    if "$ref" in node:
        return "a mapping, see below"
    if any(_holds_sections(choice) for choice in node.get("anyOf", [])):
        return "a mapping, see below"
    if any("$ref" in choice.get("items", {}) for choice in node.get("oneOf", [])):
        return "a mapping, or a list of mappings, see below"
    return schemas.allowed(root, node)


def _default(node: Mapping[str, Any]) -> str:
    default = node.get("default")
    if default is None:
        return "none"
    if isinstance(default, dict):
        return "see below" if default else "`{}`"
    return f"`{json.dumps(default)}`" if isinstance(default, (list, str)) else f"`{default:g}`"
