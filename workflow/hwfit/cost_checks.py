"""What is said of prices and cost goes together: across devices, limits and the currency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hwfit.composites import members_of
from hwfit.config_errors import listed
from hwfit.cost_sections import Owned
from hwfit.costs import DOLLARS, tariff_of
from hwfit.device_sections import Composite, Device
from hwfit.key_path import KeyPath
from hwfit.sections import Config
from hwfit.sites.checks import is_priced_elsewhere

Devices = Mapping[str, Device | Composite]
LIMIT, DOLLAR_LIMIT = "max_cost_per_million", "max_cost_usd_per_million"


def check_price(name: str, device: Device) -> Iterator[tuple[KeyPath, str]]:
    """A device is rented or owned, and keeps less than its value."""
    owned = device.owned
    if owned is None:
        return
    if device.price_per_hour is not None:
        message = f"is there beside price_per_hour ({device.price_per_hour:g}); allowed: one of the two, "
        yield (name, "owned"), f"{message}price_per_hour where it is rented, owned where it was bought"
    yield from ((((name, "owned", key)), message) for key, message in _check_owned(owned))


def _check_owned(owned: Owned) -> Iterator[tuple[str, str]]:
    if owned.residual_value >= owned.price:
        message = f"is {owned.residual_value:g}, not below the price ({owned.price:g})"
        yield "residual_value", f"{message}; allowed: what it is still worth after `years`"
    power, idle = owned.power_w, owned.idle_power_w
    if idle is not None and power is None:
        yield "idle_power_w", f"is {idle:g}, without power_w; add power_w, the draw at work"
    elif idle is not None and power is not None and idle > power:
        yield "idle_power_w", f"is {idle:g}, above power_w ({power:g}); allowed: power_w or less"


def check_cost(config: Config, devices: Devices) -> Iterator[tuple[KeyPath, str]]:
    """Cost is sought or limited only where a price is known, and in the one currency."""
    used = sorted({name for matrix in config.matrices for name in matrix.devices})
    is_priced = any(tariff_of(devices, name) for name in used) or is_priced_elsewhere(config)
    for place, wanted in _objectives(config):
        counts_cost = wanted == "cost" or getattr(wanted, "cost", None) is not None
        if counts_cost and not is_priced:
            said = "is 'cost'" if wanted == "cost" else "has cost in it"
            yield place, f"{said}, but {_unpriced(used)}"
    for place, limits in _limits(config):
        currency = config.cost.currency
        if DOLLAR_LIMIT in limits and currency != DOLLARS:
            message = f"is in US dollars, and cost.currency is {currency}"
            yield (*place, DOLLAR_LIMIT), f"{message}; write {LIMIT}, which is in {currency}"
        for name in (LIMIT, DOLLAR_LIMIT):
            if name in limits and not is_priced:
                yield (*place, name), f"is a limit on cost, but {_unpriced(used)}"
    for model in config.model_names:
        if {LIMIT, DOLLAR_LIMIT} <= set(config.decision.limits_of(model)):
            message = f"has both {LIMIT} and {DOLLAR_LIMIT} for {model}, which mean the same"
            yield ("decision", "constraints"), f"{message}; allowed: one of the two"
            break
    electricity = config.cost.electricity_per_kwh
    if electricity is not None and not config.sites and not any(_is_owned(devices, name) for name in used):
        message = f"is {electricity:g}, but none of {listed(used)} is owned: a price_per_hour has its"
        said = f"{message} electricity in it; describe one in devices.yaml by `owned`, or remove this"
        yield ("cost", "electricity_per_kwh"), said


def _unpriced(used: list[str]) -> str:
    return f"none of {listed(used)} has a price_per_hour or `owned` in devices.yaml"


def _is_owned(devices: Devices, name: str) -> bool:
    names = [name, *(member for member, _ in members_of(devices, name))]
    return any(getattr(devices[each], "owned", None) is not None for each in names)


def _objectives(config: Config) -> Iterator[tuple[KeyPath, Any]]:
    yield ("decision", "objective"), config.decision.objective
    for name, each in config.decision.per_model.items():
        yield ("decision", "per_model", name, "objective"), each.objective


def _limits(config: Config) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    yield ("decision", "constraints"), config.decision.constraints.given()
    for name, each in config.decision.per_model.items():
        if each.constraints:
            yield ("decision", "per_model", name, "constraints"), each.constraints.given()
