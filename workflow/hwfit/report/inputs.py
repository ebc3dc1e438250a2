"""What a run leaves behind, read for the report: what is missing or broken is said, and stops nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hwfit.archive import profiles_of
from hwfit.catalog import PASSES
from hwfit.collect import read_inventories
from hwfit.config import Study
from hwfit.layout import environment_file
from hwfit.matrix import Plan
from hwfit.records import COLUMNS, SCHEMA_VERSION, RecordError, read_json, read_profile
from hwfit.report.energy import Absences
from hwfit.report.provenance import Contexts, count_facts
from hwfit.report.training import Training
from hwfit.training.collect import typical_curves
from hwfit.training.table import read_run_table


def read_inputs(
    plan_file: Path,
    table_file: Path,
    recommendation_file: Path,
    directory: Path | str = ".",
    training_file: Path | None = None,
    configurations_file: Path | None = None,
) -> dict[str, Any]:
    """The arguments of `write_report` that come from files; `problems` tells what could not be read."""
    directory = Path(directory)
    problems: list[str] = []
    plan = read_mapping(plan_file, problems)
    recommendation = read_mapping(recommendation_file, problems)
    version = recommendation.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        problems.append(
            f"{recommendation_file}: schema_version is {version!r}, this hwfit reads {SCHEMA_VERSION}"
        )
    found: dict[str, Any] = {"table": read_table(table_file, problems), "recommendation": recommendation}
    for name, read in PLANNED.items():
        found[name] = {}
        try:
            found[name] = read(plan, directory)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # A plan that is not there has been told of.
            if plan:
                said = str(error).partition("\n")[0]
                problems.append(f"{plan_file}: no {name}: {type(error).__name__}: {said}")
    if training_file and configurations_file:
        found["training"] = read_training(training_file, configurations_file, directory, problems)
    return found | {"problems": problems}


def read_mapping(path: Path, problems: list[str]) -> dict[str, Any]:
    """A JSON mapping; an empty one, and a problem, where there is none."""
    try:
        found = read_json(path)
    except RecordError as error:
        problems.append(str(error))
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path}: not a mapping but a {type(found).__name__}")
        return {}
    return found


def read_table(path: Path, problems: list[str]) -> pd.DataFrame:
    """The table of combinations, as far as its lines can be read."""
    told: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}
    try:
        try:
            return pd.read_csv(path, **told, low_memory=False)
        except pd.errors.ParserError as error:
            problems.append(f"{path}: {str(error).strip()}; such lines are left out")
            return pd.read_csv(path, **told, engine="python", on_bad_lines="skip")
    except (OSError, ValueError) as error:
        problems.append(f"{path}: {error}")
        return pd.DataFrame(columns=list(COLUMNS))


def read_plan(plan: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The study with its combinations, and the sites whose rows are among them."""
    return plan["study"] | {"combinations": plan["combinations"], "sites": plan.get("sites", [])}


def read_environments(plan: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """What is known of each environment that the plan uses."""
    found = {}
    for name in Plan(Study.model_validate(plan["study"])).environments:
        try:
            found[name] = read_json(directory / environment_file(name))
        except RecordError as error:
            found[name] = {"reason": str(error)}
    return found


def read_contexts(plan: Mapping[str, Any], directory: Path) -> Contexts:
    """The conditions under which the rows were measured, counted for each device and runtime."""

    def contexts() -> Iterator[tuple[str, Mapping[str, Any]]]:
        for found in profiles_of(plan, directory):
            try:
                profile = read_profile(found.path)
            except RecordError:
                continue
            if profile.status == "ok" and found.role != "not used" and isinstance(profile.context, Mapping):
                yield f"{found.cell.device} · {found.cell.runtime}", profile.context

    return count_facts(contexts())


def read_artifacts(plan: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """What the steps of an artifact say of themselves, by the path of the cell that was measured with it."""
    optimizations = plan["study"]["optimizations"]
    made = {
        name
        for name, optimization in optimizations.items()
        if any(
            step["pass"] in PASSES and PASSES[step["pass"]].kind != "session"
            for step in optimization["passes"]
        )
    }
    artifacts: dict[str, Any] = {}
    for found in profiles_of(plan, directory):
        if found.cell.optimization not in made or found.cell.path in artifacts:
            continue
        try:
            steps = read_profile(found.path).details.get("artifact_steps")
        except RecordError:
            continue
        if isinstance(steps, list):
            artifacts[found.cell.path] = [step for step in steps if isinstance(step, dict)]
    return artifacts


def read_absences(plan: Mapping[str, Any], directory: Path) -> Absences:
    """Which power meters cannot be read, and why, by one record of each device."""
    found: dict[str, tuple[str, ...]] = {}
    for each in profiles_of(plan, directory):
        if each.cell.device in found:
            continue
        try:
            profile = read_profile(each.path)
        except RecordError:
            continue
        told = profile.details.get("energy")
        if profile.status == "ok" and isinstance(told, Mapping):
            absences = told.get("absences") or []
            found[each.cell.device] = tuple(f"{absent['source']}: {absent['reason']}" for absent in absences)
    return found


def read_training(
    runs_file: Path, configurations_file: Path, directory: Path, problems: list[str]
) -> Training | None:
    """The configurations of training, each with the curve of one of its runs."""
    try:
        runs, configurations = read_run_table(runs_file), read_run_table(configurations_file)
    except (OSError, ValueError) as error:
        problems.append(f"training: {error}")
        return None
    return Training(configurations, {each.path: each.points for each in typical_curves(runs, directory)})


# What is found by the plan; each may fail without the others.
PLANNED: dict[str, Callable[[Mapping[str, Any], Path], Mapping[str, Any]]] = {
    "plan": read_plan,
    "inventories": read_inventories,
    "environments": read_environments,
    "contexts": read_contexts,
    "artifacts": read_artifacts,
    "absences": read_absences,
}
