"""The example in docs/cost.md is computed as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from hwfit.collect import Row
from hwfit.costs import money
from hwfit.recommendation import recommend
from hwfit.records import Profile
from hwfit.uncertainty import Estimate
from studies import make_plan

PAGE = (Path(__file__).parents[2] / "docs" / "cost.md").read_text()


@pytest.fixture(scope="module")
def table():
    """The page's table: (device, samples a second, price an hour, a million samples)."""
    lines = re.findall(r"^\| (\w+) \| ([\d,]+) \| (\S+) \| (\S+) \|$", PAGE, re.MULTILINE)
    return [(device, float(rate.replace(",", "")), hour, million) for device, rate, hour, million in lines]


@pytest.fixture(scope="module")
def decided(table):
    """The page's configuration decided on what its table says was measured."""
    devices, config = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    matrix = {"models": ["net"], "devices": list(devices), "runtimes": ["torch"]}
    plan = make_plan(devices=devices, matrix=matrix, **config)
    rates = {device: rate for device, rate, *_ in table}
    rows = []
    for cell in plan.cells:
        rate = rates[cell.device]
        metrics = {"latency_p50_ms": 1e3 / rate, "throughput_samples_per_s": rate, "measured_s": 1.0}
        profile = Profile(*cell.__dict__.values(), batch_size=1, round=0, status="ok", metrics=metrics)
        estimate = Estimate(1e3 / rate, 0.001, 1000)
        rows.append(Row(cell, 1, "ok", first=profile, rounds=[profile], estimate=estimate))
    return recommend(rows, plan.to_dict(), {})


def test_what_an_hour_and_a_million_samples_cost(table, decided):
    assert len(table) == 3
    rows = decided[0].set_index("device")[["price_per_hour", "cost_per_million"]].astype(float)
    for device, _, *told in table:
        assert told == ["none" if np.isnan(known) else money(known, "USD") for known in rows.loc[device]]


def test_what_the_answer_would_be_at_other_prices(decided):
    (answer,) = decided[1]["models"]
    told = [change["text"] for change in answer["sensitivity"]]
    assert len(told) == 3
    for sentence in told:
        assert f"- {sentence}\n" in PAGE
    assert answer["chosen"]["device"] == "gpu0"
    assert answer["chosen"]["price_source"] == "rented"


def test_electricity_is_that_of_the_mean_power(decided):
    rows = decided[0].set_index("device")
    assert rows.loc["cpu", "price_source"] == "owned: capital and electricity (power: rated)"
    assert f"$0.228 + $0.0705 = {money(rows.loc['cpu', 'price_per_hour'], 'USD')} an hour" in PAGE
    assert rows.loc["cpu", "price_per_hour"] == pytest.approx(8000 / (4 * 8760) + 0.235 * 0.30)
