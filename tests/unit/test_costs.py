"""What an hour of a device costs, and what its work costs: rented, owned, and at a share of the hours."""

from __future__ import annotations

import pytest

from hwfit.cost_sections import Cost, Owned
from hwfit.costs import Tariff, capital_per_hour, cost_per_million, figures, hour_of, money, tariff_of
from hwfit.device_sections import Composite, Device

BOX = {"price": 35_040.0, "years": 4, "power_w": 500.0, "idle_power_w": 100.0}
ROW = {"throughput_samples_per_s": 100.0, "scenario": "single_stream"}


def owned(**changes: float | None) -> Tariff:
    return tariff_of({"box": device(owned=BOX | changes)}, "box")


def device(**changes: object) -> Device:
    return Device.model_validate({"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}} | changes)


def test_capital_is_the_lost_value_over_the_hours_that_it_is_on():
    # 35,040 over 4 years of 8,760 hours.
    assert capital_per_hour(Owned(price=35_040, years=4)) == pytest.approx(1.0)
    assert capital_per_hour(Owned(price=35_040, years=4, residual_value=17_520)) == pytest.approx(0.5)
    assert capital_per_hour(Owned(price=35_040, years=4, hours_per_year=2190)) == pytest.approx(4.0)


def test_rent_has_its_electricity_in_it():
    hour = hour_of(Tariff({"gpu0": 2.5}), Cost(electricity_per_kwh=0.2), power_w=400.0)
    assert (hour.price, hour.source) == (2.5, "rented")


def test_what_is_owned_draws_what_was_measured_and_says_by_which_sensor():
    hour = hour_of(owned(), Cost(electricity_per_kwh=0.2), 300.0, energy_source="counter:nvml (board)")
    assert hour.price == pytest.approx(1.0 + 0.3 * 0.2)
    assert hour.source == "owned: capital and electricity (power: counter:nvml (board))"


def test_power_that_was_not_measured_is_as_rated():
    hour = hour_of(owned(), Cost(electricity_per_kwh=0.2))
    assert hour.price == pytest.approx(1.0 + 0.5 * 0.2)
    assert hour.source == "owned: capital and electricity (power: rated)"


def test_electricity_without_a_power_leaves_the_price_open_and_says_why():
    hour = hour_of(owned(power_w=None, idle_power_w=None), Cost(electricity_per_kwh=0.2))
    assert hour.price is None
    assert "neither measured nor rated (owned.power_w)" in hour.source


def test_without_a_price_of_electricity_capital_alone_counts_and_says_so():
    hour = hour_of(owned(), Cost(), 300.0)
    assert hour.price == pytest.approx(1.0)
    assert hour.source == "owned: capital, no electricity"


def test_while_it_waits_it_draws_its_idle_power():
    hour = hour_of(owned(), Cost(electricity_per_kwh=0.2, utilization=0.25))
    assert hour.price == pytest.approx(1.0 + (0.25 * 0.5 + 0.75 * 0.1) * 0.2)
    measured = hour_of(owned(), Cost(electricity_per_kwh=0.2, utilization=0.25), 300.0, 60.0)
    assert measured.price == pytest.approx(1.0 + (0.25 * 0.3 + 0.75 * 0.06) * 0.2)


def test_a_measured_power_is_not_mixed_with_a_rated_idle_power():
    cost = Cost(electricity_per_kwh=0.2, utilization=0.5)
    hour = hour_of(owned(), cost, 300.0, energy_source="counter:nvml (board)")
    assert hour.price == pytest.approx(1.0 + 0.5 * 0.3 * 0.2)
    assert hour.source.endswith("(power: counter:nvml (board), idle power not counted)")


def test_idle_hours_are_borne_by_the_samples():
    assert cost_per_million(3.6, 100.0, 1.0) == pytest.approx(10.0)
    assert cost_per_million(3.6, 100.0, 0.25) == pytest.approx(40.0)


def test_a_composite_is_the_sum_of_its_members_and_draws_what_is_owned_of_them():
    devices = {"rented": device(price_per_hour=2.0), "box": device(owned=BOX)}
    devices["pair"] = Composite(members=["rented", "box"])
    tariff = tariff_of(devices, "pair")
    assert tariff.fixed_per_hour == {"rented": 2.0, "box": pytest.approx(1.0)}
    # A measured power would be that of both.
    hour = hour_of(tariff, Cost(electricity_per_kwh=0.2), power_w=900.0)
    assert hour.price == pytest.approx(3.0 + 0.5 * 0.2)
    assert hour.source == "rented and owned: capital and electricity (power: rated)"
    devices["pair"] = Composite(members=["rented", "box"], price_per_hour=2.5)
    assert tariff_of(devices, "pair") == Tariff({"pair": 2.5})


def test_a_composite_with_a_member_without_a_price_has_none():
    devices = {"free": device(), "box": device(owned=BOX), "pair": Composite(members=["free", "box"])}
    assert tariff_of(devices, "pair") is None


def test_a_row_costs_what_its_device_costs_in_the_currency_of_the_study():
    found = figures(Tariff({"gpu0": 3.6}), Cost(), ROW)
    assert found["cost_per_million"] == found["cost_usd_per_million"] == pytest.approx(10.0)
    assert (found["price_per_hour"], found["currency"]) == (3.6, "USD")
    euros = figures(Tariff({"gpu0": 3.6}), Cost(currency="EUR"), ROW)
    assert (euros["cost_per_million"], euros["cost_usd_per_million"]) == (pytest.approx(10.0), None)
    assert figures(None, Cost(), ROW) == {}


def test_a_row_draws_what_its_meter_says_and_names_the_scope():
    metered = {"power_w": 300.0, "energy_source": "counter:nvml", "energy_scope": "board"}
    found = figures(owned(), Cost(electricity_per_kwh=0.2), ROW | metered)
    assert found["price_per_hour"] == pytest.approx(1.0 + 0.3 * 0.2)
    assert found["price_source"] == "owned: capital and electricity (power: counter:nvml, board)"


def test_a_language_model_has_a_price_a_token_that_it_writes():
    found = figures(Tariff({"gpu0": 3.6}), Cost(), ROW | {"scenario": "generate-128-32"})
    assert found["cost_per_million_tokens"] == pytest.approx(10.0 / 32)
    assert figures(Tariff({"gpu0": 3.6}), Cost(), ROW)["cost_per_million_tokens"] is None


def test_a_row_whose_price_is_not_known_has_no_cost_but_a_reason():
    tariff = owned(power_w=None, idle_power_w=None)
    found = figures(tariff, Cost(electricity_per_kwh=0.2), ROW)
    assert found["price_per_hour"] is None
    assert found.get("cost_per_million") is None
    assert found["price_source"].startswith("unknown:")


@pytest.mark.parametrize(
    ("amount", "currency", "down", "expected"),
    [
        (2.1, "USD", False, "$2.10"),
        (2.3, "USD", True, "$2.30"),
        (2.109, "USD", True, "$2.10"),
        (2.109, "USD", False, "$2.11"),
        (1234.5, "EUR", False, "€1,234.50"),
        (0.0456789, "USD", True, "$0.0456"),
        (0.04, "CHF", True, "0.04 CHF"),
        (0.0, "USD", False, "$0.00"),
        (1e300, "USD", True, "$1e+300"),
        (1e-320, "USD", True, "$1e-320"),
    ],
)
def test_money_is_written_as_people_do_and_rounded_down_where_it_is_an_upper_bound(
    amount, currency, down, expected
):
    assert money(amount, currency, down) == expected
