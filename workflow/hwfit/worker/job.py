"""The job of a measuring process: a cell, a round, its batch sizes, and where its files are.

The control wing writes a job as JSON; the supervisor and the worker read it. The three fingerprints of
every profile are made here, so that the supervisor can tell without a framework what is still true.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwfit import memory_prediction
from hwfit.catalog import PASSES, generation_lengths
from hwfit.records import (
    Cell,
    Flag,
    Profile,
    RecordError,
    file_sha256,
    fingerprint,
    profile_path,
    protocol_parts,
    read_json,
    read_profile,
    require_inventory,
    weights_path,
)
from hwfit.worker import recorded
from hwfit.worker.errors import Incorrect
from hwfit.worker.node_class import CLOCK_TOLERANCE_S, clock_ahead_s, comparable
from hwfit.worker.passes import threads

# The environment variable with the commands of external meters, as JSON by device.
POWER_COMMANDS = "HWFIT_POWER_COMMANDS"
# The fingerprint of a job that asks for no energy: to it, a profile that has some is as good.
NO_ENERGY = "none"
# What a runtime loads may be several files, if its name ends so.
SPLIT_FORMATS = (".onnx", ".xml")
# What of a composite's members, beside their environments, is part of where it was measured.
MEMBER_CONTEXT = ("device", "runtime", "threads", "memory_limit_mb", "parallel")


@dataclass(frozen=True)
class Job:
    """A cell in one round, with what its fingerprints are made of.

    `energy` says how energy is metered: "seconds" (0: not at all), and of an external meter "command",
    "scope" and "interval_s". It is in a fingerprint of its own (`energy_fingerprint`).

    `limits_ms`, a latency by its percentile ("0.9"), is no part of them: sampling goes on until it can
    tell whether they are met, and figures that were sampled for other limits stay true. It is one in the
    scenario server, whose figure is the highest rate that keeps them.

    `device_class`, of a device that stands for a class of nodes, has "directory", where the identities that
    its jobs meet are kept, and "environments", the environment file of each of its runtimes.

    `members`, of a composite device, have each a "device", "runtime", "source", "accelerator", "index",
    "threads", "memory_limit_mb", "weights_directory", "environment_file", "probe_file" and perhaps "cores";
    the job's own environment and weights are then the first member's.
    """

    cell: Cell
    round: int
    task: str
    source: Mapping[str, Any]
    passes: tuple[Mapping[str, Any], ...]
    batch_sizes: tuple[int, ...]
    excluded: Mapping[str, str]
    accelerator: str
    index: int
    threads: int | None
    memory_limit_mb: float | None
    measurement: Mapping[str, Any]
    limits_ms: Mapping[str, float]
    profiles: Path
    model_directory: Path
    weights_directory: Path
    environment_file: Path
    probe_file: Path
    cores: tuple[int, ...] = ()
    members: tuple[Mapping[str, Any], ...] = ()
    energy: Mapping[str, Any] = field(default_factory=dict)
    inventory_file: Path | None = None
    device_class: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Job:
        """Read what `to_dict` of the plan wrote."""
        paths = ("profiles", "model_directory", "weights_directory", "environment_file", "probe_file")
        return cls(
            **{"limits_ms": {}}
            | dict(data)
            | {"cell": Cell(**data["cell"])}
            | {name: tuple(data.get(name) or ()) for name in ("passes", "cores", "members")}
            | {"batch_sizes": tuple(sorted(data["batch_sizes"]))}
            | {name: Path(data[name]) for name in paths}
            | {"inventory_file": Path(data["inventory_file"]) if data.get("inventory_file") else None}
        )

    @property
    def weights_files(self) -> list[Path]:
        """What the runtime loads, or each of the members'."""
        if not self.members:
            return [weights_path(self.weights_directory, self.cell.runtime)]
        return [weights_path(Path(m["weights_directory"]), m["runtime"]) for m in self.members]

    @property
    def stored_files(self) -> list[Path]:
        """What the model takes on disk: these, or what an artifact's card names in their place."""
        found: list[Path] = []
        for path in self.weights_files:
            found += [path.parent / name for name in read_card(path.parent).get("files", [path.name])]
        return found

    @property
    def weights_directories(self) -> list[Path]:
        """Where these lie."""
        return [file.parent for file in self.weights_files]

    @property
    def environment_files(self) -> list[Path]:
        """What is known of the environment, or of each of the members'."""
        return [Path(m["environment_file"]) for m in self.members] or [self.environment_file]

    @property
    def compute_threads(self) -> int | None:
        """The threads to compute with, where it is said."""
        return threads.taken_from(self.passes, self.threads)[1]

    @property
    def keeps_outputs(self) -> bool:
        """Whether the passes leave the outputs as they are, so that a difference is a fault."""
        return all(PASSES[step["pass"]].keeps_outputs for step in self.passes)

    @property
    def searched_limits(self) -> Mapping[str, float] | None:
        """The limits, where what is measured depends on them."""
        return dict(self.limits_ms) if self.cell.scenario == "server" else None

    @property
    def lengths(self) -> tuple[int, int] | None:
        """Tokens of a prompt and of what is written to it; None where the model is no language model."""
        return generation_lengths(self.cell.scenario)

    @property
    def inventory(self) -> Mapping[str, Any]:
        """What the device's inventory found; nothing where there is none that can be read."""
        try:
            found = read_json(self.inventory_file) if self.inventory_file else {}
            require_inventory(found)
        except RecordError:
            return {}
        return found

    def predicted_memory_mb(self, batch_size: int) -> float | None:
        """The peak that a batch size will have; None where that cannot be told, and of composites."""
        files = self.stored_files if self.weights_files[0].suffix in SPLIT_FORMATS else self.weights_files
        if self.members or not all(path.exists() for path in files):
            return None
        return memory_prediction.predicted_memory_mb(
            read_card(self.model_directory) | known_activations(read_card(self.weights_directory)),
            self.inventory.get("runtimes", {}).get(self.cell.runtime, {}).get("memory"),
            sum(path.stat().st_size for path in files),
            self.passes,
            batch_size,
            self.lengths,
            is_fused=self.cell.runtime != "torch",
        )

    def memory_shortage(self, predicted_mb: float | None) -> str | None:
        """What is said where more memory is predicted than there is; else None."""
        if predicted_mb is None:
            return None
        inventory = self.inventory
        memory = inventory.get("runtimes", {}).get(self.cell.runtime, {}).get("memory") or {}
        needed = predicted_mb + (memory.get("context_mb") or 0.0)
        device_mb = inventory.get("memory_mb")
        limit = memory_prediction.memory_limit_mb(self.accelerator, self.memory_limit_mb, device_mb)
        return memory_prediction.shortage(needed, limit)

    def path(self, batch_size: int) -> Path:
        """Where the profile of a batch size lies."""
        return profile_path(self.profiles, self.cell, self.round, batch_size)

    def profile(self, batch_size: int, status: str, reason: str = "", **more: Any) -> Profile:
        """A profile of this job, with its fingerprints, and what was said of its memory beforehand."""
        cell = self.cell
        predicted = self.predicted_memory_mb(batch_size)
        short = self.memory_shortage(predicted)
        more["metrics"] = {"predicted_memory_mb": predicted} | more.get("metrics", {})
        if short:
            more["flags"] = [*more.get("flags", []), Flag("memory_short", short, predicted)]
        ahead_s = clock_ahead_s(self.profiles) if self.device_class else 0.0
        if abs(ahead_s) > CLOCK_TOLERANCE_S:
            way = "ahead of" if ahead_s > 0 else "behind"
            said = f"the node's clock is {abs(ahead_s):.0f} s {way} the storage's"
            more["flags"] = [*more.get("flags", []), Flag("clock_differs", said, ahead_s)]
        more["flags"] = [*more.get("flags", []), *recorded.flags()]
        if status == "oom" and predicted is not None:
            reason += f" ({short or f'predicted to take {predicted:,.0f} MB of memory'})"
        return Profile(
            cell.model,
            cell.device,
            cell.runtime,
            cell.optimization,
            cell.scenario,
            batch_size,
            self.round,
            status,
            reason,
            fingerprints=self.fingerprints(batch_size),
            **more,
        )

    def fingerprints(self, batch_size: int) -> dict[str, str]:
        """What was measured, how, and where."""
        card = read_card(self.model_directory)
        sums = [read_card(directory).get("weights_sha256") for directory in self.weights_directories]
        subject: tuple[Any, ...] = (
            [member["source"] for member in self.members] or self.source,
            self.task,
            card.get("evaluation_sha256"),
            sums if self.members else sums[0],
            card.get("code_sha256"),
            self.passes,
            batch_size,
            self.excluded.get(str(batch_size)),
        )
        if constants := {e["name"]: e["value"] for e in card.get("inputs", ()) if "value" in e}:
            subject = (*subject, constants)
        # How long to wait for a worker, and how often to try again, change no figure.
        settings = {k: v for k, v in self.measurement.items() if k not in ("timeout_seconds", "repeats")}
        how = protocol_parts(settings, self.cell.scenario, self.searched_limits)
        return {
            "subject": fingerprint(*subject),
            "protocol": fingerprint(*how),
            "context": fingerprint(comparable(self.context()) if self.device_class else self.context()),
        } | self.energy_fingerprint()

    def energy_fingerprint(self) -> dict[str, str]:
        """By which meter: nothing of those that hwfit finds by itself, so that a profile without energy of a
        machine without sensors stays true. How long it was metered is no part of it: a figure stays one.
        """
        if not self.energy.get("seconds"):
            return {"energy": NO_ENERGY}
        meter = {key: self.energy[key] for key in ("command", "scope", "interval_s") if key in self.energy}
        return {"energy": fingerprint(meter)} if meter else {}

    def context(self) -> dict[str, Any]:
        """Where the measurement takes place, as far as it is known before a framework is loaded."""
        probe = read_json(self.probe_file)
        environments = [
            {key: found.get(key) for key in ("name", "status", "python_version", "packages")}
            for found in map(read_json, self.environment_files)
        ]
        return {
            "device": {key: probe.get(key) for key in ("status", "name", "identity", "driver", "memory_mb")},
            "environment": environments[0],
            "threads": self.threads,
            "memory_limit_mb": self.memory_limit_mb,
            **recorded.context(),
        } | (
            {
                "members": [
                    {"environment": environment} | {key: member.get(key) for key in MEMBER_CONTEXT}
                    for member, environment in zip(self.members, environments, strict=True)
                ]
            }
            if self.members
            else {}
        )

    def still_true(self, batch_size: int) -> Profile | None:
        """The profile on disk, if it was made from the same subject, protocol and context, with the same
        meter where energy is asked for.
        """
        try:
            profile = read_profile(self.path(batch_size))
        except RecordError:
            return None
        wanted = self.fingerprints(batch_size)
        found = profile.fingerprints
        if not self.has_samples(profile):
            return None
        if wanted.get("energy") == NO_ENERGY:
            found = found | {"energy": NO_ENERGY}
        return profile if found == wanted else None

    def has_samples(self, profile: Profile) -> bool:
        """Whether the samples beside a profile are still those that were written with it."""
        digest = profile.details.get("samples_sha256")
        samples = self.path(profile.batch_size).with_suffix(".npz")
        return digest is None or (samples.exists() and file_sha256(samples) == digest)


def with_power_command(energy: Mapping[str, Any], device: str) -> dict[str, Any]:
    """How energy is metered, with the command of an external meter, for which a job has a digest alone: it
    comes by the environment, since what is on a command line everybody sees, and Snakemake keeps it.
    """
    command = json.loads(os.environ.get(POWER_COMMANDS, "{}")).get(device)
    return dict(energy) | ({"command": command} if command and energy.get("command") else {})


def known_activations(card: Mapping[str, Any]) -> dict[str, Any]:
    """What an artifact's card knows of activations, where passes have changed them."""
    return {name: card[name] for name in memory_prediction.ACTIVATIONS.values() if card.get(name) is not None}


def require_intact(directory: Path) -> None:
    """Raises Incorrect where a file of a checkpoint or an artifact is no longer what was made.

    A flipped bit in a weight loads as well as the right one, and would be measured as another network.
    """
    for name, digest in read_card(directory).get("sha256", {}).items():
        path = directory / name
        found = file_sha256(path) if path.exists() else None
        if found != digest:
            what = "is not there" if found is None else "has another checksum than when it was made"
            raise Incorrect(f"{path} {what}: delete {directory / 'card.json'}, and run again to make it anew")


def read_card(directory: Path) -> dict[str, Any]:
    """A model's or an artifact's card; an empty one, with its reason, where it cannot be read."""
    try:
        return read_json(directory / "card.json")
    except RecordError as error:
        return {"status": "crashed", "reason": str(error)}
