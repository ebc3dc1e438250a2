"""What a device and its work cost: the section `cost` of a config, and `owned` of a device."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hwfit.section_types import Positive, Section
from hwfit.section_types import text as _text

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Owned(Section):
    """A device that was bought: what an hour of it costs follows from its price, its life and electricity."""

    price: Positive = Field(description="of the whole machine that the device is of, in cost.currency")
    years: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = Field(
        description="until it is replaced: what its price, less the residual value, is spread over"
    )
    residual_value: NotNegative = Field(default=0, description="what it is sold for then, in cost.currency")
    hours_per_year: Annotated[float, Field(gt=0, le=8784, allow_inf_nan=False)] = Field(
        default=8760, description="hours a year that it is switched on; 8760: always"
    )
    power_w: Positive | None = Field(
        default=None,
        description="rated draw of the whole machine at work, W: what its electricity is reckoned by in rows "
        "whose power was not measured",
    )
    idle_power_w: Positive | None = Field(
        default=None, description="the same while it has nothing to do, where cost.utilization is below 1, W"
    )


class Cost(Section):
    """What the prices of all devices have in common."""

    currency: Annotated[
        str, _text(r"^[A-Z]{3}$", "an ISO 4217 code: three capital letters, such as USD, EUR or CNY", 3)
    ] = Field(default="USD", description="of every price in devices.yaml, and of what is made of them")
    utilization: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=1.0,
        description="share of the hours paid for in which the device works; what it costs while it waits is "
        "borne by its samples. (The column utilization is another thing: the share of the device's peak)",
    )
    electricity_per_kwh: Positive | None = Field(
        default=None,
        description="price of electricity for devices that are owned; absent: they cost their capital alone",
    )
    site_prices: dict[str, Positive] = Field(
        default={},
        description="of devices of other sites, by `<device>@<site>`: rent an hour, in place of the price in "
        "their site's export",
    )
