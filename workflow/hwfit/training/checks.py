"""What single values of the section `training` cannot show: names, settings and runs that contradict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from hwfit.catalog import DIGIT_SETS, FRAMEWORKS, LABELLED_IMAGE_SETS, TEXT_SETS
from hwfit.config_errors import listed, nearest, shown, written
from hwfit.costs import tariff_of
from hwfit.device_sections import Composite, Device
from hwfit.input_checks import Finding
from hwfit.input_sections import data_kind
from hwfit.key_path import KeyPath
from hwfit.sections import Config, Model
from hwfit.training.records import OPTIMIZERS, SHARED_HYPERPARAMETERS
from hwfit.training.runs import is_excluded, runs_of
from hwfit.training.sections import TrainingExclusion, TrainingMatrix

# What each task that can be trained is trained on, of the data that hwfit brings.
TRAINING_SETS = {"classification": (*DIGIT_SETS, *LABELLED_IMAGE_SETS), "generation": TEXT_SETS}
# What runs of one model are compared by, or what their paths do not tell: the same wherever it is trained.
SHARED_SETTINGS = ("target_accuracy", "max_epochs", "processes", "search", "halving")


def check_training(
    config: Config, devices: Mapping[str, Device | Composite], models: Mapping[str, Model] | None
) -> Iterator[Finding]:
    """Every matrix of `training` names what can be trained, and no run is meant in two ways.

    `models` is None where its file is itself wrong: what depends on it is left out.
    """
    is_list = isinstance(config.training, list)
    places: list[tuple[KeyPath, TrainingMatrix]] = [
        (("training", index) if is_list else ("training",), matrix)
        for index, matrix in enumerate(config.training_matrices)
    ]
    for path, matrix in places:
        yield from _check_settings(path, matrix)
        if models is not None:
            yield from _check_data(path, matrix, models)
        unlisted = list(_check_runtimes(path, matrix, devices))
        yield from unlisted
        if not unlisted:
            yield from _check_exclusions(path, matrix, devices)
    yield from _check_agreement(places, devices)
    yield from _check_objective(config, devices)


def _check_settings(path: KeyPath, matrix: TrainingMatrix) -> Iterator[Finding]:
    """Hyperparameters are of optimizers that are used and take them; rungs grow; batches can be parted."""
    for name, given in matrix.hyperparameters.items():
        place = (*path, "hyperparameters", name)
        if name not in matrix.optimizers:
            yield place, f"is for an optimizer that is not in `optimizers`: {listed(matrix.optimizers)}"
        known = [*OPTIMIZERS[name].hyperparameters, *SHARED_HYPERPARAMETERS]
        if not given.given():
            yield place, f"is empty; allowed: at least one of {', '.join(known)}"
        for key in given.given():
            if key not in known:
                yield (*place, key), f"is not one of {name}'s; allowed: {', '.join(known)}"
    epochs = matrix.rung_epochs
    if any(later <= earlier for earlier, later in pairwise(epochs)):
        rungs = ", ".join(map(str, epochs))
        message = (
            f"makes {len(epochs)} rungs that end after {rungs} epochs; allowed: each after the one before"
        )
        yield (*path, "halving"), f"{message} (fewer rungs, a smaller first_epochs, or more max_epochs)"
    for index, parts in enumerate(matrix.accumulation):
        odd = [size for size in matrix.batch_sizes if size % parts]
        if odd:
            message = f"is {parts}, which does not divide the batch size {odd[0]}"
            yield (*path, "accumulation", index), f"{message}; allowed: what divides every batch size here"


def _check_data(path: KeyPath, matrix: TrainingMatrix, models: Mapping[str, Model]) -> Iterator[Finding]:
    """Every model is one that hwfit defines, with something to learn and data to learn it from."""
    for index, name in enumerate(matrix.models):
        model, place = models[name], (*path, "models", index)
        learnable = TRAINING_SETS.get(model.task, ())
        if any(source.zoo is None for source in model.sources.values() if not source.export):
            yield place, f"is {shown(name)}, which is no zoo model; allowed: models whose sources are `zoo`"
        elif not learnable:
            message = f"is {shown(name)}, whose task is {model.task}"
            yield place, f"{message}; allowed: models that learn {', or '.join(TRAINING_SETS)}"
        elif data_kind(model.data) == "named" and model.data not in learnable:
            message = f"is {shown(name)}, whose data, {model.data}, hold nothing to train on"
            yield place, f"{message}; allowed: {', '.join(learnable)}, or data of your own with labels"


def _check_runtimes(
    path: KeyPath, matrix: TrainingMatrix, devices: Mapping[str, Device | Composite]
) -> Iterator[Finding]:
    for index, runtime in enumerate(matrix.runtimes or []):
        for device in matrix.devices:
            names = devices[device].runtimes
            if runtime not in names:
                message = f"is {shown(runtime)}, which device {shown(device)} does not list; it lists: "
                yield (
                    (*path, "runtimes", index),
                    f"{message}{', '.join(names)}{nearest(runtime, names)}; leave `runtimes` out, or give "
                    "the device an entry of its own",
                )
    for index, device in enumerate(matrix.devices):
        if not matrix.runtimes and not any(name in FRAMEWORKS for name in devices[device].runtimes):
            message = f"is {shown(device)}, which lists no runtime that trains"
            yield (*path, "devices", index), f"{message}; those are {', '.join(FRAMEWORKS)}"


def _check_exclusions(
    path: KeyPath, matrix: TrainingMatrix, devices: Mapping[str, Device | Composite]
) -> Iterator[Finding]:
    runs = list(runs_of(matrix, devices))
    for index, rule in enumerate(matrix.exclude):
        given = rule.model_dump(exclude_none=True)
        place = (*path, "exclude", index)
        if not given:
            yield place, f"is empty; allowed: at least one of {', '.join(TrainingExclusion.model_fields)}"
        elif not any(is_excluded(run, [rule]) for run in runs):
            text = ", ".join(f"{key}: {value}" for key, value in given.items())
            yield place, f"({text}) matches no run of {written(path)}; correct or remove it"
    if all(is_excluded(run, matrix.exclude) for run in runs):
        yield path, "excludes every run; allowed: at least one that remains"


def _check_agreement(
    places: list[tuple[KeyPath, TrainingMatrix]], devices: Mapping[str, Device | Composite]
) -> Iterator[Finding]:
    """Of one model all runs are compared, so all aim at the same; and no run is there with two meanings."""
    of_model: dict[str, tuple[KeyPath, TrainingMatrix]] = {}
    of_path: dict[str, tuple[KeyPath, dict[str, Any]]] = {}
    for path, matrix in places:
        for name in matrix.models:
            first_path, first = of_model.setdefault(name, (path, matrix))
            for key in SHARED_SETTINGS:
                if getattr(matrix, key) != getattr(first, key):
                    message = f"differs from {written((*first_path, key))}, and both train {name}"
                    yield (*path, key), f"{message}; allowed: the same, or models of two names"
        for optimizer in matrix.optimizers:
            settings = matrix.hyperparameters.get(optimizer)
            given = settings.given() if settings else {}
            for model in matrix.models:
                first_path, known = of_path.setdefault(f"{model}/{optimizer}", (path, given))
                if known != given:
                    message = f"gives {optimizer} other values for {model} than {written(first_path)} does"
                    yield (*path, "hyperparameters"), f"{message}; allowed: the same in both"


def _check_objective(config: Config, devices: Mapping[str, Device | Composite]) -> Iterator[Finding]:
    """A price is known where cost is what counts, and inferences can be counted where they are asked for."""
    wanted, matrices = config.decision.training, config.training_matrices
    used = sorted({name for matrix in matrices for name in matrix.devices})
    if used and wanted.objective == "cost" and not any(tariff_of(devices, name) for name in used):
        said = (
            f"is 'cost', but none of {', '.join(used)} has a price in devices.yaml (price_per_hour, or owned)"
        )
        yield ("decision", "training", "objective"), said
    if wanted.plus_inferences:
        trained = {name for matrix in matrices for name in matrix.models}
        if not trained & set(config.model_names):
            said = "asks for training plus inferences, but no model is in both `training` and `matrix`"
            yield (
                ("decision", "training", "plus_inferences"),
                f"{said}; allowed: one at least, or leave it out",
            )
