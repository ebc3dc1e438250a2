"""What the answer would be at other prices, which comes true when it is tried."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hwfit.costs import cost_per_million
from hwfit.decide import decide
from hwfit.decide.prices import electricity_of
from hwfit.uncertainty import Estimate
from rows import make_candidate

WISHES = [
    ("cost", {}),
    ({"cost": 0.4, "throughput": 0.6}, {}),
    ({"cost": 0.5, "latency": 0.3, "throughput": 0.2}, {}),
    ("cost", {"max_cost_per_million": 20.0, "max_memory_mb": 700.0}),
    ("throughput", {"max_cost_per_million": 8.0}),
    ("latency", {"max_cost_usd_per_million": 8.0, "max_memory_mb": 700.0}),
]


def priced(device, price, p50_ms=10.0, *, electricity=0.0, members=None, utilization=1.0, **line):
    """A row of a device that is rented or bought for `price` an hour, None for one without a price.

    `members` is what is paid for each device of a composite.
    """
    fixed = {device: price} if members is None else members
    known = price is not None or members is not None
    hour = sum(fixed.values()) + electricity if known else None
    cost = cost_per_million(hour, 1000 / p50_ms, utilization) if known else None
    line |= {"price_per_hour": hour, "cost_per_million": cost, "cost_usd_per_million": cost}
    made = make_candidate(device=device, price=0.0, p50_ms=p50_ms, **{"relative_error": 1e-5} | line)
    made.fixed_per_hour = fixed if known else {}
    return made


def change(decision, direction, name=None):
    found = [c for c in decision.sensitivity if c.direction == direction and name in (None, c.name)]
    return found[0] if found else None


def winner(decision):
    return decision.chosen.row.cell.device if decision.verdict == "chosen" else None


def two(cpu=0.2, gpu=3.0):
    return [priced("cpu", cpu, 10.0), priced("gpu", gpu, 2.0)]


def test_the_chosen_device_wins_while_it_costs_less_and_another_would_below():
    decision = decide("net", two(gpu=0.5), "cost", {})
    dearer, cheaper = change(decision, "dearer"), change(decision, "cheaper")
    # Five times as fast: as cheap a sample at five times the price.
    assert (dearer.name, dearer.current, dearer.at) == ("gpu", 0.5, pytest.approx(1.0))
    assert dearer.text == (
        "gpu wins while it costs less than $1.00/h (now $0.50/h); beyond it cpu/torch/baseline/batch 1 "
        "would win."
    )
    assert (cheaper.name, cheaper.current, cheaper.at) == ("cpu", 0.2, pytest.approx(0.1))
    assert "cpu would win below $0.10/h (now $0.20/h), with cpu/torch" in cheaper.text


def test_a_device_without_a_price_says_below_which_it_would_win():
    decision = decide("net", two(gpu=None), "cost", {})
    told = change(decision, "cheaper", "gpu")
    assert (winner(decision), told.current, told.at) == ("cpu", None, pytest.approx(1.0))
    assert "gpu would win below $1.00/h (it has no price)" in told.text


def test_other_currencies_are_told_as_such():
    rows = [priced("cpu", 0.2, currency="CHF"), priced("gpu", 3.0, 2.0, currency="CHF")]
    told = change(decide("net", rows, "cost", {}), "cheaper")
    assert (told.unit, "below 1.00 CHF/h (now 3.00 CHF/h)" in told.text) == ("CHF/h", True)


@pytest.mark.parametrize("utilization", [1.0, 0.3])
def test_the_share_of_busy_hours_moves_no_break_even(utilization):
    rows = [priced("cpu", 0.2, utilization=utilization), priced("gpu", 3.0, 2.0, utilization=utilization)]
    assert change(decide("net", rows, "cost", {}), "cheaper").at == pytest.approx(1.0)


def test_the_doubt_of_both_throughputs_is_in_the_price():
    rows = [priced("cpu", 0.2, relative_error=0.02), priced("gpu", 3.0, 2.0, relative_error=0.01)]
    told = change(decide("net", rows, "cost", {}), "cheaper", "gpu")
    reaches = [Estimate(1.0, error, 1000).interval()[1] for error in (0.02, 0.01)]
    reach = math.exp(math.hypot(*map(math.log, reaches)))
    assert (told.at_low, told.at_high) == (pytest.approx(1 / reach), pytest.approx(reach))


def test_prices_change_nothing_where_cost_neither_counts_nor_is_limited_but_are_compared():
    decision = decide("net", two(cpu=0.2, gpu=3.0), "throughput", {})
    assert [c for c in decision.sensitivity if c.kind == "price"] == []
    prices = {price.device: price for price in decision.prices}
    assert (winner(decision), prices["gpu"].as_cheap_below) == ("gpu", None)
    # A fifth of the speed for a fifth of the price.
    assert prices["cpu"].as_cheap_below == pytest.approx(0.6)


def test_without_any_price_nothing_is_said():
    assert decide("net", two(None, None), "throughput", {}).prices == []


@pytest.mark.parametrize("wanted", ["throughput", "cost"])
def test_a_limit_on_cost_says_at_which_price_a_row_fits(wanted):
    decision = decide("net", [priced("gpu", 3.0, 2.0)], wanted, {"max_cost_per_million": 1.0})
    told = change(decision, "cheaper")
    # 500 a second for a dollar a million: 1.8 an hour.
    assert (decision.verdict, told.at) == ("none", pytest.approx(1.8, rel=1e-4))
    assert "gpu would fit below $1.7" in told.text
    assert told.at_low is None


def test_beyond_a_limit_on_cost_nothing_may_be_left():
    decision = decide("net", [priced("gpu", 1.0, 2.0)], "throughput", {"max_cost_per_million": 1.0})
    told = change(decision, "dearer")
    assert told.then is None
    assert told.text.endswith("beyond it nothing that was measured would be proven to fit.")


def test_of_a_limit_relative_to_a_baseline_nothing_is_said():
    rows = two()
    for row in rows:
        row.baseline = rows[0]
    assert decide("net", rows, "throughput", {"max_cost_per_million": "900% of baseline"}).prices == []


def test_a_first_look_says_that_it_is_one():
    rows = two()
    rows[0].row.confirmed = True
    told = change(decide("net", rows, "cost", {}), "cheaper")
    assert told.text.endswith("with gpu/torch/baseline/batch 1, by its first look.")


def test_no_price_lets_energy_of_another_scope_win():
    cpu = priced("cpu", 0.2, energy_j_per_sample=5.0, energy_scope="package")
    gpu = priced("gpu", 9.0, 2.0, energy_j_per_sample=1.0, energy_scope="board")
    decision = decide("net", [cpu, gpu], {"cost": 0.5, "energy": 0.5}, {})
    assert [price.device for price in decision.prices] == [winner(decision)]


def random_rows(seed, moved=None, to=None):
    """Rows of rented and owned devices, of one without a price and of a composite; one price may be moved."""
    random = np.random.default_rng(seed)
    fixed = {name: float(10 ** random.uniform(-1, 1)) for name in ("cpu", "gpu", "box")} | {"new": None}
    fixed |= {moved: to} if moved else {}
    pair = {name: fixed[name] for name in ("gpu", "box")}
    return [
        priced(
            device,
            fixed.get(device),
            float(10 ** random.uniform(0, 1.5)),
            electricity=float(random.uniform(0.05, 0.3)) if device in ("box", "pair") else 0.0,
            members=pair if device == "pair" else None,
            optimization=f"row{index}",
            peak_memory_mb=float(random.uniform(100, 900)),
        )
        for device in ("cpu", "gpu", "box", "new", "pair")
        for index in range(3)
    ]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("wanted", "limits"), WISHES)
def test_what_is_said_of_a_price_comes_true(seed, wanted, limits):
    """A hair below the price that is named the device wins; a hair above it, what was said or another."""
    decision = decide("net", random_rows(seed), wanted, limits)
    prices = {price.device: price.winner for price in decision.prices}
    for told in (c for c in decision.sensitivity if c.kind == "price" and c.name != "pair"):
        # The price that is named has the row's electricity in it, which does not move.
        electricity = electricity_of(prices[told.name])

        def winner_at(hair, told=told, electricity=electricity):
            moved = random_rows(seed, told.name, told.at * hair - electricity)
            return winner(decide("net", moved, wanted, limits))

        above = winner_at(1.001)
        assert winner_at(0.999) == told.name
        assert above != told.name
        if told.direction == "dearer":
            assert above == (told.then.row.cell.device if told.then else None)


def test_the_random_tables_say_something_of_every_kind():
    said = [
        (c.direction, c.current is None)
        for seed in range(12)
        for wanted, limits in WISHES
        for c in decide("net", random_rows(seed), wanted, limits).sensitivity
        if c.kind == "price"
    ]
    assert set(said) == {("cheaper", False), ("cheaper", True), ("dearer", False)}
    assert min(said.count(kind) for kind in set(said)) > 10
