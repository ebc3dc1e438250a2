"""How the report tells prices: how each came about, and below which a device wins."""

from __future__ import annotations

import numpy as np
import pytest

from hwfit.report import LANGUAGES
from hwfit.report.goals import limit
from hwfit.report.language import Language
from hwfit.report.numbers import MISSING
from hwfit.report.prices import price_table, prices_made
from hwfit.report.table import prepare
from hwfit.report.verdicts import change
from tables import make_prices, make_table, with_energy_and_cost

CPU = {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}}
OWNED = {"price": 35_040, "years": 4, "power_w": 300}


def rows_with(**columns):
    table = with_energy_and_cost(make_table(models=("lenet-5",), absent=()))
    measured = table["price_per_hour"].notna()
    return prepare(table.assign(**{name: np.where(measured, v, None) for name, v in columns.items()}), {})


@pytest.fixture
def words():
    return Language("en")


def test_a_rented_device_is_told_with_its_rent(words):
    assert prices_made(rows_with(), {}, words) == ["cpu costs $2.00 an hour: rented."]


def test_an_owned_device_is_told_with_its_capital_and_its_electricity(words):
    source = "owned: capital and electricity (power: counter:nvml (board))"
    rows = rows_with(price_per_hour=1.06, price_source=source)
    plan = {"devices": {"cpu": CPU | {"owned": OWNED}}, "config": {"cost": {"utilization": 0.5}}}
    made, share = prices_made(rows, plan, words)
    assert made.striptags() == (
        "cpu costs $1.06 an hour: bought, $35,040 over 4 years make $1.00, and electricity $0.06 "
        "(power: counter:nvml (board))."
    )
    assert "works 50% of the hours" in share


def test_an_owned_device_without_electricity_says_so(words):
    rows = rows_with(price_per_hour=1.0, price_source="owned: capital, no electricity")
    (told,) = prices_made(rows, {"devices": {"cpu": CPU | {"owned": OWNED}}}, words)
    assert told.endswith("make $1.00; no price of electricity is set.")


def test_a_price_that_cannot_be_known_says_why(words):
    rows = rows_with(price_per_hour=None, price_source="unknown: power was not measured")
    (told,) = prices_made(rows, {}, words)
    assert told.striptags() == "cpu has no price: unknown: power was not measured."


def test_nothing_is_said_where_nothing_has_a_price(words):
    assert prices_made(prepare(make_table(), {}), {}, words) == []


def test_each_device_has_the_price_below_which_it_wins_with_its_doubt(words):
    priced, free = price_table({"prices": make_prices()}, words)
    assert [priced[name] for name in ("device", "price", "cost")] == ["cpu", "$2.00/h", "3.21"]
    assert [free[name] for name in ("device", "price", "cost")] == ["gpu0", MISSING, MISSING]
    assert priced["wins"].striptags().split(MISSING) == ["$2.40/h $2.30", "$2.50"]


def test_where_prices_decide_nothing_they_are_compared(words):
    nothing = dict.fromkeys(("wins_below", "wins_below_low", "wins_below_high"))
    (line,) = price_table({"prices": [make_prices()[1] | nothing | {"as_cheap_below": 1.5}]}, words)
    assert (line["as_cheap"], "wins" in line) == ("$1.50/h", False)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_price_and_a_limit_are_in_the_currency_of_the_study(language):
    words = Language(language, "CHF")
    entry = {"kind": "price", "name": "gpu0", "current": None, "at": 2.109, "direction": "cheaper"}
    assert "2.10 CHF" in change(entry | {"then": None}, "cost", words)
    assert "5 CHF" in limit("max_cost_per_million", 5, words)
    assert words("columns.cost_per_million").count("CHF/") == 1
