"""What devices cost in the words of the report: how a price came about, and at which another device wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup
from pydantic import ValidationError

from hwfit import schemas
from hwfit.cost_sections import Owned
from hwfit.costs import DOLLARS, capital_per_hour, money, with_currency
from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.numbers import MISSING, number
from hwfit.report.table import values_of

# What `price_source` says before the power that electricity is reckoned by.
POWER = "(power: "


def currency_of(rows: pd.DataFrame) -> str:
    """The one currency of the rows; dollars where nothing has a price."""
    return next(iter(values_of(rows, "currency")), DOLLARS)


def price_table(entry: Mapping[str, Any], words: Language) -> list[dict[str, Markup]]:
    """Each device of an answer with its cheapest row, what that costs, and the price that decides.

    That is the price below which it wins, or, where prices decide nothing, below which its samples are
    cheaper than the chosen row's. Empty where the answer tells of no price.
    """
    prices = entry.get("prices") or []
    decide = any(number(price.get("wins_below")) is not None for price in prices)
    return [price_line(price, "wins" if decide else "as_cheap", words) for price in prices]


def price_line(price: Mapping[str, Any], last: str, words: Language) -> dict[str, Markup]:
    """One device of that table, by its columns."""
    batch = f"{numbers.TIMES}\N{THIN SPACE}{numbers.count(price.get('batch_size'))}"
    row = " · ".join([str(price.get("runtime") or ""), str(price.get("optimization") or ""), batch])
    decisive = hourly(price.get(f"{last}_below"), words, down=True)
    low, high = (number(price.get(f"wins_below_{end}")) for end in ("low", "high"))
    if low is not None and high is not None:
        ends = f"{money(low, words.currency)}{MISSING}{money(high, words.currency)}"
        decisive += Markup(' <span class="note">{}</span>').format(ends)
    return {
        "device": Markup("{}").format(price.get("device") or ""),
        "row": Markup("{}").format(row),
        "price": hourly(price.get("price_per_hour"), words),
        "cost": Markup("{}").format(numbers.figure(price.get("cost_per_million"))),
        last: decisive,
    }


def hourly(value: Any, words: Language, down: bool = False) -> Markup:
    """A price an hour, or a dash; `down` as in `money`."""
    amount = number(value)
    if amount is None:
        return Markup(MISSING)
    return words("prices.hour", price=money(amount, words.currency, down=down))


def prices_made(rows: pd.DataFrame, plan: Mapping[str, Any], words: Language) -> list[Markup]:
    """How the price of each device came about that rows have one of, or why they have none."""
    told = [
        price_made(device, rows[rows["device"] == device], owned_in(plan, device), words)
        for device in values_of(rows[rows["price_source"] != ""], "device")
    ]
    settings = plan.get("config")
    cost = settings.get("cost") if isinstance(settings, Mapping) else None
    share = number(cost.get("utilization")) if isinstance(cost, Mapping) else None
    if told and share is not None and share < 1:
        told.append(words("prices.utilization", share=numbers.share(share)))
    return told


def price_made(device: str, rows: pd.DataFrame, owned: Owned | None, words: Language) -> Markup:
    """The price of one device, with what it is made of."""
    currency, source = words.currency, values_of(rows, "price_source")[0]
    known = rows["price_per_hour"].dropna()
    if known.empty:
        return words("prices.unknown", device=device, why=Markup('<span lang="en">{}</span>').format(source))
    price = spread(known, currency)
    if owned is None:
        kind = words.find("prices.kinds", source) or Markup('<span lang="en">{}</span>').format(source)
        return words("prices.device", device=device, price=price, kind=kind)
    capital = capital_per_hour(owned)
    made = words(
        "prices.owned",
        device=device,
        price=price,
        capital=money(capital, currency),
        paid=with_currency(numbers.exact(owned.price - owned.residual_value), currency),
        years=numbers.exact(owned.years),
    )
    if POWER not in source:
        return made + words("prices.no_electricity")
    power = Markup('<span lang="en">{}</span>').format(source.partition(POWER)[2].removesuffix(")"))
    return made + words("prices.electricity", price=spread(known - capital, currency), power=power)


def spread(values: pd.Series, currency: str) -> str:
    """The least and the most of some amounts, or the one they are."""
    return numbers.MISSING.join(
        dict.fromkeys(money(float(value), currency) for value in (values.min(), values.max()))
    )


def owned_in(plan: Mapping[str, Any], device: str) -> Owned | None:
    """What a plan says of a device that was bought; None where it says nothing, or not of this version."""
    try:
        devices = schemas.PLANNED_DEVICES.validate_python(plan.get("devices"))
    except ValidationError:
        return None
    return getattr(devices.get(device), "owned", None)
