"""The section `slurm` of a device in devices.yaml: what its jobs ask a cluster's scheduler for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hwfit.section_types import Section, Unique
from hwfit.section_types import text as _text

# What stands here becomes part of sbatch's command line: no space, quote or sign of a shell gets in.
_WORD = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_WORD_MEANING = "letters, digits and _ . - (at most 64 characters, a letter or digit first)"
Word = Annotated[str, _text(rf"^{_WORD}$", _WORD_MEANING, 64)]
# One resource, as Snakemake's plugin for SLURM takes it.
Gres = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9_]{1,64}(:[0-9]*[A-Za-z_.][A-Za-z0-9_.]{0,63})?(:[1-9][0-9]{0,3})?$",
        "name, name:count or name:type:count, such as gpu:1 or gpu:a100:1",
        140,
    ),
]
Module = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9][A-Za-z0-9_.+-]*(/[A-Za-z0-9_.+-]+)*$", "the name of a module, such as cuda/12.4", 128
    ),
]


class Slurm(Section):
    """A device that stands for a class of nodes of a cluster: where and how its jobs are submitted.

    An empty mapping asks for a whole node of the default partition.
    """

    partition: (
        Annotated[str, _text(rf"^{_WORD}(,{_WORD})*$", f"names of partitions, with commas: {_WORD_MEANING}")]
        | None
    ) = Field(default=None, description="where its nodes are; absent: the cluster's default")
    account: Word | None = Field(default=None, description="who pays; absent: the user's default")
    qos: Word | None = Field(default=None, description="quality of service")
    gres: Gres | None = Field(
        default=None,
        description="generic resource, `name:count` or `name:type:count`; the device's `index` counts within "
        "what the job is given, so that it is 0 where that is one",
        examples=["gpu:1", "gpu:a100:1", "npu:1"],
    )
    constraint: (
        Annotated[
            str,
            _text(
                r"^[A-Za-z0-9_][A-Za-z0-9_.&|()*,-]*$",
                "features of nodes, joined by & or |, without spaces, such as skylake&nvme",
            ),
        ]
        | None
    ) = Field(default=None, description="features that its nodes must have")
    mem_mb: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None, description="memory of a job on the node, MB; absent: default-resources of the profile"
    )
    cpus: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description="cores of a job; absent: what the cluster gives, which is all of them where the node is "
        "exclusive, and often a single one beside a gres",
    )
    runtime_minutes: Annotated[int, Field(ge=1, le=525_600)] | None = Field(
        default=None,
        description="time limit of a job that measures or trains; absent: estimated from its batch sizes, "
        "and longer when it is tried again",
    )
    exclusive: bool | None = Field(
        default=None,
        description="true: nobody else's job runs on the node meanwhile; absent: true where there is no gres",
    )
    modules: Annotated[list[Module], Unique()] = Field(
        default=[], description="environment modules that its jobs load, with `--sdm env-modules`"
    )

    @property
    def is_exclusive(self) -> bool:
        """Whether a job has its node to itself."""
        return self.gres is None if self.exclusive is None else self.exclusive

    @property
    def gres_count(self) -> int | None:
        """How many of the generic resource a job is given; None where it asks for none."""
        if self.gres is None:
            return None
        last = self.gres.rpartition(":")[2]
        return int(last) if ":" in self.gres and last.isdigit() else 1
