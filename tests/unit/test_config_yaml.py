"""A file that is not plain YAML of a person's size is refused, with the line, before anything reads it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hwfit.config import ConfigError, read_study, require_readable
from hwfit.yaml_source import read_yaml

OWN = Path(__file__).parents[2] / "config"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def refusal(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "config.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        require_readable(path)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "config.yaml: is empty"),
        ("# only this\n", "config.yaml: is empty"),
        ("- a\n", "config.yaml:1: the top level is a list; allowed: a mapping"),
        ("\nhello\n", "config.yaml:2: the top level is the text 'hello'; allowed: a mapping"),
        ("a: [1\nb: 2\n", "config.yaml:2, column 2: is not YAML: while parsing a flow sequence"),
        ("a:\n\tb: 1\n", "config.yaml:2, column 1: is not YAML"),
        ("a: 1\n---\nb: 2\n", "config.yaml:2, column 1: is not YAML: expected a single document"),
        ("a: *b\n", "config.yaml:1, column 4: is not YAML: found undefined alias"),
        ("a: {<<: 3}\n", "config.yaml:1, column 9: is not YAML"),
        ("a: 1\nb: 2\na: 3\n", "config.yaml:3: the key 'a' is there twice, first in line 1"),
        ("a:\n  - {b: 1, b: 2}\n", "config.yaml:2: the key 'b' is there twice"),
        ("a: 1\n'a': 2\n", "config.yaml:2: the key 'a' is there twice"),
        ("on: 1\n", "config.yaml:1: the key `on` is not text for YAML; put it in quotes"),
        ("8: 1\n", "config.yaml:1: the key `8` is not text for YAML"),
        ("? [a]\n: 1\n", "config.yaml:1: the key is not text for YAML"),
        ("a: 010\n", "config.yaml:1: YAML reads 010 in base 8 or 60"),
        ("a: 1:30\n", "config.yaml:1: YAML reads 1:30 in base 8 or 60"),
        ("a: " + "9" * 5000, "config.yaml:1: is a number of 5000 digits"),
        ("a: 2026-13-45\n", "config.yaml:1: '2026-13-45' cannot be read as timestamp"),
        ("a: !!int x\n", "config.yaml:1: 'x' cannot be read as int"),
        ("a: !!set {x}\n", "config.yaml:1: the tag !!set is not allowed"),
        ("a: \x00\n", "config.yaml:1: has the character '\\x00', which YAML does not allow"),
        (b"a: 1\nb: \xff\n", "config.yaml:2: is not UTF-8 text: byte 0xff"),
        ("a: 1\n" + "#" * 2**20, "config.yaml: is larger than 1048576 bytes"),
        ("a: " + "[" * 5000 + "]" * 5000, "config.yaml:1: is nested more than 40 levels deep"),
        ("a: &a [*a]\n", "config.yaml:1: contains itself through an alias"),
        (LAUGHS, "its aliases expand to more than 200000 values"),
        ("a: 1\n__use_yte__: true\n", "config.yaml:2: __use_yte__ would run code"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, content: str | bytes, expected: str) -> None:
    assert expected in refusal(tmp_path, content)


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:pathlib.Path.touch", "!!python/name:os.system", "!!python/tuple", "!local"]
)
def test_a_tag_builds_nothing(tmp_path: Path, tag: str) -> None:
    made = tmp_path / "made"
    text = refusal(tmp_path, f"a: 1\nb: {tag} ['{made}']\n")
    assert text.startswith(f"config.yaml:2: the tag {tag} is not allowed")
    assert not made.exists()


def test_aliases_that_explode_are_refused_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    refusal(tmp_path, LAUGHS)
    assert time.monotonic() - started < 2


def test_aliases_cannot_hide_depth(tmp_path: Path) -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))
    assert "nested more than 40 levels deep" in refusal(tmp_path, chain)


def test_a_missing_file_is_told_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        require_readable("config/config.yaml")
    assert str(caught.value) == (
        f"config/config.yaml: not there (looked for at {tmp_path}/config/config.yaml)"
    )


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory; allowed: a YAML file"):
        require_readable(tmp_path)


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger than"):
        require_readable("/dev/zero")


def test_a_faulty_catalog_is_refused_like_a_config(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("mlp: 1\nmlp: 2\n")
    (tmp_path / "devices.yaml").mkdir()
    with pytest.raises(ConfigError) as caught:
        read_study({"matrix": {"models": ["mlp"], "devices": ["cpu"]}}, tmp_path, OWN)
    twice, directory = caught.value.problems
    assert twice.endswith("models.yaml:2: the key 'mlp' is there twice, first in line 1")
    assert directory.endswith("devices.yaml: is a directory; allowed: a YAML file")


def test_merge_keys_and_byte_order_marks_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("\ufeffa: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    source = read_yaml(path)
    assert source.value == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}
    assert source.line(("b", "y")) == 2


@pytest.mark.parametrize(
    ("path", "line"),
    [((), 1), (("a",), 2), (("a", "b"), 3), (("a", "b", 1), 5), (("a", "b", 1, "c"), 5), (("a", "none"), 2)],
)
def test_a_key_path_has_its_line(tmp_path: Path, path: tuple[str | int, ...], line: int) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("z: 0\na:\n  b:\n    - 1\n    - c: 2\n")
    assert read_yaml(file).line(path) == line
