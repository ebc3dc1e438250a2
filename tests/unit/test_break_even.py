"""When an optimization has earned back what it takes to start."""

from __future__ import annotations

from typing import Any

import pytest

from hwfit.break_even import NEVER, with_break_even
from hwfit.collect import told_by
from hwfit.records import COLUMNS, Profile


def line(optimization: str, p50_ms: float, *, start_s: float = 1.0, width: float = 0.02, **more: Any) -> dict:
    """A line whose start takes so long, half of it in the first call."""
    return (
        dict.fromkeys(COLUMNS)
        | {"model": "net", "device": "cpu", "runtime": "torch", "scenario": "single_stream", "batch_size": 1}
        | {"optimization": optimization, "valid": True, "latency_p50_ms": p50_ms}
        | {"latency_p50_ci_low_ms": p50_ms * (1 - width), "latency_p50_ci_high_ms": p50_ms * (1 + width)}
        | {"load_s": start_s / 2, "first_call_ms": start_s * 500}
        | more
    )


def calls_of(optimized: dict, baseline: dict) -> Any:
    return with_break_even([optimized, baseline])[0]["break_even_calls"]


@pytest.mark.parametrize(
    ("p50_ms", "start_s", "calls"),
    [
        # 27 s later, 3 ms sooner each call.
        (7.0, 28.0, 9001),
        (7.0, 0.5, 0),
        (12.0, 28.0, NEVER),
        (12.0, 0.5, NEVER),
        (9.9, 28.0, None),
    ],
    ids=["caught up", "starts sooner", "slower", "slower, starts sooner", "within the noise"],
)
def test_a_later_start_is_set_against_what_each_call_saves(p50_ms, start_s, calls):
    assert calls_of(line("compile", p50_ms, start_s=start_s), line("baseline", 10.0)) == calls


def test_after_so_many_calls_it_is_indeed_ahead():
    optimized, baseline = line("compile", 7.0, start_s=28.0), line("baseline", 10.0)
    calls = calls_of(optimized, baseline)
    assert 28_000 + (calls - 1) * 7 <= 1000 + (calls - 1) * 10
    assert 28_000 + (calls - 2) * 7 >= 1000 + (calls - 2) * 10


def test_there_is_none_without_a_baseline_that_can_be_trusted():
    fast = line("compile", 5.0)
    assert calls_of(fast, line("baseline", 10.0, batch_size=8)) is None
    assert calls_of(fast, line("baseline", 10.0, valid=False)) is None
    assert calls_of(fast, line("baseline", 10.0, load_s=None)) is None
    assert with_break_even([line("baseline", 10.0)])[0]["break_even_calls"] is None


def test_a_latency_under_random_arrivals_is_no_time_of_a_call():
    rows = [line(name, p50, scenario="server") for name, p50 in (("compile", 5.0), ("baseline", 10.0))]
    assert calls_of(*rows) is None


def test_what_making_it_took_comes_from_the_record():
    profile = Profile("net", "cpu", "torch", "int8", "single_stream", 1, 0, "ok")
    assert set(told_by(profile).values()) == {None}
    profile.details = {
        "pass_seconds": {"cast": 0.25, "compile": 0.5},
        "artifact_steps": [{"pass": "prune", "seconds": 2.0}, {"pass": "quantize_static", "seconds": 1.0}],
        "operators_by_format": {"f32": 10, "i8": 53},
    }
    assert told_by(profile) == {"pass_s": 0.75, "artifact_s": 3.0, "operator_formats": "f32 10, i8 53"}
