"""The schemas of every file that passes between the wings, and of the table a user reads.

Standard library only. Records are JSON, written atomically, without NaN or infinity: a value that
was not measured is null, and an empty cell in the table, never 0.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hwfit.catalog import weights_file

SCHEMA_VERSION = 1
# The last entry of a record: the SHA-256 of its text before that.
SEAL = "seal"
_SEAL_BEGINS, _SEAL_ENDS, _DIGITS = f',\n "{SEAL}": "'.encode(), b'"\n}\n', 64

STATUSES = (
    "ok",
    "oom",
    "unsupported",
    "incorrect",
    "timeout",
    "crashed",
    "unavailable",
    "skipped",
)
# What may go away by itself: tried again when the probe changes, or on request.
TRANSIENT_STATUSES = ("timeout", "crashed", "unavailable")

# Raised when what a figure of a profile means changes: every combination is then measured again.
PROTOCOL_VERSION = 5

# What makes a measurement untrustworthy; every other flag informs.
TRUST_BREAKING_FLAGS = ("unsteady", "drift", "foreign_load", "throttled", "machine_changed")

# Of these, what happened around the timed calls and never looks at their times: to measure again, or to
# leave out a round, on such grounds does not choose the answer.
DISTURBANCE_FLAGS = ("foreign_load", "throttled", "machine_changed")

# What is not said where nothing else is meant.
DEFAULT_SCENARIO = "single_stream"

VERDICTS = ("chosen", "tied", "dominated", "rejected", "unproven", "not_measured")

# reports/combinations.csv, in order: the name, what it is.
COLUMNS: dict[str, str] = {
    "model": "name in models.yaml",
    "task": "what the model's outputs mean",
    "device": "name in devices.yaml",
    "device_name": "what the device calls itself",
    "runtime": "software that ran the model",
    "runtime_version": "its version",
    "optimization": "name in optimizations.yaml",
    "scenario": "how requests arrive",
    "batch_size": "samples a call",
    "site": "where it was measured: `site` of the config there",
    "status": "one of: " + ", ".join(STATUSES),
    "reason": "why this status, or why this verdict",
    "valid": "false when the measurement cannot be trusted",
    "flags": "codes, separated by spaces",
    "verdict": "one of: " + ", ".join(VERDICTS),
    "rounds": "fresh processes that measured this row",
    "latency_p50_ms": "median time of a call; offline: between two; server: from arrival to answer",
    "latency_p50_ci_low_ms": "lower end of the median's 95% interval",
    "latency_p50_ci_high_ms": "upper end of the median's 95% interval",
    "latency_p90_ms": "90th percentile; empty when too few samples prove it",
    "latency_p99_ms": "99th percentile; empty when too few samples prove it",
    "time_to_first_token_ms": "language models: median time until the first token, prompts read",
    "time_per_output_token_ms": "median over requests of the mean time of each further token",
    "prefill_tokens_per_s": "prompt tokens of the batch over the time to the first token",
    "decode_tokens_per_s": "batch size over the time of each further token",
    "throughput_samples_per_s": "batch size over mean time of a call; server: the highest rate that holds",
    "throughput_ci_low_samples_per_s": "lower end of the throughput's 95% interval",
    "throughput_ci_high_samples_per_s": "upper end of the throughput's 95% interval",
    "first_call_ms": "the first call at this batch size, compilation included",
    "load_s": "from files to a model that can be called",
    "pass_s": "of that, what session passes took",
    "artifact_s": "making the compressed checkpoint or file, once for all rows that use it",
    "break_even_calls": "calls until the baseline's earlier start is caught up with; never: it is not faster",
    "samples": "timed calls; server: requests at that rate",
    "measured_s": "time spent in timed calls",
    "wall_s": "everything this row cost, after the model was loaded",
    "peak_memory_mb": "of the process on cpu (PSS), of the device elsewhere; reset for each batch size",
    "predicted_memory_mb": "the same, predicted before the measurement from the model's card",
    "framework_memory_mb": "of the peak on cpu, what the process took before it had a model",
    "working_memory_mb": "of the peak, neither framework nor weights: activations, workspace, other copies",
    "peak_reserved_mb": "what the runtime's allocator held at most on the device; empty: not told",
    "process_device_mb": "of the device's memory, this process's share as the driver tells",
    "host_peak_memory_mb": "peak of the process on the host (PSS), for accelerators too",
    "kv_cache_mb": "keys and values that the session keeps for the batch",
    "model_size_mb": "weights as the session holds them",
    "file_size_mb": "checkpoint on disk, before session passes",
    "parameters": "number of weights",
    "nonzero_parameters": "weights that are not zero",
    "flops_per_sample": "multiply and add counted as two",
    "activation_mb_per_sample": "outputs of all layers that have weights, in fp32",
    "operator_formats": "operators (products, where told apart) in each number format; empty: not told",
    "device_share": "of the model's operators, those that ran on the device asked for; empty: not told",
    "number_format": "its products are computed in it: by most operators where told, else by its passes",
    "bound": "the lower limit of the device: compute, memory, or cache (all fits into it); empty: not told",
    "utilization": "achieved over what that limit allows, of a language model for each further token",
    "accuracy": "share of labelled samples classified right",
    "fidelity": "agreement with the fp32 reference on real inputs: top-1 or next-token share, or mean cosine",
    "relative_error": "largest difference from the fp32 reference over its largest value",
    "accuracy_drop": "reference accuracy minus this accuracy, absolute",
    "perplexity": "of the next token of real text, by this combination",
    "perplexity_increase": "perplexity over the fp32 reference's, less one",
    "power_w": "mean power while the same calls are made again under a meter",
    "idle_power_w": "mean power before the cell, with the session open and nothing running",
    "energy_j_per_sample": "energy a sample, gross",
    "energy_net_j_per_sample": "energy a sample above idle",
    "energy_j_per_token": "language models: gross energy over tokens written, reading the prompts included",
    "energy_source": "how it was read, and of which sensor",
    "energy_scope": "what it is the energy of: board, package or node; never ranked against each other",
    "cost_usd_per_million": "the next column, where cost.currency is USD",
    "cost_per_million": "price of a million samples, at cost.utilization; language models: requests",
    "cost_per_million_tokens": "language models: price of a million output tokens, prompts included",
    "price_per_hour": "of the whole instance: rent, or capital and electricity",
    "price_source": "what that is made of, and by which power; or why it is not known",
    "currency": "of the figures of cost",
}

# Columns that are made of a row's profiles, its device's inventory and price, and its baseline.
COLLECTED = (
    "throughput_ci_low_samples_per_s",
    "throughput_ci_high_samples_per_s",
    "pass_s",
    "artifact_s",
    "break_even_calls",
    "operator_formats",
    "number_format",
    "bound",
    "utilization",
    "energy_source",
    "energy_scope",
    "cost_usd_per_million",
    "cost_per_million",
    "cost_per_million_tokens",
    "price_per_hour",
    "price_source",
    "currency",
)
# Columns that a profile carries as metrics: numbers, or None.
METRICS = tuple(
    name for name in list(COLUMNS)[list(COLUMNS).index("latency_p50_ms") :] if name not in COLLECTED
)

# Metrics that may lie below 0.
SIGNED_METRICS = ("accuracy_drop", "perplexity_increase")

# What the fields of records are, and that in words; those that a profile must have.
KINDS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("model", "device", "runtime", "optimization", "scenario", "status"), (str, "text")),
    **dict.fromkeys(("reason", "started_at"), (str, "text")),
    **dict.fromkeys(("batch_size", "round", "attempts"), (int, "a whole number")),
    **dict.fromkeys(("metrics", "fingerprints", "context", "details", "run"), (dict, "a mapping")),
    "flags": (list, "a list"),
}
REQUIRED = ("model", "device", "runtime", "optimization", "scenario", "batch_size", "round", "status")


class RecordError(ValueError):
    """A record that cannot be trusted: missing, cut short, of another version, or edited."""


@dataclass(frozen=True, order=True)
class Cell:
    """A combination without its batch size."""

    model: str
    device: str
    runtime: str
    optimization: str
    scenario: str

    @property
    def path(self) -> str:
        """Directory of this cell's rounds, relative to the directory of profiles."""
        return "/".join((self.device, self.runtime, self.model, self.optimization, self.scenario))

    def __str__(self) -> str:
        scenario = "" if self.scenario == DEFAULT_SCENARIO else f", {self.scenario}"
        return f"{self.model} on {self.device} with {self.runtime}, {self.optimization}{scenario}"


@dataclass(frozen=True)
class Flag:
    """A doubt about a measurement, with the figure that raised it."""

    code: str
    message: str
    value: float | None = None


@dataclass
class Profile:
    """One combination in one round: what happened, how well it is known, and of what it speaks."""

    model: str
    device: str
    runtime: str
    optimization: str
    scenario: str
    batch_size: int
    round: int
    status: str
    reason: str = ""
    flags: list[Flag] = field(default_factory=list)
    metrics: dict[str, float | None] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    attempts: int = 1
    started_at: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def cell(self) -> Cell:
        return Cell(self.model, self.device, self.runtime, self.optimization, self.scenario)

    @property
    def pace_ms(self) -> float | None:
        """What rounds are compared by: the median time of a call, or in the scenario server the time between
        two requests at the highest rate that holds; None where none does, or nothing was measured.
        """
        if self.scenario == "server":
            rate = self.metrics.get("throughput_samples_per_s")
            return 1e3 / rate if rate else None
        return self.metrics.get("latency_p50_ms")

    @property
    def valid(self) -> bool:
        """Whether the figures can be trusted: measured, and no flag breaks trust."""
        return self.status == "ok" and not any(f.code in TRUST_BREAKING_FLAGS for f in self.flags)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"valid": self.valid}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Profile:
        """Read what `to_dict` wrote. Raises RecordError where it does not hold together."""
        values = values_of(cls, data, SCHEMA_VERSION, REQUIRED, STATUSES)
        if data["status"] == "ok" and not values.get("metrics", {}).get("latency_p50_ms"):
            raise RecordError("status is ok, but metrics.latency_p50_ms is not a positive number")
        require_number(data.get("details", {}).get("median_standard_error"), "details.median_standard_error")
        return cls(**values)


def values_of(
    of: type[Any], data: Any, version: int, required: Iterable[str], statuses: Iterable[str]
) -> dict[str, Any]:
    """The values of a record's fields, its flags as such. Raises RecordError where one is not what it should
    be, or the whole is no record of that version.
    """
    if not isinstance(data, Mapping):
        raise RecordError(f"not a record but a {type(data).__name__}")
    if data.get("schema_version") != version:
        raise RecordError(f"schema_version is {data.get('schema_version')!r}, this hwfit reads {version}")
    if missing := [name for name in required if name not in data]:
        raise RecordError(f"lacks {', '.join(missing)}")
    for name, (kind, words) in KINDS.items():
        if name in data and (not isinstance(data[name], kind) or isinstance(data[name], bool)):
            raise RecordError(f"{name} is {data[name]!r}, not {words}")
    if data["status"] not in statuses:
        raise RecordError(f"status is {data['status']!r}, allowed: {', '.join(statuses)}")
    for name, value in data.get("metrics", {}).items():
        require_number(value, f"metrics.{name}", is_signed=name in SIGNED_METRICS)
    for name, value in data.get("fingerprints", {}).items():
        if not isinstance(value, str):
            raise RecordError(f"fingerprints.{name} is {value!r}, not text")
    for flag in data.get("flags", []):
        told = [flag.get(name) for name in ("code", "message")] if isinstance(flag, Mapping) else [None]
        if not all(isinstance(text, str) for text in told):
            raise RecordError(f"flags holds {flag!r}, not a flag with its code and message")
        require_number(flag.get("value"), f"the value of the flag {flag['code']}", is_signed=True)
    known = {each.name for each in fields(of)}
    try:
        flags = [Flag(**flag) for flag in data.get("flags", [])]
    except TypeError as error:
        raise RecordError(str(error)) from error
    return {name: value for name, value in data.items() if name in known} | {"flags": flags}


def require_number(value: Any, name: str, is_signed: bool = False) -> None:
    """Raises RecordError where a value is neither None nor a finite number, or below 0 though not signed."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise RecordError(f"{name} is {value!r}, not a finite number")
    if value < 0 and not is_signed:
        raise RecordError(f"{name} is {value!r}, below 0")


def require_inventory(data: Any) -> None:
    """Raises RecordError where an inventory does not hold together."""
    if not isinstance(data, Mapping):
        raise RecordError(f"not an inventory but a {type(data).__name__}")
    mappings, lists = ("runtimes", "peaks"), ("sensors", "sensors_unread", "cpu_flags")
    for name, kind in [(each, Mapping) for each in mappings] + [(each, list) for each in lists]:
        if not isinstance(data.get(name, [] if kind is list else {}), kind):
            raise RecordError(f"{name} is {data[name]!r}")
    for absence in data.get("sensors_unread", []):
        if not isinstance(absence, Mapping) or not {"source", "reason"} <= absence.keys():
            raise RecordError(f"sensors_unread holds {absence!r}, not a source with its reason")
    require_number(data.get("memory_mb"), "memory_mb")
    for name, value in data.get("peaks", {}).items():
        require_number(value, f"peaks.{name}")
    for runtime, taken in data.get("runtimes", {}).items():
        if not isinstance(taken, Mapping) or not isinstance(taken.get("reference_ms", []), list):
            raise RecordError(f"runtimes.{runtime} is {taken!r}")
        memory = taken.get("memory", {})
        if not isinstance(memory, Mapping):
            raise RecordError(f"runtimes.{runtime}.memory is {memory!r}")
        for name, value in memory.items():
            require_number(value, f"runtimes.{runtime}.memory.{name}")
        for value in taken.get("reference_ms", []):
            require_number(value, f"runtimes.{runtime}.reference_ms")
            if not value:
                raise RecordError(f"runtimes.{runtime}.reference_ms holds {value!r}")


def profile_path(root: Path | str, cell: Cell, round: int | str, batch_size: int) -> Path:
    """Where the profile of a combination in a round lies."""
    return Path(root) / cell.path / f"round{round}" / f"bs{batch_size}.json"


def write_json(path: Path | str, data: Any) -> None:
    """Write JSON so that a reader sees the whole file or the one before it."""
    write_bytes(path, _to_bytes(data))


def write_record(path: Path | str, data: Mapping[str, Any]) -> None:
    """The same with a seal, so that whoever reads the record knows that it is what was written."""
    write_bytes(path, sealed(data))


def sealed(data: Mapping[str, Any]) -> bytes:
    """A record's bytes, with their seal."""
    body = _to_bytes({key: value for key, value in data.items() if key != SEAL}).removesuffix(b"\n}\n")
    return body + _SEAL_BEGINS + bytes_sha256(body).encode() + _SEAL_ENDS


def _to_bytes(data: Any) -> bytes:
    return (json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file atomically: to a temporary name in its directory, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def read_json(path: Path | str) -> Any:
    """Read a JSON file; of a record all but its seal. Raises RecordError that names it."""
    try:
        return parse_json(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise RecordError(f"{path}: not there") from error
    except (ValueError, OSError) as error:
        raise RecordError(f"{path}: {error}") from error


def parse_json(content: bytes) -> Any:
    """The content of a JSON file, without its seal. Raises ValueError where it is none, or another's seal."""
    try:
        data = json.loads(content.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if isinstance(data, dict) and data.pop(SEAL, None) is not None and not has_true_seal(content):
        raise ValueError("was changed since it was written")
    return data


def has_true_seal(content: bytes) -> bool | None:
    """Whether the bytes of a record are those that were sealed; None where they have no seal."""
    end = len(content) - len(_SEAL_ENDS)
    start = end - _DIGITS - len(_SEAL_BEGINS)
    if not (content.endswith(_SEAL_ENDS) and content[max(start, 0) :].startswith(_SEAL_BEGINS)):
        return None
    return bytes_sha256(content[:start]).encode() == content[end - _DIGITS : end]


def checksums(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of some files of a directory, by name, as cards keep it."""
    return {name: file_sha256(directory / name) for name in names}


def weights_path(directory: Path, runtime: str) -> Path:
    """The file that a runtime loads: what a file pass has made, or the checkpoint in the runtime's form."""
    try:
        made = read_json(directory / "card.json").get("file")
    except RecordError:
        made = None
    return directory / (made or weights_file(runtime))


def read_profile(path: Path | str) -> Profile:
    """Read one profile. Raises RecordError that names the file."""
    data = read_json(path)
    try:
        return Profile.from_dict(data)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error


def fingerprint(*parts: Any) -> str:
    """A short, stable hash of plain data (SHA-256 of canonical JSON, 16 hex digits)."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def bytes_sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path | str) -> str:
    """The SHA-256 of a file's content, in hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def protocol_parts(
    settings: Mapping[str, Any], scenario: str, limits_ms: Mapping[str, float] | None
) -> tuple[Any, ...]:
    """What the fingerprint of how a profile is measured is made of, the same for all that is compared.

    Parameters
    ----------
    settings : of `measurement`, those that change a figure in this scenario
    limits_ms : on percentiles of the latency, in the scenario server; None elsewhere
    """
    return PROTOCOL_VERSION, settings, scenario, limits_ms


def without_non_finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """The same mapping with NaN and infinity turned into None, which is how a record says 'not measured'."""
    return {
        name: None if value is None or not math.isfinite(value) else value for name, value in values.items()
    }


def codes(flags: Iterable[Flag]) -> str:
    """The flags' codes as the table shows them: sorted, once each, separated by spaces."""
    return " ".join(sorted({flag.code for flag in flags}))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
