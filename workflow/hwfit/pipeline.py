"""Would it pay to cut a model in two and run each part on a device of its own? Computed, not run.

From measured times of a model's blocks on two devices, the bytes between them and the link that carries
these, every cut in both orders is worked out, and the best is compared with the best single device and
with splitting the batch over the two. Pure arithmetic.

A pipeline is as fast as its slowest stage; how many batches are on their way changes the latency, not the
rate. A stage counts the blocks it runs and the transfer: one side copies in and the other out, and since the
link does not tell how much falls on which, both count it whole, so that a doubtful cut is not advised. Where
the link carries beside the computing, the transfer is a stage of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Block:
    """A part of a model that is run whole.

    Attributes
    ----------
    first_s, second_s : its seconds for a batch on either device
    output_bytes : what it hands on
    is_cut : whether the model can be cut behind it: nothing else of before is needed after
    """

    name: str
    first_s: float
    second_s: float
    output_bytes: int
    is_cut: bool = True


@dataclass(frozen=True)
class Link:
    """What lies between the devices: a message of n bytes takes latency_s + n / bytes_per_s."""

    latency_s: float
    bytes_per_s: float
    is_beside: bool = False

    def seconds(self, size: int) -> float:
        """The time of a message of so many bytes."""
        return self.latency_s + size / self.bytes_per_s


@dataclass(frozen=True)
class Pipeline:
    """A model cut behind a block; `starts_on` is the device of the first part, "first" or "second"."""

    starts_on: str
    behind: str
    blocks_before: int
    stages_s: tuple[float, float]
    transfer_s: float
    bottleneck_s: float

    @property
    def latency_s(self) -> float:
        """From a batch's beginning to its end, with nothing in its way."""
        return sum(self.stages_s) + self.transfer_s


@dataclass(frozen=True)
class Verdict:
    """The best pipeline beside what else can be done with two devices; rates in samples a second.

    `split_s` is the time of a batch that is split in whole samples, each device's time being proportional
    to its samples: at small batches that flatters splitting. `pipeline` is None where no cut is possible.
    """

    pipeline: Pipeline | None
    batch_size: int
    single_s: float
    single_on: str
    split_s: float
    split_shares: tuple[int, int]

    @property
    def gain_over_single(self) -> float | None:
        """The pipeline's rate over the better device's."""
        return self.single_s / self.pipeline.bottleneck_s if self.pipeline else None

    @property
    def gain_over_split(self) -> float | None:
        """The pipeline's rate over that of splitting the batch."""
        return self.split_s / self.pipeline.bottleneck_s if self.pipeline else None

    @property
    def pays(self) -> bool:
        """Whether the pipeline brings more samples a second than either."""
        return self.pipeline is not None and self.pipeline.bottleneck_s < min(self.single_s, self.split_s)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, with rates and latencies beside the times they are made of."""
        found = asdict(self) | {
            "pays": self.pays,
            "gain_over_single": self.gain_over_single,
            "gain_over_split": self.gain_over_split,
            "single_samples_per_s": self.batch_size / self.single_s,
            "split_samples_per_s": self.batch_size / self.split_s,
        }
        if self.pipeline:
            found["pipeline"] |= {
                "latency_s": self.pipeline.latency_s,
                "samples_per_s": self.batch_size / self.pipeline.bottleneck_s,
            }
        return found


def judge(blocks: Sequence[Block], link: Link, batch_size: int) -> Verdict:
    """The best cut, and whether it pays.

    Parameters
    ----------
    blocks : in the order they run, timed at this batch size on both devices
    """
    totals = {
        "first": sum(block.first_s for block in blocks),
        "second": sum(block.second_s for block in blocks),
    }
    single_on = min(totals, key=lambda name: totals[name])
    shares = split(batch_size, totals["first"], totals["second"])
    return Verdict(
        pipeline=min(pipelines(blocks, link), key=lambda p: (p.bottleneck_s, p.latency_s), default=None),
        batch_size=batch_size,
        single_s=totals[single_on],
        single_on=single_on,
        split_s=split_seconds(shares, batch_size, totals["first"], totals["second"]),
        split_shares=shares,
    )


def pipelines(blocks: Sequence[Block], link: Link) -> Iterator[Pipeline]:
    """Every cut, with either device in front."""
    for number, block in enumerate(blocks[:-1], start=1):
        if not block.is_cut:
            continue
        before, after = blocks[:number], blocks[number:]
        transfer_s = link.seconds(block.output_bytes)
        for starts_on, stages_s in (
            ("first", (sum(b.first_s for b in before), sum(b.second_s for b in after))),
            ("second", (sum(b.second_s for b in before), sum(b.first_s for b in after))),
        ):
            busy = (*stages_s, transfer_s) if link.is_beside else (max(stages_s) + transfer_s,)
            yield Pipeline(starts_on, block.name, number, stages_s, transfer_s, max(busy))


def split(batch_size: int, first_s: float, second_s: float) -> tuple[int, int]:
    """The whole samples of a batch for either device by which it is done soonest."""
    choices = ((part, batch_size - part) for part in range(batch_size + 1))
    return min(choices, key=lambda shares: split_seconds(shares, batch_size, first_s, second_s))


def split_seconds(shares: tuple[int, int], batch_size: int, first_s: float, second_s: float) -> float:
    """When the later of two devices is done with its share, at times for the whole batch."""
    return max(shares[0] * first_s, shares[1] * second_s) / batch_size


def blocks_of(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Block]:
    """Blocks from what `python -m hwfit.worker layers` measured on two devices.

    Raises ValueError where these are not of one model and batch size.
    """
    names = [[block["name"] for block in taken["blocks"]] for taken in (first, second)]
    if names[0] != names[1] or first["batch_size"] != second["batch_size"]:
        raise ValueError("the two measurements are of different models or batch sizes")
    return [
        Block(a["name"], a["seconds"], b["seconds"], a["output_bytes"], a["is_cut"] and b["is_cut"])
        for a, b in zip(first["blocks"], second["blocks"], strict=True)
    ]
