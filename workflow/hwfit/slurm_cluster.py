"""Whether a cluster has what devices.yaml asks it for: said before any job is submitted.

A request that no node can ever fulfil would else wait in the queue for ever, unless the cluster refuses it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hwfit.config_errors import ConfigError, listed, nearest, shown
from hwfit.slurm_sections import Slurm

ANSWER_SECONDS = 20
# Of each partition and kind of node: partition, default or not, gres, features, cores, memory, limit. Memory
# is in the MB that a job's `mem_mb` counts in as well, of 2^20 bytes.
FORMAT = "%R|%P|%G|%f|%c|%m|%l"


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind in one partition, as sinfo lists them."""

    partition: str
    is_default: bool
    gres: tuple[str, ...]
    features: frozenset[str]
    cpus: int
    memory_mb: float
    limit_minutes: float | None


def require(devices: Mapping[str, Slurm]) -> dict[str, float]:
    """The longest time limit, in minutes, that the jobs of each device may have, where there is one.

    Nothing is known where there is no cluster, where it does not answer, and inside of a job of it. Raises
    ConfigError where the cluster has not what devices ask for.
    """
    nodes = read_nodes() if devices and "SLURM_JOB_ID" not in os.environ else []
    if not nodes:
        return {}
    problems = [problem for name, asked in devices.items() for problem in check(name, asked, nodes)]
    if problems:
        raise ConfigError(*problems)
    limits = {name: longest_minutes(candidates_of(asked, nodes)) for name, asked in devices.items()}
    return {name: limit for name, limit in limits.items() if limit is not None}


def candidates_of(asked: Slurm, nodes: Sequence[Nodes]) -> list[Nodes]:
    """The nodes of the partitions that a device names, or of the default one."""
    wanted = asked.partition.split(",") if asked.partition else []
    return [each for each in nodes if each.partition in wanted or (not wanted and each.is_default)]


def longest_minutes(nodes: Sequence[Nodes]) -> float | None:
    """The longest time limit of some nodes' partitions, in minutes; None where one has none."""
    limits = [each.limit_minutes for each in nodes]
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def read_nodes() -> list[Nodes]:
    """What sinfo tells of the nodes, those that are down or hidden too; empty where it does not answer."""
    command = ["sinfo", "--all", "--noheader", f"--format={FORMAT}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return list(parse(done.stdout.splitlines()))


def parse(lines: Iterable[str]) -> Iterator[Nodes]:
    """The lines of sinfo in `FORMAT`; others are left out."""
    for line in lines:
        parts = line.strip().split("|")
        if len(parts) != 7:
            continue
        name, marked, gres, features, cpus, memory, limit = parts
        counts = [re.match(r"\d+", text) for text in (cpus, memory)]
        if not all(counts):
            continue
        yield Nodes(
            partition=name,
            is_default=marked.endswith("*"),
            # gpu:a100:4(S:0-1),npu:8: what stands in brackets says which sockets they are at.
            gres=tuple(re.sub(r"\([^)]*\)", "", gres).split(",")) if gres != "(null)" else (),
            features=frozenset(features.split(",")) if features != "(null)" else frozenset(),
            cpus=int(counts[0][0]),  # type: ignore[index]
            memory_mb=int(counts[1][0]),  # type: ignore[index]
            limit_minutes=minutes_of(limit),
        )


def minutes_of(text: str) -> float | None:
    """A time as sinfo prints it ([days-]hours:minutes:seconds) in minutes; None: no limit."""
    days, _, clock = text.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        seconds = sum(part * 60**place for place, part in enumerate(reversed(parts)))
        return (int(days or 0) * 86_400 + seconds) / 60
    except ValueError:
        return None


def check(name: str, asked: Slurm, nodes: Sequence[Nodes]) -> Iterator[str]:
    """What a device asks for that no node of its partitions has."""
    place = f"devices.yaml: {name}.slurm"
    there = list(dict.fromkeys(each.partition for each in nodes))
    wanted = asked.partition.split(",") if asked.partition else []
    for partition in wanted:
        if partition not in there:
            said = f"{place}.partition is {shown(partition)}, which the cluster does not have"
            yield f"{said}; it has: {listed(there)}{nearest(partition, there)}"
    candidates = candidates_of(asked, nodes)
    if not candidates:
        if not wanted:
            yield f"{place} lacks `partition`, and the cluster has no default one; it has: {listed(there)}"
        return
    where = f"no node of {', '.join(wanted) or candidates[0].partition} has"
    if asked.gres:
        known = sorted({gres for each in candidates for gres in each.gres})
        if not any(covers(gres, asked.gres) for gres in known):
            said = f"{place}.gres is {shown(asked.gres)}, which {where}"
            yield f"{said}; they have: {listed(known) if known else 'none'}"
    for feature in re.findall(r"[A-Za-z0-9_.-]+", re.sub(r"\*\d+", "", asked.constraint or "")):
        known = sorted({known for each in candidates for known in each.features})
        if feature not in known:
            said = (
                f"{place}.constraint is {shown(asked.constraint)}, and {where} the feature {shown(feature)}"
            )
            yield f"{said}; they have: {listed(known) if known else 'none'}"
    cpus, memory = max(each.cpus for each in candidates), max(each.memory_mb for each in candidates)
    if asked.cpus and asked.cpus > cpus:
        yield f"{place}.cpus is {asked.cpus}, and {where} more than {cpus}"
    if asked.mem_mb and asked.mem_mb > memory:
        yield f"{place}.mem_mb is {asked.mem_mb}, and {where} more than {memory:.0f}"
    longest = longest_minutes(candidates)
    if asked.runtime_minutes and longest is not None and asked.runtime_minutes > longest:
        yield f"{place}.runtime_minutes is {asked.runtime_minutes}; the longest allowed there is {longest:g}"


def covers(there: str, asked: str) -> bool:
    """Whether what a node has of a generic resource is of the name, the type and the number asked for."""
    (name, kind, count), (wanted, wanted_kind, wanted_count) = parts_of(there), parts_of(asked)
    return name == wanted and wanted_kind in ("", kind) and count >= wanted_count


def parts_of(gres: str) -> tuple[str, str, int]:
    """Name, type and number of name[:type][:number]."""
    name, *rest = gres.split(":")
    count = int(rest.pop()) if rest and rest[-1].isdigit() else 1
    return name, rest[0] if rest else "", count
