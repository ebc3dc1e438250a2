"""Where the numbers come from: software, packages, and the conditions that differed between compared rows."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from markupsafe import Markup

from hwfit.report.language import Language

# What planned, decided and drew; what measured is told by environment.
CONTROL_PACKAGES = ("snakemake", "pandas", "altair", "mlflow")
# Target, condition, its values, and in how many records each.
Contexts = Mapping[str, Mapping[str, Mapping[str, int]]]


def facts_of(context: Mapping[str, Any]) -> dict[str, str]:
    """The conditions of one record as plain text, by name; packages as `package numpy`."""
    device, environment, runtime = (
        found if isinstance(found := context.get(name), Mapping) else {}
        for name in ("device", "environment", "runtime")
    )
    packages = environment.get("packages")
    told = {
        "host": context.get("host"),
        "identity": device.get("identity"),
        "driver": device.get("driver"),
        "kernel": context.get("kernel"),
        "python": environment.get("python_version"),
        "runtime_version": runtime.get("runtime_version"),
        "threads": context.get("threads"),
        "cores": context.get("cores"),
        "numa_nodes": context.get("numa_nodes"),
        "governor": context.get("governor"),
        "memory_limit_mb": context.get("memory_limit_mb"),
    }
    if isinstance(packages, Mapping):
        told |= {f"package {name}": version for name, version in packages.items()}
    return {name: shown(value) for name, value in told.items() if value is not None}


def shown(value: Any) -> str:
    """A condition as text: `inter 1, intra 2` for a mapping, `0, 1` for a list."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def count_facts(contexts: Iterable[tuple[str, Mapping[str, Any]]]) -> Contexts:
    """How often each condition was met, from (target, context of a record)."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for target, context in contexts:
        of_target = counts.setdefault(target, {})
        for name, value in facts_of(context).items():
            values = of_target.setdefault(name, {})
            values[value] = values.get(value, 0) + 1
    return counts


def differences(contexts: Contexts, words: Language) -> dict[str, Any] | None:
    """What differed between the rows of a study, and what was the same; None where nothing is known.

    Returns
    -------
    {"columns", "lines": [(target, [values])], "same": [(condition, value)], "changed": [sentences]};
    changed is what differed even between records of one device and runtime, packages included
    """
    if not contexts:
        return None
    names = words.section("environment.conditions")
    values = {
        name: [tuple(facts.get(name, {})) for facts in contexts.values()]
        for name in names
        if any(name in facts for facts in contexts.values())
    }
    differing = [name for name, each in values.items() if len(set(each)) > 1 or len(each[0]) > 1]
    lines = [
        (target, ["; ".join(facts.get(name, {})) for name in differing]) for target, facts in contexts.items()
    ]
    changed = [
        words(
            "environment.changed",
            target=target,
            condition=names.get(name) or name,
            values=words.listing(
                [words("environment.counted", value=value, count=count) for value, count in told.items()]
            ),
        )
        for target, facts in contexts.items()
        for name, told in facts.items()
        if len(told) > 1
    ]
    return {
        "columns": [names[name] for name in differing],
        "lines": lines if differing else [],
        "same": [(names[name], values[name][0][0]) for name in values if name not in differing],
        "changed": changed,
    }


def sites(plan: Mapping[str, Any], words: Language) -> list[Markup]:
    """What came from other sites, a sentence or more each."""
    found = []
    for site in plan.get("sites") or []:
        said = [
            words(
                "environment.site",
                site=site["site"],
                count=site["combinations"],
                devices=words.listing(site["devices"]),
                file=site["file"],
                version=site["hwfit_version"] or "?",
            )
        ]
        if site["runs"]:
            said.append(words("environment.runs", count=site["runs"]))
        if site["not_comparable"]:
            said.append(words("environment.not_comparable", count=site["not_comparable"]))
        if site["unpriced_currency"]:
            said.append(words("environment.unpriced_currency", other=site["unpriced_currency"]))
        found.append(Markup(" ").join(said))
    return found


def software() -> list[tuple[str, str]]:
    """Python and the packages that made this report, with their versions."""
    found = [("Python", platform.python_version())]
    for name in CONTROL_PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def environments(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each environment that a runtime ran in: its Python, and its packages with their versions."""
    found = []
    for name, environment in told.items():
        if not isinstance(environment, Mapping):
            continue
        packages = environment.get("packages")
        packages = packages if isinstance(packages, Mapping) else {}
        found.append(
            {
                "name": name,
                "python": environment.get("python_version"),
                "reason": environment.get("reason") or "",
                "packages": [f"{package} {version}" for package, version in packages.items()],
            }
        )
    return found
