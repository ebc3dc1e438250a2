"""What the rules of a device tell a cluster's scheduler, where it stands for a class of nodes.

Names of resources are those of Snakemake's plugin for SLURM (snakemake-executor-plugin-slurm 2.8); another
executor's submit command may use them too. A device without the section `slurm` has none of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hwfit import walltime
from hwfit.config_errors import ConfigError
from hwfit.device_sections import Device
from hwfit.matrix import Plan
from hwfit.records import Cell, RecordError, read_json
from hwfit.slurm_sections import Slurm

# One of them, so that of a group of cells that are one submission each waits for the one before it, and
# Snakemake adds up their times, not their memory.
ALONE = "measuring"
# Of `cpus_per_task` below 0 the plugin says nothing to sbatch: a whole node, or what the cluster gives.
CLUSTER_DECIDES = -1
Minutes = Callable[[Any], int]


@dataclass(frozen=True)
class Submission:
    """The resources of the rules of each class of nodes.

    Attributes
    ----------
    is_submitting : whether this Snakemake submits jobs, or is one that runs inside of a job
    longest_minutes : the longest time limit that the cluster allows the jobs of a class, where it is known
    """

    plan: Plan
    is_submitting: bool = True
    longest_minutes: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def classes(self) -> dict[str, Slurm]:
        """The devices in use that stand for a class of nodes, with what their jobs ask for."""
        return {name: device.slurm for name, device in self.plan.hardware.items() if device.slurm}

    @cached_property
    def here(self) -> list[str]:
        """The devices in use that are on this very machine."""
        return [name for name in self.plan.hardware if name not in self.classes]

    def retries(self, device: str) -> int:
        """How often a measuring job is tried again that was killed from outside.

        On a cluster once more than elsewhere: preemption, limits and nodes that fail end jobs every day, and
        the last try writes the row which says that the others were killed (see hwfit.worker.supervisor).
        None inside of a job, where two further Snakemakes would each try again what fails.
        """
        if device not in self.classes:
            return 2
        return 3 if self.is_submitting else 0

    def modules(self, device: str) -> list[str]:
        """The environment modules that a device's jobs load."""
        return self.classes[device].modules if device in self.classes else []

    def to_probe(self, device: str) -> dict[str, Any]:
        """Resources of the job that looks for a device."""
        return self.resources(device, lambda _: walltime.PROBE_MINUTES, is_estimated=True)

    def to_take_stock(self, device: str) -> dict[str, Any]:
        """Resources of the job that takes a device's inventory."""
        minutes = walltime.inventory_minutes(len(self.plan.runtimes_of(device)))
        return self.resources(device, lambda _: minutes)

    def to_profile(self, device: str, runtime: str) -> dict[str, Any]:
        """Resources of the jobs that measure a target's cells."""
        sizes, runtimes = self.plan.rectangles[device, runtime], len(self.plan.runtimes_of(device))
        return self.resources(
            device,
            lambda wildcards: walltime.cell_minutes(self.measurement, wildcards.scenario, sizes, runtimes),
        )

    def to_screen(self, device: str, runtime: str) -> dict[str, Any]:
        """Resources of the jobs that look at a target's cells of a model."""
        targets = Counter((cell.device, cell.runtime, cell.model) for cell in self.plan.cells)
        runtimes = len(self.plan.runtimes_of(device))
        return self.resources(
            device,
            lambda wildcards: walltime.screening_minutes(
                self.measurement, targets[device, runtime, wildcards.model], runtimes
            ),
        )

    def to_confirm(self, device: str, contenders: str) -> dict[str, Any]:
        """Resources of the job that measures a device's contenders again.

        Parameters
        ----------
        contenders : the file that names them, before which as many are taken as there may be
        """
        runtimes = len(self.plan.runtimes_of(device))
        return self.resources(
            device,
            lambda _: walltime.confirmation_minutes(
                self.measurement, self.contenders_by_scenario(device, contenders), runtimes
            ),
        )

    def to_train(self, device: str) -> dict[str, Any]:
        """Resources of the jobs that train."""
        return self.resources(device, lambda _: walltime.TRAINING_MINUTES)

    def resources(self, device: str, minutes: Minutes, is_estimated: bool = False) -> dict[str, Any]:
        """What a rule's `resources:` are, by name; nothing for a device that is here.

        Parameters
        ----------
        minutes : the time limit, from a job's wildcards; longer each time the job is tried again
        is_estimated : whether it holds though the device names a limit
        """
        slurm = self.classes.get(device)
        if slurm is None:
            return {}
        limit: Any = None if is_estimated else slurm.runtime_minutes
        # A job that asks for more than is allowed waits for ever.
        longest = self.longest_minutes.get(device, math.inf)
        asked = {
            "slurm_partition": slurm.partition,
            "slurm_account": slurm.account,
            "qos": slurm.qos,
            "gres": slurm.gres,
            "constraint": slurm.constraint,
            "mem_mb": slurm.mem_mb,
            "cpus_per_task": slurm.cpus or CLUSTER_DECIDES,
            "slurm_extra": "--exclusive" if slurm.is_exclusive else None,
            "runtime": limit or (lambda wildcards, attempt: int(min(minutes(wildcards) * attempt, longest))),
            ALONE: 1,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def contenders_by_scenario(self, device: str, file: str) -> Counter[str]:
        """How many contenders of a device each scenario has: as named, or the most that may be."""
        try:
            return Counter(Cell(**entry["cell"]).scenario for entry in read_json(file).get(device, []))
        except (RecordError, KeyError, TypeError, AttributeError):
            cells = [cell for cell in self.plan.cells if cell.device == device]
            questions = {(cell.model, cell.scenario) for cell in cells}
            return Counter(scenario for _, scenario in questions for _ in range(walltime.CONTENDERS))

    @cached_property
    def measurement(self) -> dict[str, Any]:
        """The section `measurement` of the config."""
        return self.plan.study.config.measurement.model_dump()


def require_section(workflow: Any, name: str, device: Device) -> Callable[[Any], list[str]]:
    """An input function without inputs, which refuses to submit jobs of a device that is here.

    Which executor there is, Snakemake knows only when it asks for a job's inputs.
    """

    def nothing(wildcards: Any) -> list[str]:
        if device.slurm is None and not workflow.local_exec:
            raise ConfigError(
                f"devices.yaml: {name} has no section `slurm`, and this run submits its jobs: say where to, "
                f"`{name}: {{slurm: {{partition: …}}}}` (`slurm: {{}}` for a whole node of the default "
                "partition), or run without the profile to measure on this very machine"
            )
        return []

    return nothing
