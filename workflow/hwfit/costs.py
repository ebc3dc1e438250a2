"""What an hour of a device costs, and what a million samples or tokens cost on it.

    capital an hour  = (price - residual value) / (years * hours a year)                     owned
    mean power       = u * power at work + (1 - u) * idle power                               owned
    price an hour    = rent, or capital an hour + mean power / 1000 * price of a kWh
    cost a million   = price an hour / (3600 * throughput * u) * 1,000,000

where u is the utilization, the share of the hours in which the device works. Rent has its electricity in it.
Pure: plain data in, plain data out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hwfit.catalog import generation_lengths
from hwfit.composites import members_of
from hwfit.cost_sections import Cost, Owned
from hwfit.device_sections import Composite, Device

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}
DOLLARS = "USD"
NO_POWER = "unknown: electricity has a price, but power was neither measured nor rated (owned.power_w)"


@dataclass(frozen=True)
class Tariff:
    """What having a device costs, before its electricity.

    Attributes
    ----------
    fixed_per_hour : rent or capital an hour, by the device that it is paid for: itself, or each member of
        a composite
    owned : those of them that were bought
    """

    fixed_per_hour: Mapping[str, float]
    owned: Mapping[str, Owned] = field(default_factory=dict)


@dataclass(frozen=True)
class Hour:
    """What an hour costs in all, and how that came about; None where it cannot be known."""

    price: float | None
    source: str


def capital_per_hour(owned: Owned) -> float:
    """The loss of value of a machine in each hour that it is switched on."""
    return (owned.price - owned.residual_value) / (owned.years * owned.hours_per_year)


def tariff_of(devices: Mapping[str, Device | Composite], name: str) -> Tariff | None:
    """A device's own, or that of a composite's members together; None where one has no price."""
    device = devices[name]
    if device.price_per_hour is not None:
        return Tariff({name: device.price_per_hour})
    if isinstance(device, Device):
        return Tariff({name: capital_per_hour(device.owned)}, {name: device.owned}) if device.owned else None
    members = [tariff_of(devices, member) for member, _ in members_of(devices, name)]
    fixed: dict[str, float] = {}
    owned: dict[str, Owned] = {}
    for member in members:
        if member is None:
            return None
        fixed |= member.fixed_per_hour
        owned |= member.owned
    return Tariff(fixed, owned)


def hour_of(
    tariff: Tariff,
    cost: Cost,
    power_w: float | None = None,
    idle_power_w: float | None = None,
    energy_source: str = "",
) -> Hour:
    """The price of an hour, with the electricity of what is owned.

    Parameters
    ----------
    power_w, idle_power_w : as measured, of all that is paid for; None where it was not. A measured power
        goes with a measured idle power alone: a board's and a machine's do not add up.
    energy_source : of the measured power, with its scope
    """
    fixed = sum(tariff.fixed_per_hour.values())
    if not tariff.owned:
        return Hour(fixed, "rented")
    is_part = len(tariff.owned) < len(tariff.fixed_per_hour)
    kind = "rented and owned" if is_part else "owned"
    if cost.electricity_per_kwh is None:
        return Hour(fixed, f"{kind}: capital, no electricity")
    by = energy_source or "measured"
    if power_w is None or is_part:
        by = "rated"
        power_w = _sum(owned.power_w for owned in tariff.owned.values())
        idle_power_w = _sum(owned.idle_power_w for owned in tariff.owned.values())
    if power_w is None:
        return Hour(None, NO_POWER)
    waits = 1 - cost.utilization
    mean_w = cost.utilization * power_w + waits * (idle_power_w or 0.0)
    left_out = ", idle power not counted" if waits and idle_power_w is None else ""
    source = f"{kind}: capital and electricity (power: {by}{left_out})"
    return Hour(fixed + mean_w / 1000 * cost.electricity_per_kwh, source)


def cost_per_million(price_per_hour: float, throughput: float, utilization: float) -> float:
    """What a million samples cost at a throughput in samples a second."""
    return price_per_hour / (3600 * throughput * utilization) * 1e6


def figures(tariff: Tariff | None, cost: Cost, line: Mapping[str, Any]) -> dict[str, Any]:
    """The columns on cost of a measured row, from those on its throughput and power."""
    if tariff is None:
        return {}
    metered = ", ".join(filter(None, (line.get("energy_source"), line.get("energy_scope"))))
    hour = hour_of(tariff, cost, line.get("power_w"), line.get("idle_power_w"), metered)
    found: dict[str, Any] = {"price_source": hour.source, "currency": cost.currency}
    throughput = line.get("throughput_samples_per_s")
    if hour.price is None or not throughput:
        return found | {"price_per_hour": hour.price}
    million = cost_per_million(hour.price, throughput, cost.utilization)
    lengths = generation_lengths(line["scenario"])
    return found | {
        "price_per_hour": hour.price,
        "cost_per_million": million,
        # A sample of a language model is a request, and each writes as many tokens.
        "cost_per_million_tokens": million / lengths[1] if lengths else None,
        "cost_usd_per_million": million if cost.currency == DOLLARS else None,
    }


def money(amount: float, currency: str, down: bool = False) -> str:
    """An amount as people write it: `$2.10`, `0.0123 CHF`; two digits after the point, or three in all.

    Parameters
    ----------
    down : round down, so that what is said of all that costs less stays true
    """
    if amount and not 1e-9 < abs(amount) < 1e12:
        # No price of anything, but an edited file may hold it.
        return with_currency(f"{amount:.3g}", currency)
    digits = 2 if abs(amount) >= 1 or not amount else 2 - math.floor(math.log10(abs(amount)))
    step = 10.0**digits
    # An amount such as 2.3 may lie a hair below its last digit.
    rounded = math.floor(amount * step * (1 + 1e-12)) / step if down else round(amount, digits)
    whole, _, part = f"{rounded:,.{digits}f}".partition(".")
    shown = f"{whole}.{part.rstrip('0').ljust(2, '0')}"
    return with_currency(shown, currency)


def with_currency(number: str, currency: str) -> str:
    """A number that is written already, as an amount of money."""
    symbol = SYMBOLS.get(currency)
    return f"{symbol}{number}" if symbol else f"{number} {currency}"


def _sum(values: Any) -> float | None:
    """The sum; None where one is not known."""
    known = list(values)
    return None if any(value is None for value in known) else float(sum(known))
