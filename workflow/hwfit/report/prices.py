"""What devices cost in the words of the report: how a price came about, and at which another device wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup
from pydantic import ValidationError

from hwfit import schemas
from hwfit.cost_sections import Owned
from hwfit.costs import DOLLARS, capital_per_hour, money
from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.numbers import MISSING, number
from hwfit.report.table import values_of

# What `price_source` says before the power that electricity is reckoned by.
POWER = "(power: "


def currency_of(rows: pd.DataFrame) -> str:
    """The one currency of the rows; dollars where nothing has a price."""
    return next(iter(values_of(rows, "currency")), DOLLARS)


def price_table(entry: Mapping[str, Any], words: Language) -> list[list[Markup]]:
    """Each device of an answer: its cheapest row, what it costs, and below which price it wins or is cheaper.

    Empty where the answer tells of no price.
    """
    return [price_line(price, words) for price in entry.get("prices") or []]


def price_line(price: Mapping[str, Any], words: Language) -> list[Markup]:
    """One device of that table."""
    batch = f"{numbers.TIMES}\N{THIN SPACE}{numbers.count(price.get('batch_size'))}"
    row = " · ".join([str(price.get("runtime") or ""), str(price.get("optimization") or ""), batch])
    wins = hourly(price.get("wins_below"), words, down=True)
    low, high = (number(price.get(f"wins_below_{end}")) for end in ("low", "high"))
    if low is not None and high is not None:
        ends = f"{money(low, words.currency)}{MISSING}{money(high, words.currency)}"
        wins += Markup(' <span class="note">{}</span>').format(ends)
    return [
        Markup("{}").format(price.get("device") or ""),
        Markup("{}").format(row),
        hourly(price.get("price_per_hour"), words),
        Markup("{}").format(numbers.figure(price.get("cost_per_million"))),
        wins,
        hourly(price.get("as_cheap_below"), words, down=True),
    ]


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
        paid=money(owned.price - owned.residual_value, currency),
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
        devices = schemas.ADAPTERS["devices"].validate_python(plan.get("devices"))
    except ValidationError:
        return None
    return getattr(devices.get(device), "owned", None)
