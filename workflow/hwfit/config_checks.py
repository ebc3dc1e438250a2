"""What single values cannot show: settings that contradict each other, names that do not go together.

Each check takes sections that are valid by themselves and yields `(key path, message)` for what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hwfit import catalog
from hwfit.composites import check_members
from hwfit.config_errors import nearest, shown, written
from hwfit.cost_checks import check_cost, check_price
from hwfit.decision_sections import BaselineRow
from hwfit.device_sections import Composite, Device
from hwfit.input_checks import Finding, check_inputs
from hwfit.input_sections import data_kind
from hwfit.key_path import KeyPath
from hwfit.pass_checks import check_passes
from hwfit.sections import Config, Exclusion, Matrix, Measurement, Model, Optimization, Source
from hwfit.sites.checks import check_artifacts, check_sites, exports_of
from hwfit.training.checks import check_training

# The keys of a source, of which it has one.
SOURCES = ("zoo", "callable", "onnx", "export", "huggingface")

# What a Hugging Face folder is loaded for.
FOLDER_TASKS = ("generation", "embedding", "classification")


def check_models(models: Mapping[str, Model]) -> Iterator[Finding]:
    """A model has one source for each runtime, and a zoo model is used for what it is."""
    for name, model in models.items():
        for runtime, source in model.sources.items():
            given = [kind for kind in SOURCES if getattr(source, kind) is not None]
            if len(given) != 1:
                which = f"both {' and '.join(given)}" if given else f"none of {', '.join(SOURCES)}"
                message = f"has {which}; allowed: exactly one of {', '.join(SOURCES)}"
                yield (name, "sources", runtime), message
            elif source.zoo is not None:
                yield from _check_zoo(name, model, runtime, source.zoo)
            elif source.huggingface is not None:
                yield from _check_folder(name, model, runtime, source)
            elif model.task == "generation":
                message = f"is {given[0]}; allowed for generation: a zoo model, or a Hugging Face folder"
                yield (name, "sources", runtime), message
            else:
                yield from _check_kind(name, model, runtime, given[0])
            if source.trust is not None and source.huggingface is None:
                yield (name, "sources", runtime, "trust"), "is for a Hugging Face folder"
        yield from check_inputs(name, model)
        own = [source for source in model.sources.values() if not source.export]
        if len({(source.zoo, source.huggingface) for source in own}) > 1:
            message = "mixes sources; allowed: one zoo model, or one folder, for all runtimes"
            yield (name, "sources"), message
        if all(source.zoo is None for source in own):
            if model.training:
                yield (name, "training"), "is for zoo models; yours brings its own weights"
            if model.weights:
                yield (name, "weights"), "is for zoo models; list what a callable reads under `files`"
        elif model.training and model.weights:
            yield (name, "training"), "is for a model without `weights`; allowed: one of the two"
        if model.weights and not Path(model.weights).is_file():
            yield (name, "weights"), _absent(model.weights)
        if model.calibration and not Path(model.calibration).is_file():
            yield (name, "calibration"), _absent(model.calibration)
        if model.calibration and model.task == "generation":
            yield (name, "calibration"), "is not for language models: none of their passes calibrates"
        for place, file in enumerate(model.files):
            if not Path(file).is_file():
                yield (name, "files", place), _absent(file)


def _absent(file: str) -> str:
    return f"is {shown(file)}, looked for at {Path(file).absolute()}: not there"


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
        yield (*path, "onnx"), _absent(file)


def _check_zoo(name: str, model: Model, runtime: str, zoo: str) -> Iterator[Finding]:
    brought = catalog.ZOO[zoo]
    if runtime not in brought.runtimes:
        message = f"is for a runtime that {zoo} does not come in; allowed: {', '.join(brought.runtimes)}"
        yield (name, "sources", runtime), message
    as_it_comes, *with_weights = brought.tasks
    if model.task != as_it_comes and not (model.weights and model.task in with_weights):
        more = f"; with `weights` of your own: {', '.join(brought.tasks)}" if with_weights else ""
        yield (name, "task"), f"is {shown(model.task)}; allowed for {zoo}: {as_it_comes}{more}"
    if model.data not in brought.data and data_kind(model.data) == "named":
        choices = ", ".join(brought.data)
        yield (name, "data"), f"is {shown(model.data)}; allowed for {zoo}: {choices}, or data of your own"


def _check_folder(name: str, model: Model, runtime: str, source: Source) -> Iterator[Finding]:
    """A Hugging Face folder is there, can be read without running what it brings, and fits its task."""
    folder = Path(str(source.huggingface))
    path = (name, "sources", runtime, "huggingface")
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        said = "has no config.json" if isinstance(error, OSError) else "has a config.json that is not JSON"
        yield path, f"is {shown(source.huggingface)}, looked for at {folder.absolute()}: {said}"
        return
    if not source.trust and not any(folder.glob("*.safetensors")):
        reason = "has no .safetensors, and weights that are pickles run code when they are read"
        yield path, f"is {shown(source.huggingface)}, which {reason}; convert them, or set trust: true"
    if not source.trust and config.get("auto_map"):
        yield path, f"is {shown(source.huggingface)}, which brings code of its own; set trust: true to run it"
    if model.task not in FOLDER_TASKS:
        allowed = ", ".join(FOLDER_TASKS)
        yield (name, "task"), f"is {shown(model.task)}; allowed for a Hugging Face folder: {allowed}"
    if runtime != "torch" and (model.task != "generation" or config.get("model_type") != "llama"):
        found = f"{model.task} by a {shown(config.get('model_type'))}"
        yield path, f"is for {found}; allowed in {runtime}: generation by a 'llama'; others in torch"
    if model.task == "generation" and model.data not in catalog.TEXT_SETS and not model.data.endswith(".npz"):
        choices = ", ".join(catalog.TEXT_SETS)
        yield (name, "data"), f"is {shown(model.data)}; allowed for generation: {choices}, or a .npz file"


def check_devices(devices: Mapping[str, Device | Composite]) -> Iterator[Finding]:
    """A device's runtimes can drive its accelerator; a composite's members can work side by side."""
    for name, device in devices.items():
        yield from _check_power(name, device)
        if isinstance(device, Composite):
            yield from check_members(name, device, devices)
            continue
        if device.cores and device.accelerator != "cpu":
            yield (name, "cores"), f"is for the accelerator cpu, and this is {device.accelerator}"
        yield from check_price(name, device)
        given = device.slurm.gres_count if device.slurm else None
        if device.slurm and given is not None and device.index >= given:
            said = f"is {device.index}, and a job is given {given} ({shown(device.slurm.gres)})"
            yield (name, "index"), f"{said}; allowed: below {given}, since it counts within the job"
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


def _check_power(name: str, device: Device | Composite) -> Iterator[Finding]:
    """An external meter says what its watts are those of."""
    if device.power_command and not device.power_scope:
        message = f"needs power_scope beside it; allowed: {', '.join(catalog.POWER_SCOPES)}"
        yield (name, "power_command"), f"{message}, whatever the watts are those of"
    for key in ("power_scope", "power_interval_s"):
        if getattr(device, key) is not None and not device.power_command:
            yield (name, key), "is for a device with a power_command"


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
        for place, message in check_passes(passes):
            yield (name, "passes") if place is None else (name, "passes", place), message


def check_config(
    config: Config,
    devices: Mapping[str, Device | Composite] | None,
    models: Mapping[str, Model] | None = None,
) -> Iterator[Finding]:
    """Times are in order, and the matrix combines and excludes what exists.

    `devices` or `models` is None where its file is itself wrong: what depends on it is left out.
    """
    measurement = config.measurement
    if measurement.max_seconds < measurement.min_seconds:
        message = f"is {measurement.max_seconds:g}, below min_seconds ({measurement.min_seconds:g})"
        yield ("measurement", "max_seconds"), f"{message}; allowed: min_seconds or more"
    if measurement.timeout_seconds < measurement.max_seconds:
        message = f"is {measurement.timeout_seconds:g}, below max_seconds ({measurement.max_seconds:g})"
        yield ("measurement", "timeout_seconds"), f"{message}; allowed: max_seconds or more"
    most = measurement.most_confirm_rounds
    if most is not None and most < measurement.confirm_rounds:
        message = f"is {most}, below confirm_rounds ({measurement.confirm_rounds})"
        yield ("measurement", "most_confirm_rounds"), f"{message}; allowed: confirm_rounds or more"
    if most and not measurement.confirm_rounds:
        message = f"is {most}, but confirm_rounds is 0, which asks for none"
        yield ("measurement", "most_confirm_rounds"), f"{message}; allowed: 0"
    if "server" in measurement.scenarios:
        place = ("measurement", "scenarios", measurement.scenarios.index("server"))
        if not all(config.decision.percentile_limits_of(name) for name in config.model_names):
            message = "is 'server', the highest rate that keeps a percentile of the latency under its limit"
            said = f"{message}; set decision.constraints.latency_p99_ms (or latency_p90_ms)"
            yield place, f"{said} to a number of ms"
        if measurement.timeout_seconds < measurement.server_seconds:
            message = (
                f"is {measurement.timeout_seconds:g}, below server_seconds ({measurement.server_seconds:g})"
            )
            yield ("measurement", "timeout_seconds"), f"{message}; allowed: server_seconds or more"
    yield from _check_uri(config.tracking.uri)
    yield from check_sites(config)
    if models is not None:
        yield from _check_contexts(config, models)
        yield from check_artifacts(config, models)
    for key in ("matrix", "training"):
        if key in config.model_fields_set and not getattr(config, key):
            yield (key,), "is an empty list; allowed: a list of mappings, at least one"
    if not config.model_fields_set & {"matrix", "training"} and not config.sites:
        message = "lacks `matrix` (what to combine); allowed: a mapping, or a list of mappings"
        yield (), f"{message}; `training` or `sites` may stand alone"
    if devices is None:
        return
    yield from check_training(config, devices, models)
    remaining = 0
    for index, matrix in enumerate(config.matrices):
        path: KeyPath = ("matrix", index) if isinstance(config.matrix, list) else ("matrix",)
        unlisted = list(_check_runtimes(path, matrix, devices))
        yield from unlisted
        if not unlisted:
            keys = list(_combinations(matrix, devices, config.measurement))
            yield from _check_exclusions(path, matrix, keys)
            remaining += sum(not any(matches(rule, key) for rule in matrix.exclude) for key in keys)
        else:
            remaining += 1
    if config.matrices and not remaining:
        yield ("matrix",), "excludes every combination; allowed: at least one that remains"
    yield from check_cost(config, devices)
    yield from _check_decision(config)


def _check_decision(config: Config) -> Iterator[Finding]:
    """What is set for a model is for one of the matrix, and what a limit is a share of is in it too."""
    decision = config.decision
    places: list[tuple[KeyPath, Any]] = [(("decision", "objective"), decision.objective)]
    places += [
        (("decision", "per_model", name, "objective"), each.objective)
        for name, each in decision.per_model.items()
    ]
    for place, wanted in places:
        counts_energy = wanted == "energy" or getattr(wanted, "energy", None) is not None
        if counts_energy and not config.measurement.energy_seconds:
            said = "is 'energy'" if wanted == "energy" else "has energy in it"
            yield place, f"{said}, but measurement.energy_seconds is 0, so that none is measured"
    yield from _check_baseline(config)
    elsewhere = [name for export in exports_of(config).values() for name in export.models]
    models = list(dict.fromkeys([*config.model_names, *elsewhere]))
    named: list[tuple[KeyPath, str]] = [
        *((("decision", "per_model", name), name) for name in decision.per_model),
        *(
            (("decision", "share_device", group, index), name)
            for group, names in decision.share_device.items()
            for index, name in enumerate(names)
        ),
    ]
    for place, name in named:
        if name not in models:
            yield place, f"is {name!r}, which the matrix does not have; allowed: {', '.join(models)}"


def _check_baseline(config: Config) -> Iterator[Finding]:
    """What a limit is a share of is in the matrix."""
    decision = config.decision
    limits = {name: decision.limits_of(name) for name in config.model_names}
    relative = [name for name, bounds in limits.items() if any(isinstance(b, str) for b in bounds.values())]
    wanted = decision.baseline or BaselineRow()
    for model in relative:
        entries = [matrix for matrix in config.matrices if model in matrix.models]
        there: dict[str, set[Any]] = {
            "device": {device for entry in entries for device in entry.devices},
            # Absent: every runtime that a device lists.
            "runtime": {name for entry in entries for name in entry.runtimes or [str(wanted.runtime)]},
            "optimization": {name for entry in entries for name in entry.optimizations},
            "batch_size": {size for entry in entries for size in entry.batch_sizes},
        }
        for key, values in there.items():
            asked = getattr(wanted, key)
            if asked is not None and asked not in values:
                said = f"{key} is {asked!r}, which the matrix does not have for {model}"
                listed = ", ".join(str(value) for value in sorted(values, key=str))
                yield ("decision", "baseline"), f"{said}; allowed: {listed}"


def _check_contexts(config: Config, models: Mapping[str, Model]) -> Iterator[Finding]:
    """Prompt and output fit into the context of each language model that is used."""
    for name in config.model_names:
        context = _context_tokens(models[name])
        for index, lengths in enumerate(config.measurement.generation if context else ()):
            tokens = lengths.prompt_tokens + lengths.output_tokens
            if context and tokens > context:
                said = f"is {lengths.prompt_tokens} + {lengths.output_tokens} tokens"
                message = f"{said}; allowed for {name}: {context}, its context"
                yield ("measurement", "generation", index), message


def _context_tokens(model: Model) -> int | None:
    """The most tokens of a sequence of a language model; None for others, or where it does not say."""
    source = next(iter(model.sources.values()))
    if model.task != "generation":
        return None
    if source.zoo:
        return catalog.ZOO[source.zoo].context_tokens
    try:
        return json.loads((Path(str(source.huggingface)) / "config.json").read_text())[
            "max_position_embeddings"
        ]
    except (OSError, ValueError, KeyError):
        return None


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


def _combinations(
    matrix: Matrix, devices: Mapping[str, Device | Composite], measurement: Measurement
) -> Iterator[dict[str, Any]]:
    # Whichever of the two kinds a model has: that an exclusion's name exists is enough here.
    scenarios = [*measurement.scenarios, *(lengths.scenario for lengths in measurement.generation)]
    for model, device, optimization, scenario, batch_size in product(
        matrix.models, matrix.devices, matrix.optimizations, scenarios, matrix.batch_sizes
    ):
        for runtime in matrix.runtimes or devices[device].runtimes:
            yield {
                "model": model,
                "device": device,
                "runtime": runtime,
                "optimization": optimization,
                "scenario": scenario,
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
