"""YAML read strictly: plain values, each key once, of a size a person could have written, with line numbers.

PyYAML alone lets a repeated key overwrite the first, expands aliases without end, recurses until
Python gives up, and reads `010` as 8. Each of these stops here, with its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hwfit.config_errors import ConfigError, display, shown
from hwfit.key_path import KeyPath, at

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_NODES = 200_000

_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "timestamp")
}
_MERGE_TAG = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class YamlSource:
    """A YAML file's value, and where each part of it stands."""

    path: Path
    value: Any
    root: yaml.Node

    def has(self, path: KeyPath, expected: Any) -> bool:
        """Whether the file has, at a key path, the expected value, or some mapping where a mapping is."""
        value = at(self.value, path)
        if isinstance(value, dict) and isinstance(expected, dict):
            return True
        both_nan = value != value and expected != expected
        return type(value) is type(expected) and (value == expected or both_nan)

    def line(self, path: KeyPath) -> int:
        """The line of a key path, or of the deepest part of it that the file has; counted from 1."""
        node, line = self.root, self.root.start_mark.line
        for part in path:
            if isinstance(node, yaml.MappingNode):
                # Merged pairs stand first once a value was made, so the last one is the one in force.
                found = [(key, value) for key, value in node.value if key.value == part]
                if not found:
                    break
                key, node = found[-1]
                line = key.start_mark.line
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line
            else:
                break
        return line + 1


def read_yaml(path: Path) -> YamlSource:
    """Read a YAML file whose top level is a mapping.

    Raises
    ------
    ConfigError
        Names the file, the line where it can be known, what is wrong and what is allowed.
    """
    name = display(path)
    text = _read_text(path, name)
    try:
        loader = _Loader(text, name)
        root = loader.get_single_node()
        if root is None or (isinstance(root, yaml.ScalarNode) and root.value == ""):
            raise ConfigError(f"{name}: is empty; allowed: a YAML mapping, `key: value` lines")
        if not isinstance(root, yaml.MappingNode):
            kind = "a list" if isinstance(root, yaml.SequenceNode) else f"the text {shown(root.value)}"
            raise _at(name, root, f"the top level is {kind}; allowed: a mapping, `key: value` lines")
        _check_nodes(root, name)
        return YamlSource(path, loader.construct_document(root), root)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"has the character {chr(error.character)!r}, which YAML does not allow"
        raise ConfigError(f"{name}:{line}: {message}") from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{name}{_not_yaml(error)}") from None


def _not_yaml(error: yaml.MarkedYAMLError) -> str:
    """Where a text stops being YAML, and why, without the text itself, which may hold a password."""
    mark = error.problem_mark or error.context_mark
    where = f":{mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{where}: is not YAML: {', '.join(filter(None, (error.context, error.problem)))}"


def require_readable(path: Path | str) -> None:
    """Refuse a config file that is missing, is not plain YAML or repeats a key.

    To be called before Snakemake's `configfile:`, whose loader lets repeated keys pass and runs
    what a file with `__use_yte__` or a Python tag says.
    """
    source = read_yaml(Path(path))
    if "__use_yte__" in source.value:
        line = source.line(("__use_yte__",))
        raise ConfigError(
            f"{display(source.path)}:{line}: __use_yte__ would run code from a config; not allowed here"
        )


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with a limit on nesting, which its recursion does not survive."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.file_name = name
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            line = self.peek_event().start_mark.line + 1
            raise ConfigError(f"{self.file_name}:{line}: is nested more than {MAX_DEPTH} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ConfigError:
            raise
        except (ValueError, KeyError):
            # A month 13 or a `!!int` of letters; PyYAML lets Python's own error through.
            kind = node.tag.rsplit(":", 1)[-1]
            raise _at(self.file_name, node, f"{shown(node.value)} cannot be read as {kind}") from None


def _read_text(path: Path, name: str) -> str:
    try:
        # One byte over the limit tells a file of any size, a device file included.
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{name}: not there (looked for at {path.absolute()})") from None
    except IsADirectoryError:
        raise ConfigError(f"{name}: is a directory; allowed: a YAML file") from None
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{name}: is larger than {MAX_BYTES} bytes; allowed: a config that a person wrote")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise ConfigError(f"{name}:{line}: is not UTF-8 text: byte 0x{byte:02x}; save it as UTF-8") from None


def _check_nodes(root: yaml.Node, name: str) -> None:
    """Refuse tags that build objects, keys that are not text or repeated, and aliases that explode."""
    sizes: dict[int, tuple[int, int]] = {}
    open_nodes: set[int] = set()

    def visit(node: yaml.Node) -> tuple[int, int]:
        """The number of values under a node with all aliases expanded, and their depth."""
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise _at(name, node, "contains itself through an alias")
        _check_node(node, name)
        open_nodes.add(id(node))
        children = [visit(child) for child in _children(node)]
        open_nodes.remove(id(node))
        size = 1 + sum(count for count, _ in children)
        depth = 1 + max((depth for _, depth in children), default=0)
        if size > MAX_NODES:
            raise _at(name, node, f"its aliases expand to more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            raise _at(name, node, f"is nested more than {MAX_DEPTH} levels deep")
        sizes[id(node)] = size, depth
        return size, depth

    visit(root)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_node(node: yaml.Node, name: str) -> None:
    if node.tag not in _PLAIN_TAGS:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise _at(
            name, node, f"the tag {tag} is not allowed; allowed: plain text, numbers, lists and mappings"
        )
    if node.tag == "tag:yaml.org,2002:int":
        if re.match(r"[-+]?0[0-7_]", node.value) or ":" in node.value:
            message = f"YAML reads {node.value} in base 8 or 60; write a decimal number, or quote it"
            raise _at(name, node, message)
        if len(node.value) > 100:
            raise _at(name, node, f"is a number of {len(node.value)} digits")
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, name)


def _check_keys(node: yaml.MappingNode, name: str) -> None:
    first_line: dict[str, int] = {}
    for key, _ in node.value:
        if key.tag not in ("tag:yaml.org,2002:str", _MERGE_TAG):
            key_text = f" `{key.value}`" if isinstance(key, yaml.ScalarNode) else ""
            raise _at(name, key, f"the key{key_text} is not text for YAML; put it in quotes")
        if key.value in first_line:
            message = f"the key {shown(key.value)} is there twice, first in line {first_line[key.value]}"
            raise _at(name, key, message)
        first_line[key.value] = key.start_mark.line + 1


def _at(name: str, node: yaml.Node, message: str) -> ConfigError:
    return ConfigError(f"{name}:{node.start_mark.line + 1}: {message}")
