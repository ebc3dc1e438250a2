"""What single values cannot show: settings that contradict each other, names that do not go together.

Each check takes sections that are valid by themselves and yields `(key path, message)` for what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hwfit import catalog
from hwfit.composites import check_members, price_per_hour
from hwfit.config_errors import nearest, shown, written
from hwfit.key_path import KeyPath
from hwfit.sections import (
    Composite,
    Config,
    Device,
    Exclusion,
    Matrix,
    Model,
    Optimization,
)

Finding = tuple[KeyPath, str]


def check_models(models: Mapping[str, Model]) -> Iterator[Finding]:
    """A model has one source for each runtime, and a zoo model is used for what it is."""
    for name, model in models.items():
        for runtime, source in model.sources.items():
            given = [key for key, value in source if value is not None]
            if len(given) != 1:
                kinds = ", ".join(type(source).model_fields)
                which = f"both {' and '.join(given)}" if given else f"none of {kinds}"
                yield (name, "sources", runtime), f"has {which}; allowed: exactly one of {kinds}"
            elif source.zoo is not None:
                yield from _check_zoo(name, model, runtime, source.zoo)
            else:
                yield from _check_kind(name, model, runtime, given[0])
        zoo = {source.zoo for source in model.sources.values() if not source.export}
        if len(zoo) > 1:
            message = "mixes sources; allowed: one zoo model for all runtimes, or sources of your own"
            yield (name, "sources"), message
        if model.training and zoo == {None}:
            yield (name, "training"), "is for zoo models; yours brings its own weights"
        if model.data.endswith(".npz") and not Path(model.data).is_file():
            yield (
                (name, "data"),
                f"is {shown(model.data)}, looked for at {Path(model.data).absolute()}: not there",
            )
        for place, file in enumerate(model.files):
            if not Path(file).is_file():
                said = f"is {shown(file)}, looked for at {Path(file).absolute()}: not there"
                yield (name, "files", place), said


def _check_kind(name: str, model: Model, runtime: str, kind: str) -> Iterator[Finding]:
    """A source of the user's own is one that its runtime can take."""
    path = (name, "sources", runtime)
    reads_onnx = catalog.RUNTIMES[runtime].reads_onnx
    if kind == "callable" and reads_onnx:
        yield path, f"is a callable, and {runtime} reads ONNX files; allowed: zoo, onnx, or export: torch"
    if kind in ("onnx", "export") and not reads_onnx:
        able = ", ".join(catalog.READ_ONNX)
        yield path, f"is {kind}, which is for the runtimes that read ONNX files: {able}"
    if kind == "export" and reads_onnx and "torch" not in model.sources:
        yield path, "is export: torch, and the model has no torch source; add one, or name an ONNX file"
    file = model.sources[runtime].onnx
    if file and not Path(file).is_file():
        yield (*path, "onnx"), f"is {shown(file)}, looked for at {Path(file).absolute()}: not there"


def _check_zoo(name: str, model: Model, runtime: str, zoo: str) -> Iterator[Finding]:
    brought = catalog.ZOO[zoo]
    if runtime not in brought.runtimes:
        message = f"is for a runtime that {zoo} does not come in; allowed: {', '.join(brought.runtimes)}"
        yield (name, "sources", runtime), message
    if model.task != brought.task:
        yield (name, "task"), f"is {shown(model.task)}; allowed for {zoo}: {brought.task}"
    if model.data not in brought.data and not model.data.endswith(".npz"):
        choices = ", ".join(brought.data)
        yield (name, "data"), f"is {shown(model.data)}; allowed for {zoo}: {choices}, or a .npz file"


def check_devices(devices: Mapping[str, Device | Composite]) -> Iterator[Finding]:
    """A device's runtimes can drive its accelerator; a composite's members can work side by side."""
    for name, device in devices.items():
        if isinstance(device, Composite):
            yield from check_members(name, device, devices)
            continue
        if device.cores and device.accelerator != "cpu":
            yield (name, "cores"), f"is for the accelerator cpu, and this is {device.accelerator}"
        for runtime in device.runtimes:
            accelerators = catalog.RUNTIMES[runtime].accelerators
            if device.accelerator not in accelerators:
                able = [
                    r for r, known in catalog.RUNTIMES.items() if device.accelerator in known.accelerators
                ]
                message = (
                    f"cannot drive the accelerator {device.accelerator}; allowed there: {', '.join(able)}"
                )
                yield (name, "runtimes", runtime), message


def check_optimizations(optimizations: Mapping[str, Optimization]) -> Iterator[Finding]:
    """A list of passes can be carried out in its order, and baseline is none."""
    for name, optimization in optimizations.items():
        passes = [step.name for step in optimization.passes]
        if name == "baseline" and passes:
            yield (name, "passes"), "must be empty: baseline is what all others are compared with"
        for index, step in enumerate(passes):
            path = (name, "passes", index)
            if step in passes[:index]:
                yield (
                    path,
                    f"is {step} again, as {written((name, 'passes', passes.index(step)))}; allowed: once",
                )
                continue
            kind = catalog.PASSES[step].kind
            before = [p for p in passes[:index] if catalog.PASSES[p].kind == "session"]
            if kind == "artifact" and before:
                message = (
                    f"is {step}, which rewrites the checkpoint before {before[0]} acts on the loaded model"
                )
                yield path, f"{message}; write {step} first"
        if "cast" in passes and "quantize_dynamic" in passes:
            reason = "quantize_dynamic works on fp32 weights and activations, and cast leaves neither"
            yield (name, "passes"), f"has both cast and quantize_dynamic: {reason}; allowed: one of the two"


def check_config(config: Config, devices: Mapping[str, Device | Composite] | None) -> Iterator[Finding]:
    """Times are in order, and the matrix combines and excludes what exists.

    `devices` is None where devices.yaml is itself wrong: what depends on it is left out.
    """
    measurement = config.measurement
    if measurement.max_seconds < measurement.min_seconds:
        message = f"is {measurement.max_seconds:g}, below min_seconds ({measurement.min_seconds:g})"
        yield ("measurement", "max_seconds"), f"{message}; allowed: min_seconds or more"
    if measurement.timeout_seconds < measurement.max_seconds:
        message = f"is {measurement.timeout_seconds:g}, below max_seconds ({measurement.max_seconds:g})"
        yield ("measurement", "timeout_seconds"), f"{message}; allowed: max_seconds or more"
    if "server" in measurement.scenarios:
        place = ("measurement", "scenarios", measurement.scenarios.index("server"))
        constraints = config.decision.constraints
        if constraints.latency_p90_ms is None and constraints.latency_p99_ms is None:
            message = "is 'server', the highest rate that keeps a percentile of the latency under its limit"
            yield place, f"{message}; set decision.constraints.latency_p99_ms (or latency_p90_ms)"
        if measurement.timeout_seconds < measurement.server_seconds:
            message = (
                f"is {measurement.timeout_seconds:g}, below server_seconds ({measurement.server_seconds:g})"
            )
            yield ("measurement", "timeout_seconds"), f"{message}; allowed: server_seconds or more"
    yield from _check_uri(config.tracking.uri)
    if devices is None:
        return
    remaining = 0
    for index, matrix in enumerate(config.matrices):
        path: KeyPath = ("matrix", index) if isinstance(config.matrix, list) else ("matrix",)
        unlisted = list(_check_runtimes(path, matrix, devices))
        yield from unlisted
        if not unlisted:
            keys = list(_combinations(matrix, devices))
            yield from _check_exclusions(path, matrix, keys)
            remaining += sum(not any(matches(rule, key) for rule in matrix.exclude) for key in keys)
        else:
            remaining += 1
    if not remaining:
        yield ("matrix",), "excludes every combination; allowed: at least one that remains"
    if config.decision.objective == "cost":
        used = sorted({name for matrix in config.matrices for name in matrix.devices})
        if not any(price_per_hour(devices, name) for name in used):
            message = f"is 'cost', but none of {', '.join(used)} has a price_per_hour in devices.yaml"
            yield ("decision", "objective"), message


def _check_uri(uri: str) -> Iterator[Finding]:
    try:
        parts = urlsplit(uri)
        lacks_host = parts.scheme in ("http", "https") and not parts.hostname
        message = "has no host" if lacks_host else ""
        _ = parts.port
    except ValueError as error:
        # The error's own words may quote a password that was taken for a port.
        message = "has a port that is no number" if "ort" in str(error) else "is not a URI"
    if message:
        yield ("tracking", "uri"), f"{shown(uri)} {message}; a password's special characters need %-encoding"


def _check_runtimes(
    path: KeyPath, matrix: Matrix, devices: Mapping[str, Device | Composite]
) -> Iterator[Finding]:
    for index, runtime in enumerate(matrix.runtimes or []):
        for device in matrix.devices:
            listed = devices[device].runtimes
            if runtime not in listed:
                message = f"is {shown(runtime)}, which device {shown(device)} does not list; it lists: "
                advice = "leave `runtimes` out, or give the device a matrix entry of its own"
                yield (
                    (*path, "runtimes", index),
                    f"{message}{', '.join(listed)}{nearest(runtime, listed)}; {advice}",
                )


def _combinations(matrix: Matrix, devices: Mapping[str, Device | Composite]) -> Iterator[dict[str, Any]]:
    for model, device, optimization, batch_size in product(
        matrix.models, matrix.devices, matrix.optimizations, matrix.batch_sizes
    ):
        for runtime in matrix.runtimes or devices[device].runtimes:
            yield {
                "model": model,
                "device": device,
                "runtime": runtime,
                "optimization": optimization,
                "batch_size": batch_size,
            }


def matches(rule: Exclusion, combination: Mapping[str, Any]) -> bool:
    """Whether an exclusion speaks of a combination: every key that it gives, one at least, has its value."""
    given = {key: value for key, value in rule if value is not None}
    return bool(given) and all(combination[key] == value for key, value in given.items())


def _check_exclusions(
    path: KeyPath, matrix: Matrix, combinations: Sequence[Mapping[str, Any]]
) -> Iterator[Finding]:
    for index, rule in enumerate(matrix.exclude):
        given = {key: value for key, value in rule if value is not None}
        if not given:
            yield (
                (*path, "exclude", index),
                f"is empty; allowed: at least one of {', '.join(Exclusion.model_fields)}",
            )
        elif not any(matches(rule, combination) for combination in combinations):
            text = ", ".join(f"{key}: {value}" for key, value in given.items())
            yield (
                (*path, "exclude", index),
                f"({text}) matches no combination of {written(path)}; correct or remove it",
            )
