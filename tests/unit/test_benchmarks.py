"""The A/A benchmark's arithmetic: processes that are alike are seldom told apart, others are."""

import numpy as np
from benchmarks import __main__ as bench

PROCESSES = 36


def test_processes_that_are_alike_are_seldom_told_apart():
    generator = np.random.default_rng(3)
    rates = []
    for _ in range(5):
        medians = 10 * np.exp(0.03 * generator.standard_normal(PROCESSES))
        rates.append(bench.told_apart(list(medians), [0.005] * PROCESSES) / bench.PAIRS)
    assert np.mean(rates) <= bench.AA_RATE


def test_a_rule_that_seldom_calls_a_tie_is_found_out(monkeypatch):
    monkeypatch.setattr(bench, "TIE_SHARE", 0.3)
    medians = 10 * np.exp(0.03 * np.random.default_rng(3).standard_normal(PROCESSES))
    different = bench.told_apart(list(medians), [0.005] * PROCESSES)
    assert bench.rate_lower_bound(different) > bench.AA_RATE


def test_the_bound_fails_a_rate_that_is_surely_too_high_and_forgives_chance():
    assert bench.rate_lower_bound(0) == 0.0
    assert bench.rate_lower_bound(10) < bench.AA_RATE
    assert bench.rate_lower_bound(30) > bench.AA_RATE
