"""What would change the answer: said of limits and quality, and true when it is tried."""

from __future__ import annotations

import numpy as np
import pytest

from hwfit.decide import decide
from rows import make_candidate


def change(decision, direction, name=None):
    found = [c for c in decision.sensitivity if c.direction == direction and name in (None, c.name)]
    return found[0] if found else None


def memory_rows():
    return [
        make_candidate("small", p50_ms=20, peak_memory_mb=100.0),
        make_candidate("middle", p50_ms=10, peak_memory_mb=200.0),
        make_candidate("large", p50_ms=5, peak_memory_mb=400.0),
    ]


def test_a_limit_says_how_far_it_may_move_either_way():
    decision = decide("net", memory_rows(), "throughput", {"max_memory_mb": 300.0})
    looser, tighter = change(decision, "looser"), change(decision, "tighter")
    assert (looser.at, looser.then.row.cell.optimization) == (400.0, "large")
    assert (tighter.at, tighter.then.row.cell.optimization) == (200.0, "small")
    assert "With max_memory_mb at 400 MB instead of 300 MB, cpu/torch/large/batch 1 would win" in looser.text
    assert "down to 200 MB; beyond it cpu/torch/small/batch 1 would win" in tighter.text


def test_where_nothing_is_better_or_fits_beyond_it_says_so():
    decision = decide("net", memory_rows()[:1], "throughput", {"max_memory_mb": 300.0})
    assert change(decision, "looser") is None
    assert "nothing that was measured would be proven to fit" in change(decision, "tighter").text


def answer(rows, limits):
    """The name of the row that is proven to fit and best, or None."""
    decision = decide("net", rows, "throughput", limits)
    return decision.chosen.name if decision.verdict == "chosen" else None


@pytest.mark.parametrize("seed", range(25))
def test_what_is_said_of_a_limit_comes_true(seed):
    """Set to what was said, the named row is the best that fits; just short of it, the answer holds."""
    generator = np.random.default_rng(seed)

    def rows():
        state = np.random.default_rng(seed)
        return [
            make_candidate(
                f"row{i}",
                p50_ms=float(state.uniform(5, 50)),
                relative_error=0.0005,
                peak_memory_mb=float(state.uniform(100, 900)),
                fidelity=float(state.uniform(0.9, 1.0)),
                accuracy_drop=float(state.uniform(0, 0.05)),
            )
            for i in range(12)
        ]

    limits = {
        "max_memory_mb": float(generator.uniform(300, 800)),
        "latency_p90_ms": float(generator.uniform(15, 45)),
        "min_fidelity": float(generator.uniform(0.9, 0.97)),
        "max_accuracy_drop": float(generator.uniform(0.01, 0.04)),
    }
    decision, now = decide("net", rows(), "throughput", limits), answer(rows(), limits)
    told = [c for c in decision.sensitivity if c.kind == "limit"]
    for change in told:
        stricter = 1.002 if change.name == "min_fidelity" else 0.998
        there = answer(rows(), limits | {change.name: change.at})
        past = answer(rows(), limits | {change.name: change.at * stricter})
        then = change.then and change.then.name
        assert (there, past) == ((then, now) if change.direction == "looser" else (now, then))
    assert told or now is None


def test_quality_says_how_much_may_be_lost():
    row = make_candidate(accuracy_drop=0.004)
    told = change(decide("net", [row], "throughput", {"max_accuracy_drop": 0.01}), "lower")
    assert "accuracy may fall by 0.6 points more" in told.text


def test_a_relative_limit_says_nothing_in_numbers():
    row = make_candidate()
    row.baseline = row
    assert decide("net", [row], "throughput", {"max_memory_mb": "120% of baseline"}).sensitivity == []
