"""From profiles on disk to rows: every combination of the plan has one, whatever happened to it."""

from __future__ import annotations

import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hwfit import costs, layout, schemas
from hwfit.break_even import with_break_even
from hwfit.cost_sections import Cost
from hwfit.device_spread import DeviceSpread, learn
from hwfit.identities import each_of, flags_of, inventory_met, with_identities
from hwfit.layout import FIRST_LOOKS, PROFILES, inventory_file
from hwfit.records import (
    COLUMNS,
    DISTURBANCE_FLAGS,
    METRICS,
    TRANSIENT_STATUSES,
    Cell,
    Profile,
    RecordError,
    codes,
    fingerprint,
    profile_path,
    read_json,
    read_profile,
    require_inventory,
)
from hwfit.roofline import judge, number_format, roofs_of, work_of
from hwfit.uncertainty import Estimate, Spread, estimate

CONFIRMATIONS = "results/confirmations"
TABLE = "reports/combinations.csv"
# What a power meter gives.
ENERGY = ("power_w", "idle_power_w", "energy_j_per_sample", "energy_net_j_per_sample", "energy_j_per_token")
# Figures of a row that are those of its rounds' mean; the others are the first round's.
AVERAGED = (
    "latency_p90_ms",
    "latency_p99_ms",
    "time_to_first_token_ms",
    "time_per_output_token_ms",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "first_call_ms",
    "load_s",
    *ENERGY,
)
# What numpy raises for a file of arrays that is missing, cut short or not one.
UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
# Those of the round with the highest peak, which they are parts of.
MEMORY = (
    "peak_memory_mb",
    "framework_memory_mb",
    "working_memory_mb",
    "peak_reserved_mb",
    "process_device_mb",
    "host_peak_memory_mb",
)
SUMMED = ("samples", "measured_s", "wall_s")


@dataclass
class Row:
    """One combination with the rounds that speak for it."""

    cell: Cell
    batch_size: int
    status: str
    reason: str = ""
    first: Profile | None = None
    rounds: list[Profile] = field(default_factory=list)
    estimate: Estimate | None = None
    directory: Path = Path()
    confirmed: bool = False
    known_durations_ms: np.ndarray | None = None

    @property
    def key(self) -> str:
        """Names the row in the recommendation and in MLflow."""
        return f"{self.cell.path}/bs{self.batch_size}"

    @property
    def valid(self) -> bool:
        return self.status == "ok" and bool(self.rounds) and all(r.valid for r in self.rounds)

    def durations_ms(self) -> np.ndarray:
        """Every timed call of the rounds, in ms; empty where the samples are not there."""
        # Limits and what would change the answer ask for them again and again.
        if self.known_durations_ms is None:
            self.known_durations_ms = self.read_durations_ms()
        return self.known_durations_ms

    def read_durations_ms(self) -> np.ndarray:
        """The same, from the files."""
        found = []
        for profile in self.rounds:
            path = profile_path(self.directory / PROFILES, self.cell, profile.round, self.batch_size)
            try:
                with np.load(path.with_suffix(".npz")) as stored:
                    found.append(stored["durations_s"] * 1e3)
            except (*UNREADABLE, KeyError):
                continue
        return np.concatenate(found) if found else np.empty(0)


def read_rows(
    plan: Mapping[str, Any],
    directory: Path | str = ".",
    first_looks_only: bool = False,
    confirming: Mapping[tuple[Cell, int], list[int]] | None = None,
) -> list[Row]:
    """The rows of a plan, from the records below a directory.

    A row speaks by its confirmation rounds alone where it has some: those are fresh and interleaved,
    while the best of many first looks is flattered by luck.

    Parameters
    ----------
    confirming : the rounds that confirm combinations so far, beside those that the files tell
    """
    directory = Path(directory)
    confirmed = {} if first_looks_only else confirmation_rounds(directory)
    confirmed |= confirming or {}
    first_rounds = range(plan["study"]["config"]["measurement"]["rounds"])
    rows = []
    for combination in plan["combinations"]:
        cell = Cell(**{name: combination[name] for name in Cell.__dataclass_fields__})
        batch_size = combination["batch_size"]
        if combination["status"]:
            rows.append(Row(cell, batch_size, combination["status"], combination["reason"]))
            continue
        looks = read_rounds(directory, cell, batch_size, first_rounds)
        rows.append(make_row(directory, cell, batch_size, looks, confirmed.get((cell, batch_size), [])))
    spreads = spread_of_devices(rows, read_inventories(plan, directory))
    for row in rows:
        if row.status == "ok":
            row.estimate = estimate_of(row, spreads[row.cell.device].moderated([paces_of(row)]))
    return rows


def fingerprint_of(rows: Iterable[Row]) -> str:
    """Changes when a record that the rows were made of does."""
    told = []
    for row in rows:
        profiles = row.rounds or ([row.first] if row.first else [])
        seen = [(each.started_at, each.fingerprints, each.metrics) for each in profiles]
        told.append((row.key, row.status, row.reason, seen))
    return fingerprint(told)


def confirmation_rounds(directory: Path) -> dict[tuple[Cell, int], list[int]]:
    """Which rounds confirm which combination, as the confirming jobs wrote it."""
    found: dict[tuple[Cell, int], list[int]] = {}
    for path in sorted((directory / CONFIRMATIONS).glob("*.json")):
        try:
            told = {
                (Cell(**entry["cell"]), entry["batch_size"]): [int(round) for round in entry["rounds"]]
                for entry in read_json(path)["contenders"]
            }
        except (RecordError, KeyError, TypeError, ValueError) as error:
            # The rounds are there, but nobody says which they are: first looks speak, and say so.
            print(f"{path}: names no confirming rounds ({error})", file=sys.stderr)
            continue
        found |= told
    return found


def read_rounds(
    directory: Path, cell: Cell, batch_size: int, rounds: Iterable[int]
) -> list[Profile | RecordError]:
    """The profiles of some rounds; where one cannot be read, why."""
    found: list[Profile | RecordError] = []
    for round in rounds:
        path = profile_path(directory / PROFILES, cell, round, batch_size)
        try:
            profile = read_profile(path)
            if (profile.cell, profile.batch_size, profile.round) != (cell, batch_size, round):
                raise RecordError(f"{path}: speaks of {profile.cell}, batch {profile.batch_size}")
            found.append(profile)
        except RecordError as error:
            found.append(error)
    return found


def make_row(
    directory: Path, cell: Cell, batch_size: int, looks: list[Profile | RecordError], confirming: list[int]
) -> Row:
    """One row from its first looks and the numbers of the rounds that confirm it."""
    readable = [look for look in looks if isinstance(look, Profile)]
    if not readable:
        return Row(cell, batch_size, "crashed", f"no record that can be read: {looks[0]}")
    failed = next((look for look in readable if look.status != "ok"), None)
    if failed:
        return Row(cell, batch_size, failed.status, failed.reason, first=failed)
    first = readable[0]
    again = [
        look
        for look in read_rounds(directory, cell, batch_size, confirming)
        if isinstance(look, Profile) and look.fingerprints.get("subject") == first.fingerprints.get("subject")
    ]
    failed = next((look for look in again if look.status != "ok"), None)
    if failed:
        reason = f"in confirming round {failed.round}: {failed.reason}"
        return Row(cell, batch_size, failed.status, reason, first=failed)
    rounds = again or readable
    # A round that was disturbed from outside is left out where others were not; one whose own times look
    # odd is not, since to leave it out would be to choose the answer.
    calm = [
        look for look in rounds if not any(flag.code in DISTURBANCE_FLAGS for flag in look.flags)
    ] or rounds
    return Row(cell, batch_size, "ok", first=first, rounds=calm, directory=directory, confirmed=bool(again))


def spread_of_devices(rows: Iterable[Row], inventories: Mapping[str, Any]) -> dict[str, DeviceSpread]:
    """The spread between processes of each device: of rows measured in several, and of the inventory's
    reference model.
    """
    groups: dict[str, list[list[float]]] = {
        device: [
            taken.get("reference_ms", [])
            for each in each_of(inventory)
            for taken in each.get("runtimes", {}).values()
        ]
        for device, inventory in inventories.items()
    }
    for row in rows:
        if row.status == "ok":
            groups.setdefault(row.cell.device, []).append(paces_of(row))
    return {device: learn([medians] for medians in found) for device, found in groups.items()}


def paces_of(row: Row) -> list[float]:
    """The pace of each round in ms, of those that have one."""
    return [pace for profile in row.rounds if (pace := profile.pace_ms)]


def estimate_of(row: Row, spread: Spread) -> Estimate | None:
    """The row's pace with both sizes of doubt; None where a round has none: no rate held in it."""
    paces = paces_of(row)
    within = [profile.details.get("median_standard_error") or 0.0 for profile in row.rounds]
    return estimate(paces, within, spread) if len(paces) == len(row.rounds) else None


def make_table(rows: Iterable[Row], plan: Mapping[str, Any], inventories: Mapping[str, Any]) -> pd.DataFrame:
    """The table a user reads, a row a combination, with the columns of `records.COLUMNS`."""
    study = plan["study"]
    tariffs, cost = tariffs_of(study), cost_of(study)
    lines = []
    for row in rows:
        line = figures_of(row, study, inventories.get(row.cell.device, {}))
        if row.status == "ok":
            line |= costs.figures(tariffs[row.cell.device], cost, line)
        lines.append(line)
    return pd.DataFrame(with_break_even(lines), columns=list(COLUMNS))


def tariffs_of(study: Mapping[str, Any]) -> dict[str, costs.Tariff | None]:
    """What having each device costs, a composite as the sum of its members; None where that is not known."""
    devices = schemas.PLANNED_DEVICES.validate_python(study["devices"])
    return {device: costs.tariff_of(devices, device) for device in devices}


def cost_of(study: Mapping[str, Any]) -> Cost:
    """The section `cost` of a study's config."""
    return Cost.model_validate(study["config"].get("cost") or {})


def figures_of(row: Row, study: Mapping[str, Any], inventory: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the table, but for what it costs."""
    cell = row.cell
    told = row.rounds or ([] if row.first is None else [row.first])
    inventory = inventory_met(told, inventory)
    line: dict[str, Any] = dict.fromkeys(COLUMNS)
    line |= {name: getattr(cell, name) for name in Cell.__dataclass_fields__}
    line |= {
        "task": study["models"][cell.model]["task"],
        "device_name": inventory.get("name"),
        "runtime_version": inventory.get("runtimes", {}).get(cell.runtime, {}).get("runtime_version"),
        "batch_size": row.batch_size,
        "site": layout.site_of(cell.device) or study["config"].get("site"),
        "status": row.status,
        "reason": row.reason,
        "valid": row.valid,
        "flags": codes([*(flag for profile in told for flag in profile.flags), *flags_of(told)]),
        "rounds": len(row.rounds),
    }
    if row.first is not None:
        line["predicted_memory_mb"] = row.first.metrics.get("predicted_memory_mb")
    if row.status != "ok" or row.first is None:
        return line
    line |= {name: row.first.metrics.get(name) for name in METRICS}
    for name in AVERAGED:
        line[name] = mean([profile.metrics.get(name) for profile in row.rounds])
    for name in SUMMED:
        line[name] = sum(profile.metrics.get(name) or 0 for profile in row.rounds)
    line |= told_by(row.first) | meter_of(row.rounds, line)
    fullest = max(row.rounds, key=lambda profile: profile.metrics.get("peak_memory_mb") or 0)
    line |= {name: fullest.metrics.get(name) for name in MEMORY}
    line["throughput_samples_per_s"] = mean([p.metrics.get("throughput_samples_per_s") for p in row.rounds])
    line |= latency_of(row)
    throughput = line["throughput_samples_per_s"]
    if throughput and row.estimate:
        # The mean that throughput is made of carries the relative doubt of the pace.
        low, high = (pace / row.estimate.median_ms for pace in row.estimate.interval())
        line["throughput_ci_low_samples_per_s"] = throughput / high
        line["throughput_ci_high_samples_per_s"] = throughput / low
    formats = row.first.details.get("operators_by_format") or {}
    line["number_format"] = number_format(formats, study["optimizations"][cell.optimization]["passes"])
    judged = judge(work_of(line), line["number_format"], roofs_of(inventory))
    if judged:
        line |= {"bound": judged.bound, "utilization": judged.share}
    return line


def told_by(profile: Profile) -> dict[str, Any]:
    """What a record tells of an optimization: how long making it took, and the formats it computes in."""
    details = profile.details
    passes, formats = (details.get(name) or {} for name in ("pass_seconds", "operators_by_format"))
    steps = details.get("artifact_steps") or []
    return {
        "pass_s": sum(passes.values()) if passes else None,
        "artifact_s": sum(step.get("seconds") or 0 for step in steps) if steps else None,
        "operator_formats": ", ".join(f"{name} {count}" for name, count in formats.items()) or None,
    }


def meter_of(rounds: Iterable[Profile], line: Mapping[str, Any]) -> dict[str, Any]:
    """Source and scope of a line's energy; where its rounds were metered in different ways all of it is
    empty.
    """
    told = [profile.details.get("energy") or {} for profile in rounds]
    meters = {(each.get("source"), each.get("scope")) for each in told}
    if len(meters) > 1:
        return dict.fromkeys((*ENERGY, "energy_source", "energy_scope"))
    source, scope = next(iter(meters)) if any(line[name] is not None for name in ENERGY) else (None, None)
    return {"energy_source": source, "energy_scope": scope}


def latency_of(row: Row) -> dict[str, float | None]:
    """The median latency with its interval.

    In the scenario server the doubt is that of the rate, and the latency at it is as its rounds had it.
    """
    names = ("latency_p50_ms", "latency_p50_ci_low_ms", "latency_p50_ci_high_ms")
    if row.cell.scenario == "server" or row.estimate is None:
        return {name: mean([profile.metrics.get(name) for profile in row.rounds]) for name in names}
    return dict(zip(names, (row.estimate.median_ms, *row.estimate.interval()), strict=True))


def mean(values: Iterable[float | None]) -> float | None:
    """The mean, or None where a value was not measured: a mean of some would pass for one of all."""
    found = list(values)
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known and len(known) == len(found) else None


def read_inventories(plan: Mapping[str, Any], directory: Path | str = ".") -> dict[str, Any]:
    """The inventory of each device of the plan; an empty one, with the reason, where it cannot be read."""
    found = {}
    used = (entry["device"] for entry in [*plan["combinations"], *plan.get("training", [])])
    for device in dict.fromkeys(used):
        try:
            data = read_json(Path(directory) / inventory_file(device))
            require_inventory(data)
            # What is read back from MLflow has no devices.
            is_class = plan["study"].get("devices", {}).get(device, {}).get("slurm") is not None
            found[device] = with_identities(data, device, Path(directory)) if is_class else data
        except RecordError as error:
            found[device] = {"device": device, "status": "unavailable", "reason": str(error)}
    return found


def forget_transient(directory: Path) -> list[Path]:
    """Remove the records of what may go away by itself, to be tried again; returns them.

    That is what is transient by its status, what was measured and cannot be trusted, the list of
    confirming rounds where one of these is among them, and what was made from it: what was read of the first
    looks, and the table.
    """
    removed = []
    patterns = (
        f"{PROFILES}/**/bs*.json",
        "results/environments/*.json",
        "results/devices/*/probe.json",
        "results/models/*/card.json",
        "results/artifacts/*/*/card.json",
    )
    for pattern in patterns:
        found = (path for path in sorted(directory.glob(pattern)) if not is_imported(path, directory))
        removed += [path for path in found if is_transient(path)]
    for path in sorted((directory / "results/data").rglob("*.npz")):
        try:
            with np.load(path) as stored:
                is_there = "unavailable" not in stored.files
        except UNREADABLE:
            is_there = False
        removed += [] if is_there else [path]
    if any(PROFILES in str(path) and "/round0/" not in str(path) for path in removed):
        confirming = sorted((directory / CONFIRMATIONS).glob("*.json"))
        removed += [path for path in confirming if not is_imported(path, directory)]
    # Snakemake does not ask for what is missing while everything made from it is there: that goes too.
    made = (directory / FIRST_LOOKS, directory / TABLE)
    removed += [path for path in made if removed and path.exists()]
    for path in removed:
        path.unlink()
    return removed


def is_imported(path: Path, directory: Path) -> bool:
    """Whether a file is of another site, where alone it can be made again."""
    return any(layout.site_of(part) for part in path.relative_to(directory).parts)


def is_transient(path: Path) -> bool:
    """Whether a record says so, cannot be read, points to a Python that is gone, or cannot be trusted."""
    try:
        record = read_json(path)
    except RecordError:
        return True
    if not isinstance(record, Mapping):
        return True
    if record.get("status", "ok") != "ok":
        return record["status"] in TRANSIENT_STATUSES
    python = record.get("python")
    if python and not Path(python).exists():
        return True
    return record.get("valid") is False or lacks_energy(record)


def lacks_energy(record: Mapping[str, Any]) -> bool:
    """Whether a record has no energy for a reason that may be gone: a sensor was mended, or made readable."""
    flags = [flag.get("code") for flag in record.get("flags") or [] if isinstance(flag, Mapping)]
    doubts = {code for code in flags if str(code).startswith("energy_")} - {"energy_no_rate"}
    return bool(doubts) and (record.get("metrics") or {}).get("energy_j_per_sample") is None
