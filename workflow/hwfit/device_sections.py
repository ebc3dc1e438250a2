"""config/devices.yaml: devices with a chip of their own, and composites of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from hwfit import catalog
from hwfit.cost_sections import Owned
from hwfit.section_types import (
    Core,
    Defined,
    DeviceName,
    Name,
    OneOf,
    Positive,
    PowerCommand,
    PowerScope,
    RuntimeName,
    Seconds,
    Section,
    Unique,
)
from hwfit.slurm_sections import Slurm

MeterCommand = Annotated[
    PowerCommand | None,
    Field(
        description="prints its power in watts, a number a line, once or on and on: an external meter, in "
        "place of the sensors that hwfit reads by itself"
    ),
]
MeterScope = Annotated[PowerScope | None, Field(description="what `power_command` speaks of")]
MeterInterval = Annotated[
    Seconds | None,
    Field(
        description="how often a `power_command` that prints once is called, and the longest that one which "
        "goes on may take between two lines, s; 1 where absent"
    ),
]


class Device(Section):
    """One place that work runs."""

    accelerator: Annotated[str, OneOf(catalog.ACCELERATORS)] = Field(description="what kind of chip computes")
    index: Annotated[int, Field(ge=0, le=1023)] = Field(
        default=0, description="which of them, as its driver counts"
    )
    runtimes: Annotated[dict[RuntimeName, Annotated[Name, Defined("environments")]], Field(min_length=1)] = (
        Field(description="each runtime with its environment: a name in envs/, without .txt")
    )
    threads: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description="compute threads of a runtime; each runtime's own default where absent, and as many as "
        "`cores` where those are given",
    )
    cores: Annotated[list[Core], Field(min_length=1), Unique()] | None = Field(
        default=None,
        description="of a cpu: the cores that a worker is kept on, as the kernel counts them; absent: all",
    )
    memory_limit_mb: Positive | None = Field(
        default=None, description="a worker's limit of private memory, MB; none where absent"
    )
    price_per_hour: Positive | None = Field(
        default=None,
        description="rent of the whole instance that the device is in, with electricity, in cost.currency",
    )
    owned: Owned | None = Field(default=None, description="instead: what was bought, and for how long")
    power_command: MeterCommand = None
    power_scope: MeterScope = None
    power_interval_s: MeterInterval = None
    slurm: Slurm | None = Field(
        default=None,
        description="the device is a class of nodes of a cluster: what its jobs ask the scheduler for",
    )


class Member(Section):
    """One part of a composite device."""

    device: DeviceName = Field(description="a device of this file, with an accelerator of its own")
    runtime: RuntimeName | None = Field(
        default=None, description="what runs there; absent: the only runtime that the device lists"
    )


MemberOrName = Annotated[
    Annotated[DeviceName, Tag("text")] | Annotated[Member, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, (Mapping, Member)) else "text"),
]


class Composite(Section):
    """Several devices at work on one batch: each takes a share in proportion to its measured speed."""

    members: Annotated[list[MemberOrName], Field(min_length=2, max_length=64), Unique()] = Field(
        description="the devices, two or more, each by its name or with a runtime"
    )
    parallel: Literal["torch-distributed"] | None = Field(
        default=None,
        description="torch-distributed: the first member holds the batch, sends the others their samples and "
        "takes their outputs, by gloo on cpu and nccl on cuda; absent: each is handed its own",
    )
    price_per_hour: Positive | None = Field(
        default=None,
        description="what they cost together, in cost.currency; the sum of the members' where absent",
    )
    power_command: MeterCommand = None
    power_scope: MeterScope = None
    power_interval_s: MeterInterval = None

    @property
    def accelerator(self) -> str:
        """No chip of its own."""
        return catalog.COMPOSITE

    @property
    def runtimes(self) -> dict[str, str]:
        """What runs on it; the environment is that of its first member."""
        return {catalog.SPLIT: ""}


DeviceOrComposite = Annotated[
    Annotated[Device, Tag("device")] | Annotated[Composite, Tag("composite")],
    Discriminator(lambda value: "composite" if is_composite(value) else "device"),
]


def is_composite(value: Any) -> bool:
    """Whether an entry of devices.yaml, as it was written or read, is of a composite."""
    return isinstance(value, Composite) or (isinstance(value, Mapping) and "members" in value)
