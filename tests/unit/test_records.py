"""A record is read whole and true, or refused by name; a write is seen whole or not at all."""

import json

import pytest

from hwfit.records import (
    Cell,
    Flag,
    Profile,
    RecordError,
    fingerprint,
    profile_path,
    read_json,
    read_profile,
    write_json,
)

CELL = Cell("net", "cpu", "torch", "baseline", "single_stream")


def make_profile(**changes):
    values = {"status": "ok", "metrics": {"latency_p50_ms": 1.5}} | changes
    return Profile(*CELL.__dict__.values(), batch_size=8, round=0, **values)


def test_a_profile_survives_its_file(tmp_path):
    profile = make_profile(flags=[Flag("drift", "it drifted", 0.3)], context={"threads": 2})
    path = profile_path(tmp_path, CELL, 0, 8)
    write_json(path, profile.to_dict())
    assert path == tmp_path / "cpu/torch/net/baseline/single_stream/round0/bs8.json"
    assert read_profile(path) == profile
    assert json.loads(path.read_text())["valid"] is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 99}, "schema_version is 99"),
        ({"status": "fine"}, "status is 'fine'"),
        ({"metrics": {"latency_p50_ms": 0}}, "not a positive number"),
        ({"metrics": {"latency_p50_ms": "fast"}}, "latency_p50_ms is 'fast'"),
        ({"metrics": {"latency_p50_ms": True}}, "latency_p50_ms is True"),
        ({"metrics": [1]}, "not a mapping"),
        ({"flags": [{"colour": "red"}]}, "colour"),
    ],
)
def test_an_edited_record_is_refused_with_the_place(tmp_path, change, said):
    path = tmp_path / "bs8.json"
    write_json(path, make_profile().to_dict() | change)
    with pytest.raises(RecordError, match=said) as raised:
        read_profile(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    "content", ["", "{", "[1, 2]", "null", '{"status": NaN}', "\x00\xff", '{"schema_version": 1}']
)
def test_what_is_no_record_is_refused_with_the_place(tmp_path, content):
    path = tmp_path / "bs8.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=r"bs8\.json"):
        read_profile(path)


def test_bytes_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "bs8.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match=r"bs8\.json"):
        read_json(path)


def test_a_write_that_fails_leaves_the_file_before_it(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_fingerprints_do_not_depend_on_order_or_container():
    assert fingerprint({"a": 1, "b": (1, 2)}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
