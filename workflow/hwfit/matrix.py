"""From a study to combinations, cells and jobs: pure logic on plain data, no files and no framework.

What can be told from the config alone is told here: a combination that is excluded, that lacks a
source, or whose optimization does not work in its runtime is a row with its reason, and starts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from hwfit.catalog import COMPOSITE, PASSES, RUNTIMES
from hwfit.composites import members_of
from hwfit.config import Exclusion, Matrix, Study
from hwfit.config_errors import mask_credentials
from hwfit.device_sections import Composite, Device
from hwfit.input_sections import data_kind
from hwfit.layout import (
    CHECKPOINT,
    PROFILES,
    RESULTS,
    artifact_name,
    checkpoint_directory,
    environment_file,
    identities_directory,
    inventory_file,
    model_directory,
    probe_file,
    weights_directory,
)
from hwfit.records import Cell, fingerprint, profile_path
from hwfit.training.runs import PlannedRun, planned_runs

NOT_IN_MATRIX = "not in the matrix"
# How a message names the networks of a task.
NETWORKS = {
    "classification": "classifiers",
    "embedding": "encoders of texts",
    "features": "networks without classes",
    "generation": "language models",
}
# What stands for a command, see `masked_command`.
MASKED = "sha256:"
# How often a command that prints watts once is called, where the device does not say.
POWER_INTERVAL_S = 1.0
# Prepares checkpoints where no CPU of the matrix brings an environment with the runtime.
FALLBACK_PREPARE_ENVIRONMENT = "{}-cpu"


@dataclass(frozen=True)
class Combination:
    """One row of the result; `status` and `reason` are set where it will not be measured."""

    cell: Cell
    batch_size: int
    status: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self.cell) | {
            "batch_size": self.batch_size,
            "status": self.status,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Plan:
    """A study expanded: its combinations, and what has to be made and measured for them."""

    study: Study

    @cached_property
    def combinations(self) -> list[Combination]:
        """Every combination of the matrices' union, in the order of the config, once each."""
        found: dict[tuple[Cell, int], Combination] = {}
        for matrix in self.study.config.matrices:
            for cell in self._cells_of(matrix):
                obstacle = self.obstacle(cell)
                for batch_size in matrix.batch_sizes:
                    combination = Combination(cell, batch_size, *(obstacle or ("", "")))
                    if is_excluded(cell, batch_size, matrix.exclude):
                        combination = Combination(cell, batch_size, "skipped", "excluded")
                    known = found.get((cell, batch_size))
                    # Excluded from one matrix and asked for in another: asked for.
                    if known is None or known.reason == "excluded":
                        found[cell, batch_size] = combination
        return list(found.values())

    def _cells_of(self, matrix: Matrix) -> Iterable[Cell]:
        for model in matrix.models:
            for device in matrix.devices:
                for runtime in matrix.runtimes or self.study.devices[device].runtimes:
                    for optimization in matrix.optimizations:
                        for scenario in self.scenarios_of(model):
                            yield Cell(model, device, runtime, optimization, scenario)

    def scenarios_of(self, model: str) -> list[str]:
        """The scenarios that a model is measured in: those of generation for a language model."""
        measurement = self.study.config.measurement
        if self.study.models[model].task == "generation":
            return [lengths.scenario for lengths in measurement.generation]
        return list(measurement.scenarios)

    def obstacle(self, cell: Cell) -> tuple[str, str] | None:
        """The status and the reason for which a cell cannot be measured, as far as the config tells."""
        for member in self.member_cells(cell):
            if found := self.obstacle(member):
                return found[0], f"member {member.device}: {found[1]}"
        device = self.study.devices[cell.device]
        if not isinstance(device, Device):
            if self.study.models[cell.model].task == "generation":
                return "unsupported", "the requests of a language model are not split over devices"
            return None
        if cell.runtime not in device.runtimes:
            return "unsupported", f"devices.yaml lists no {cell.runtime} for {cell.device}"
        if device.accelerator not in RUNTIMES[cell.runtime].accelerators:
            return "unsupported", f"{cell.runtime} does not run on {device.accelerator}"
        if cell.runtime not in self.study.models[cell.model].sources:
            return "unsupported", f"models.yaml names no {cell.runtime} source for {cell.model}"
        for step in self.study.optimizations[cell.optimization].passes:
            if reason := self.misfit(step.name, cell, device.accelerator):
                return "unsupported", reason
        return None

    def misfit(self, name: str, cell: Cell, accelerator: str) -> str | None:
        """Why a pass does not work in a cell, as far as its declaration tells."""
        declared, model = PASSES[name], self.study.models[cell.model]
        if cell.runtime not in declared.runtimes:
            return f"{name} works in {', '.join(declared.runtimes)}, not in {cell.runtime}"
        if accelerator not in declared.accelerators:
            why = f": {declared.elsewhere}" if declared.elsewhere else ""
            return f"{name} works on {', '.join(declared.accelerators)}, not on {accelerator}{why}"
        if model.task not in declared.tasks:
            return f"{name} does not act on {NETWORKS[model.task]}"
        source = model.sources[cell.runtime]
        own = "an ONNX file" if source.onnx else source.callable and f"a callable in {cell.runtime}"
        if declared.kind == "artifact" and own and cell.runtime != "torch":
            return f"{name} rewrites the checkpoint; {own} has its own weights"
        return None

    def member_cells(self, cell: Cell) -> list[Cell]:
        """A composite's cell as each of its members runs it; none for a device with a chip of its own."""
        members = members_of(self.study.devices, cell.device)
        return [replace(cell, device=device, runtime=runtime) for device, runtime in members]

    @cached_property
    def batch_sizes(self) -> dict[Cell, dict[int, str]]:
        """For each cell that has something to measure: its batch sizes, with the reason where one is not."""
        sizes: dict[Cell, dict[int, str]] = {}
        for combination in self.combinations:
            sizes.setdefault(combination.cell, {})[combination.batch_size] = combination.reason
        return {cell: found for cell, found in sizes.items() if not all(found.values())}

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells that have something to measure."""
        return list(self.batch_sizes)

    @cached_property
    def targets(self) -> list[tuple[str, str]]:
        """The (device, runtime) pairs that have something to measure; each is one measuring rule."""
        return sorted({(cell.device, cell.runtime) for cell in self.cells})

    @cached_property
    def devices(self) -> list[str]:
        """The devices that have something to measure."""
        return sorted({cell.device for cell in self.cells})

    @cached_property
    def training(self) -> list[PlannedRun]:
        """Every run of training, in the order of the config."""
        return planned_runs(self.study)

    @cached_property
    def training_targets(self) -> list[tuple[str, str]]:
        """The (device, runtime) pairs that have something to train; each is one rule."""
        return sorted({(each.run.device, each.run.runtime) for each in self.training if not each.status})

    @cached_property
    def described_devices(self) -> list[str]:
        """The devices that have something to measure or to train."""
        return sorted({*self.devices, *(device for device, _ in self.training_targets)})

    @cached_property
    def composites(self) -> dict[str, list[tuple[str, str]]]:
        """Of these devices the composites, with their members as (device, runtime)."""
        members = {device: members_of(self.study.devices, device) for device in self.devices}
        return {device: found for device, found in members.items() if found}

    @cached_property
    def hardware(self) -> dict[str, Device]:
        """The devices with a chip of their own that are used, or are members of what is measured."""
        members = {device for found in self.composites.values() for device, _ in found}
        names = sorted((set(self.described_devices) - set(self.composites)) | members)
        return {name: device for name in names if isinstance(device := self.study.devices[name], Device)}

    @cached_property
    def models(self) -> list[str]:
        """The models that have something to measure."""
        return sorted({cell.model for cell in self.cells})

    @cached_property
    def rectangles(self) -> dict[tuple[str, str], list[int]]:
        """All batch sizes of any cell of each (device, runtime): a rule's outputs are fixed."""
        sizes: dict[tuple[str, str], set[int]] = {}
        for cell, found in self.batch_sizes.items():
            sizes.setdefault((cell.device, cell.runtime), set()).update(found)
        return {target: sorted(found) for target, found in sizes.items()}

    def environment(self, device: str, runtime: str) -> str:
        """The name of the environment in which a runtime drives a device: of a composite, its first member's.

        What hands out a composite's batches needs no framework; each member has an environment of its own.
        """
        first, *_ = [*members_of(self.study.devices, device), (device, runtime)]
        return self.study.devices[first[0]].runtimes[first[1]]

    def environment_files(self, device: str, runtime: str) -> list[str]:
        """What is known of the environments that a target needs: one, or one a member."""
        used = members_of(self.study.devices, device) or [(device, runtime)]
        return list(dict.fromkeys(environment_file(self.environment(*each)) for each in used))

    def prepare_environment(self, model: str) -> str:
        """The environment that makes a model's checkpoint and reference: a CPU's, since an accelerator may
        be absent, and of the runtime that can.
        """
        return self.cpu_environment(self.prepare_runtime(model))

    def cpu_environment(self, wanted: str) -> str:
        """The environment of a runtime on a CPU of the matrix, or by hwfit's own name for it."""
        candidates = [
            environment
            for device in self.hardware.values()
            for runtime, environment in device.runtimes.items()
            if runtime == wanted and device.accelerator == "cpu"
        ]
        return min(candidates, default=FALLBACK_PREPARE_ENVIRONMENT.format(wanted))

    def prepare_runtime(self, model: str) -> str:
        """Torch where the model has it, whose weights the others load; ONNX Runtime for ONNX files; else the
        first runtime that a callable is for.
        """
        told = self.study.models[model]
        needs_tokenizer = data_kind(told.data) == "text"
        if all(source.onnx for source in told.sources.values()) and not needs_tokenizer:
            return "onnxruntime"
        if "torch" in told.sources or not all(source.callable for source in told.sources.values()):
            return "torch"
        return next(iter(told.sources))

    @cached_property
    def environments(self) -> dict[str, list[str]]:
        """Every environment that is wanted, with the devices that use it; none: wanted whatever there is."""
        users: dict[str, set[str]] = {}
        for device in self.hardware:
            for runtime in self.runtimes_of(device):
                users.setdefault(self.environment(device, runtime), set()).add(device)
        for model in self.models:
            users.setdefault(self.prepare_environment(model), set())
        for cell in self.cells:
            for member in self.member_cells(cell) or [cell]:
                if self.file_passes(member.optimization):
                    users.setdefault(self.cpu_environment(member.runtime), set())
        return {name: sorted(devices) for name, devices in sorted(users.items())}

    def runtimes_of(self, device: str) -> list[str]:
        """The runtimes that are used on a device, by itself or as a member."""
        targets = (*self.targets, *self.training_targets)
        alone = {runtime for name, runtime in targets if name == device}
        members = (member for found in self.composites.values() for member in found)
        return sorted(alone | {runtime for name, runtime in members if name == device})

    def session_passes(self, optimization: str) -> list[dict[str, Any]]:
        """The passes that the worker applies, as plain data."""
        return self._passes(optimization, "session")

    def artifact_passes(self, optimization: str) -> list[dict[str, Any]]:
        """The passes that make a checkpoint, as plain data."""
        return self._passes(optimization, "artifact")

    def file_passes(self, optimization: str) -> list[dict[str, Any]]:
        """The passes that make the file of a runtime, as plain data."""
        return self._passes(optimization, "file")

    def _passes(self, optimization: str, kind: str) -> list[dict[str, Any]]:
        return self._steps[optimization].get(kind, [])

    @cached_property
    def _steps(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """The passes of each optimization, by their kind: a sweep asks for them once a cell and more."""
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for name, optimization in self.study.optimizations.items():
            for step in optimization.passes:
                of_kind = found.setdefault(name, {}).setdefault(PASSES[step.name].kind, [])
                of_kind.append(step.model_dump(mode="json", by_alias=True))
        return {name: found.get(name, {}) for name in self.study.optimizations}

    def artifact(self, optimization: str) -> str:
        """The name of what an optimization's artifact passes make; empty where it has none."""
        return self._artifact_names[optimization]

    @cached_property
    def _artifact_names(self) -> dict[str, str]:
        return {name: artifact_name(self.artifact_passes(name)) for name in self.study.optimizations}

    @cached_property
    def artifacts(self) -> dict[str, list[dict[str, Any]]]:
        """The artifacts of the study by name, with the passes that make them."""
        named = {self.artifact(name): self.artifact_passes(name) for name in self.study.optimizations}
        return {name: passes for name, passes in named.items() if name}

    @cached_property
    def files(self) -> dict[str, tuple[str, list[dict[str, Any]]]]:
        """What file passes make, by name: the artifact that they begin with, and the passes."""
        found = {}
        for name in self.study.optimizations:
            if passes := self.file_passes(name):
                found[artifact_name([*self.artifact_passes(name), *passes])] = (self.artifact(name), passes)
        return found

    def weights_directory(self, cell: Cell) -> str:
        """Where the weights that a cell runs lie; of a composite's, those of its first member."""
        first, *_ = [*self.member_cells(cell), cell]
        if passes := self.file_passes(first.optimization):
            made = artifact_name([*self.artifact_passes(first.optimization), *passes])
            return f"{RESULTS}/files/{first.runtime}/{first.model}/{made}"
        return weights_directory(first.model, self.artifact(first.optimization), first.runtime)

    @cached_property
    def subject_cards(self) -> list[str]:
        """The cards that say what is measured: of the models, and of what artifact passes make of them."""
        places = (
            checkpoint_directory(each.model, artifact)
            for cell in self.cells
            for each in self.member_cells(cell) or [cell]
            for artifact in ("", self.artifact(each.optimization))
        )
        return [f"{place}/card.json" for place in dict.fromkeys(places)]

    def job(self, cell: Cell, round: int, batch_sizes: Iterable[int] | None = None) -> dict[str, Any]:
        """What a supervisor needs to measure a cell once (see `hwfit.worker.job`).

        Without `batch_sizes` it is the first look: all of the target's, those that this cell lacks marked.
        """
        model = self.study.models[cell.model]
        members = self.member_cells(cell)
        measurement = self.study.config.measurement
        sizes = self.rectangles[cell.device, cell.runtime] if batch_sizes is None else sorted(batch_sizes)
        reasons = {size: self.batch_sizes[cell].get(size, NOT_IN_MATRIX) for size in sizes}
        is_server = cell.scenario == "server"
        return {
            "cell": asdict(cell),
            "round": round,
            "task": model.task,
            "passes": self.session_passes(cell.optimization),
            "batch_sizes": sizes,
            "excluded": {str(size): reason for size, reason in reasons.items() if reason},
            "measurement": measurement.model_dump(
                mode="json",
                include={"relative_ci", "min_seconds", "max_seconds", "timeout_seconds", "repeats"}
                | ({"server_seconds"} if is_server else set()),
            ),
            "energy": self.energy_of(cell.device),
            "profiles": PROFILES,
            "model_directory": model_directory(cell.model),
            **(self.composite_of(members, cell.device) if members else self.place_of(cell)),
            "weights_directory": self.weights_directory(cell),
            "environment_file": environment_file(self.environment(cell.device, cell.runtime)),
            "probe_file": probe_file(cell.device),
            "inventory_file": inventory_file(cell.device),
            **self.class_of(cell.device),
        } | ({"limits_ms": self.latency_limits()[cell.model]} if is_server else {})

    def place_of(self, cell: Cell) -> dict[str, Any]:
        """The part of a job that says where a cell is run, and from which source."""
        device = self.hardware[cell.device]
        # Not every runtime counts the cores that it is kept on.
        threads = device.threads or (len(device.cores) if device.cores else None)
        return {
            "source": self.study.models[cell.model]
            .sources[cell.runtime]
            .model_dump(mode="json", exclude_none=True),
            "accelerator": device.accelerator,
            "index": device.index,
            "threads": threads,
            "memory_limit_mb": device.memory_limit_mb,
        } | ({"cores": device.cores} if device.cores else {})

    def class_of(self, name: str) -> dict[str, Any]:
        """The part of a job that says that its device is a class of nodes, of which it meets one."""
        device = self.study.devices[name]
        if not isinstance(device, Device) or device.slurm is None:
            return {}
        environments = {
            runtime: environment_file(self.environment(name, runtime)) for runtime in self.runtimes_of(name)
        }
        return {"device_class": {"directory": identities_directory(name), "environments": environments}}

    def energy_of(self, name: str) -> dict[str, Any]:
        """The part of a job that says how the energy of a device is metered."""
        device = self.study.devices[name]
        asked: dict[str, Any] = {"seconds": self.study.config.measurement.energy_seconds}
        if not device.power_command:
            return asked
        external = {"command": masked_command(device.power_command), "scope": device.power_scope}
        return asked | external | {"interval_s": device.power_interval_s or POWER_INTERVAL_S}

    def composite_of(self, members: Iterable[Cell], device: str = "") -> dict[str, Any]:
        """The same of a composite: nothing of its own, and each member's."""
        composite = self.study.devices.get(device)
        parallel = composite.parallel if isinstance(composite, Composite) else None
        return {
            "source": {},
            "accelerator": COMPOSITE,
            "index": 0,
            "threads": None,
            "memory_limit_mb": None,
            "members": [
                {
                    "device": member.device,
                    "runtime": member.runtime,
                    "weights_directory": self.weights_directory(member),
                    "environment_file": environment_file(self.environment(member.device, member.runtime)),
                    "probe_file": probe_file(member.device),
                }
                | self.place_of(member)
                | ({"parallel": parallel} if parallel else {})
                for member in members
            ],
        }

    def latency_limits(self) -> dict[str, dict[str, float]]:
        """The limits on percentiles of each model's latency: ms by percentile."""
        config = self.study.config
        return {name: config.decision.percentile_limits_of(name) for name in config.model_names}

    def priority(self, cell: Cell, round: int) -> float:
        """Cells in an order that is random and the same each time, round after round.

        What drifts over a sweep (heat, neighbours) then falls on no model or runtime in particular.
        """
        place = int(fingerprint("order", round, asdict(cell))[:8], 16) / 16**8
        return -round - place

    def first_looks(self) -> list[str]:
        """The profiles of every cell's first rounds."""
        return [
            str(profile_path(PROFILES, cell, round, batch_size))
            for cell in self.cells
            for round in range(self.study.config.measurement.rounds)
            for batch_size in self.rectangles[cell.device, cell.runtime]
        ]

    def public_study(self) -> str:
        """The study as JSON, without the credentials that a tracking URI or a command may hold, and without
        what concerns the report alone: a page in another language is no other plan.
        """
        data = self.study.model_dump(mode="json", by_alias=True)
        del data["config"]["report"]
        data["config"]["tracking"]["uri"] = mask_credentials(data["config"]["tracking"]["uri"])
        for device in data["devices"].values():
            if device.get("power_command"):
                device["power_command"] = masked_command(device["power_command"])
        return json.dumps(data)

    def to_dict(self) -> dict[str, Any]:
        """The plan as `results/plan.json` holds it."""
        return {
            "study": json.loads(self.public_study()),
            "combinations": [combination.to_dict() for combination in self.combinations],
            "training": [planned.to_dict() for planned in self.training],
        }

    # What Snakemake asks of a target's rule: functions of the wildcards.

    def model(self, name: str) -> str:
        """A model of models.yaml as JSON."""
        return self.study.models[name].model_dump_json(exclude_none=True)

    def own_data(self, name: str) -> str:
        """What a user's files are made into arrays by, as JSON."""
        model = self.study.models[name]
        told = model.model_dump(mode="json", exclude_none=True, include={"data", "image", "text", "samples"})
        is_zoo = any(source.zoo for source in model.sources.values())
        return json.dumps(told | {"is_zoo": is_zoo}, sort_keys=True)

    def exported_card(self, model: str, artifact: str) -> str:
        """The card of the checkpoint that an ONNX file is made of."""
        return f"{checkpoint_directory(model, '' if artifact == CHECKPOINT else artifact)}/card.json"

    def file_start(self, runtime: str, model: str, file: str) -> str:
        """The card of the weights that file passes begin with."""
        return f"{weights_directory(model, self.files[file][0], runtime)}/card.json"

    def onnx_files(self, model: str) -> list[str]:
        """The ONNX files that a model's sources name."""
        return sorted({source.onnx for source in self.study.models[model].sources.values() if source.onnx})

    def weights_cards(self, device: str, runtime: str) -> Callable[[Any], list[str]]:
        """The cards of the checkpoints that a target's cell runs: one, or one a member."""

        def cards(wildcards: Any) -> list[str]:
            cell = cell_of(device, runtime, wildcards)
            directories = (self.weights_directory(each) for each in self.member_cells(cell) or [cell])
            return [f"{directory}/card.json" for directory in dict.fromkeys(directories)]

        return cards

    def job_of(self, device: str, runtime: str) -> Callable[[Any], str]:
        """The job of a target's cell, as JSON."""
        return lambda wildcards: json.dumps(
            self.job(cell_of(device, runtime, wildcards), int(wildcards.round)), sort_keys=True
        )

    def priority_of(self, device: str, runtime: str) -> Callable[[Any], float]:
        """The priority of a target's cell."""
        return lambda wildcards: self.priority(cell_of(device, runtime, wildcards), int(wildcards.round))


def power_commands(study: Study) -> dict[str, str]:
    """The command of each device that has an external meter. They go to jobs by the environment: a command
    line, Snakemake's metadata and the plan are kept, and a command may hold a password.
    """
    named = {name: device.power_command for name, device in study.devices.items()}
    return {name: command for name, command in named.items() if command}


def masked_command(command: str) -> str:
    """What stands for a command in what is kept: a digest, so that another command is another job."""
    return command if command.startswith(MASKED) else MASKED + fingerprint(command)


def cell_of(device: str, runtime: str, wildcards: Any) -> Cell:
    """The cell of a target that wildcards name."""
    return Cell(wildcards.model, device, runtime, wildcards.optimization, wildcards.scenario)


def is_excluded(cell: Cell, batch_size: int, exclusions: Sequence[Exclusion]) -> bool:
    """Whether some exclusion matches in every key it gives."""
    if not exclusions:
        return False
    actual = asdict(cell) | {"batch_size": batch_size}
    return any(
        all(actual[key] == value for key, value in exclusion.model_dump(exclude_none=True).items())
        for exclusion in exclusions
    )
