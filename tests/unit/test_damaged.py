"""A record is what was written, or it is found out and made again: cut short, edited, a bit turned, empty."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from hwfit.damaged import asked_for, find_damaged, remove_unfinished
from hwfit.records import (
    Profile,
    RecordError,
    bytes_sha256,
    profile_path,
    read_json,
    read_profile,
    write_json,
    write_record,
)

CELL = ("net", "cpu", "torch", "baseline", "single_stream")


@pytest.fixture
def record(tmp_path):
    """A sealed profile with its samples, where a run has it."""
    profile = Profile(*CELL, batch_size=8, round=0, status="ok", metrics={"latency_p50_ms": 1.5})
    path = profile_path(tmp_path / "results/profiles", profile.cell, profile.round, profile.batch_size)
    path.parent.mkdir(parents=True)
    samples = path.with_suffix(".npz")
    np.savez(samples, durations_s=np.arange(3.0))
    profile.details["samples_sha256"] = bytes_sha256(samples.read_bytes())
    write_record(path, profile.to_dict())
    return path


def test_what_was_written_is_read_and_the_seal_is_not_seen(record, tmp_path):
    assert find_damaged(tmp_path) == []
    assert read_profile(record).status == "ok"
    assert "seal" not in read_json(record)
    assert "seal" in json.loads(record.read_text())


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: bytes(len(content)),
        lambda content: content.replace(b'"ok"', b'"oom"', 1),
        lambda content: content + b"{}",
        lambda content: b"[]",
        lambda content: b"{}",
        lambda content: b"\xff\xfe",
        lambda content: json.dumps(json.loads(content) | {"batch_size": 2}).encode(),
        lambda content: b"[" * 100_000,
    ],
)
def test_a_record_that_was_changed_is_found_and_never_read(record, tmp_path, damage):
    record.write_bytes(damage(record.read_bytes()))
    ((path, why),) = find_damaged(tmp_path)
    assert tmp_path / path == record
    assert why
    with pytest.raises(RecordError):
        read_profile(record)


def test_no_bit_of_a_record_can_turn_unseen(record, tmp_path):
    content = record.read_bytes()
    known = read_profile(record)
    generator = np.random.default_rng(0)
    for place in {*generator.integers(0, len(content), 200), *range(len(content) - 90, len(content))}:
        record.write_bytes(flip(content, int(place)))
        if not find_damaged(tmp_path):
            # In the word for the seal: then there is none, and all that it sealed is as it was.
            assert read_profile(record) == known


@pytest.mark.parametrize("damage", [lambda content: flip(content, 200), lambda content: content[:50], None])
def test_samples_that_were_changed_or_lost_are_found(record, tmp_path, damage):
    samples = record.with_suffix(".npz")
    samples.write_bytes(damage(samples.read_bytes())) if damage else samples.unlink()
    ((path, why),) = find_damaged(tmp_path)
    assert tmp_path / path == record
    assert "samples" in why


def test_a_record_of_an_hwfit_before_seals_is_read(record, tmp_path):
    write_json(record, read_json(record))
    assert "seal" not in json.loads(record.read_text())
    assert find_damaged(tmp_path) == []
    record.write_text(json.dumps(read_json(record) | {"status": "excellent"}))
    ((_, why),) = find_damaged(tmp_path)
    assert "excellent" in why


@pytest.mark.parametrize(
    "name",
    [
        "results/plan.json",
        "results/data/digits.npz",
        "results/models/net/card.json",
        "reports/recommendation.json",
    ],
)
def test_other_files_have_to_be_readable(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"a": ')
    assert [str(found) for found, _ in find_damaged(tmp_path)] == [name]


def test_what_mlflow_keeps_is_not_looked_at(tmp_path):
    path = tmp_path / "results/mlartifacts/1/model.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert find_damaged(tmp_path) == []


def test_a_confirming_round_is_made_again_by_the_job_of_its_device(record, tmp_path):
    first = record.relative_to(tmp_path)
    assert asked_for(first) == [first]
    again = first.parent.parent / "round3" / first.name
    device = first.parts[2]
    assert [str(path) for path in asked_for(again)] == [str(again), f"results/confirmations/{device}.json"]


def test_what_a_killed_process_left_is_removed_once_nobody_can_be_writing_it(tmp_path):
    place = tmp_path / "results"
    place.mkdir()
    old, new, other = place / ".bs1.json.abcd_123", place / ".bs8.json.abcd_123", place / ".hidden"
    for path in (old, new, other):
        path.write_text("")
    long_ago = time.time() - 7200
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    remove_unfinished(tmp_path)
    assert sorted(place.iterdir()) == [new, other]


@pytest.mark.parametrize(
    "path",
    [
        "results/profiles/cpu@box-1.2/torch/net/baseline/single_stream/round0/bs1.json",
        "results/profiles/cpu@box-1.2/torch/net/baseline/single_stream/round1/bs1.json",
        "results/devices/cpu@box-1.2/inventory.json",
        "results/confirmations/cpu@box-1.2.json",
        "results/sites/box-1.2.json",
    ],
)
def test_what_came_from_another_site_is_laid_down_again_whole(path):
    assert [str(each) for each in asked_for(Path(path))] == ["results/sites/box-1.2.json"]
