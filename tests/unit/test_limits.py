"""Limits that are shares of a baseline, and the tightest that a row still meets."""

from __future__ import annotations

import numpy as np
import pytest

from hwfit.decide import decide
from hwfit.decide.limits import check, tightest
from hwfit.decide.shared import decide_shared
from hwfit.relative_bound import relative_share
from rows import make_candidate


def beside_baseline(**figures):
    """A row and its baseline, which takes 20 ms and 100 MB."""
    base, row = make_candidate(p50_ms=20), make_candidate("fast", **figures)
    base.baseline = row.baseline = base
    return base, row


def test_a_share_is_read_from_its_words():
    assert relative_share("50% of baseline") == 0.5
    assert relative_share("112.5% of baseline") == 1.125
    for wrong in ("50%", "0% of baseline", "-5% of baseline", "50 % of baseline", "x"):
        with pytest.raises(ValueError, match="share of the baseline"):
            relative_share(wrong)


@pytest.mark.parametrize(
    ("limit", "bound", "figures", "verdict"),
    [
        ("max_memory_mb", "80% of baseline", {"peak_memory_mb": 79.0}, "met"),
        ("max_memory_mb", "80% of baseline", {"peak_memory_mb": 81.0}, "violated"),
        ("latency_p50_ms", "60% of baseline", {"p50_ms": 10.0}, "met"),
        ("latency_p50_ms", "40% of baseline", {"p50_ms": 10.0}, "violated"),
        ("latency_p50_ms", "50% of baseline", {"p50_ms": 10.0}, "unproven"),
        ("min_throughput_samples_per_s", "150% of baseline", {"p50_ms": 10.0}, "met"),
        ("min_throughput_samples_per_s", "250% of baseline", {"p50_ms": 10.0}, "violated"),
    ],
)
def test_a_share_of_the_baseline_is_a_limit(limit, bound, figures, verdict):
    _, row = beside_baseline(**figures)
    finding = check(row, limit, bound)
    assert finding.verdict == verdict
    if verdict != "met":
        assert f"({bound}'s" in finding.text


def test_a_percentile_may_be_limited_by_the_baselines():
    base, row = beside_baseline(p50_ms=10.0)
    assert check(row, "latency_p90_ms", "60% of baseline").verdict == "unproven"
    base.line["latency_p90_ms"] = 20.0
    assert check(row, "latency_p90_ms", "60% of baseline").verdict == "met"
    assert check(row, "latency_p90_ms", "40% of baseline").verdict == "violated"


def test_a_row_is_as_good_as_itself_whatever_its_doubt():
    base, _ = beside_baseline()
    assert check(base, "latency_p50_ms", "100% of baseline").verdict == "met"
    assert check(base, "min_throughput_samples_per_s", "100% of baseline").verdict == "met"
    assert check(base, "latency_p50_ms", "99% of baseline").verdict == "violated"


def test_a_copy_of_the_baseline_is_the_baseline():
    base, _ = beside_baseline()
    groups = {("net", "single_stream"): [base]}
    wishes = {"net": ("throughput", {"latency_p50_ms": "100% of baseline"})}
    assert decide_shared("box", ["net"], groups, wishes, {}).device == "cpu"


def test_without_a_measured_baseline_a_share_of_it_is_unproven():
    alone = make_candidate("fast")
    decision = decide("net", [alone], "throughput", {"max_memory_mb": "80% of baseline"})
    assert decision.verdict == "provisional"
    assert "no baseline was measured" in alone.reason


def test_processes_that_differ_leave_a_percentile_near_its_limit_unproven():
    samples = np.full(400, 48.0)
    sure = make_candidate(p50_ms=48, relative_error=0.001, samples_ms=samples)
    unsure = make_candidate(p50_ms=48, relative_error=0.05, samples_ms=samples)
    assert check(sure, "latency_p90_ms", 50.0).verdict == "met"
    finding = check(unsure, "latency_p90_ms", 50.0)
    assert finding.verdict == "unproven"
    assert "processes differ" in finding.text


@pytest.mark.parametrize(
    "limit",
    [
        "latency_p50_ms",
        "latency_p90_ms",
        "latency_p99_ms",
        "min_throughput_samples_per_s",
        "max_memory_mb",
        "min_fidelity",
        "max_accuracy_drop",
        "max_cost_usd_per_million",
        "max_cost_per_million",
    ],
)
def test_a_row_meets_its_tightest_limit_and_nothing_tighter(limit):
    samples = 10 * np.exp(0.1 * np.random.default_rng(0).standard_normal(600))
    row = make_candidate(
        p50_ms=10.0,
        samples_ms=samples,
        accuracy_drop=0.004,
        fidelity=0.99,
        cost_usd_per_million=3.0,
        cost_per_million=3.0,
    )
    value = tightest(row, limit)
    stricter = value * (1.001 if limit.startswith("min") else 0.999)
    assert check(row, limit, value).verdict == "met"
    assert check(row, limit, stricter).verdict != "met"
