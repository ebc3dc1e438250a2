"""What is wrong with the sites of a config, said before any job starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hwfit.config_errors import ConfigError, listed, nearest, shown
from hwfit.costs import tariff_of
from hwfit.input_checks import Finding
from hwfit.layout import device_at
from hwfit.sections import Config, Model
from hwfit.sites.lay import artifacts_in, cards_of, files_of, mapping_in, merged_members
from hwfit.sites.read import Export, ExportError


def exports_of(config: Config) -> dict[str, Export]:
    """The exports of a config by the name of their site; those that cannot be read are left out, since
    `check_sites` speaks of them.
    """
    found = {}
    for path in config.sites:
        try:
            export = Export.open(path)
            _ = export.plan
        except ExportError:
            continue
        found[export.site] = export
    return found


def check_sites(config: Config) -> Iterator[Finding]:
    """Each export can be read and is of a site of its own; prices are for devices that there are."""
    first: dict[str, int] = {}
    for index, path in enumerate(config.sites):
        place = ("sites", index)
        try:
            export = Export.open(path)
            _ = export.plan
        except ExportError as error:
            yield place, f"is {shown(path)}: {error}"
            continue
        if export.site == config.site:
            message = f"is {shown(path)}, which comes from the site {shown(export.site)}"
            yield place, f"{message}, as this one is called; give one of the two another name (`site`)"
        elif export.site in first:
            message = f"is {shown(path)}, which comes from the site {shown(export.site)}"
            again = f"{message}, as sites[{first[export.site]}] does; merge each site once"
            yield place, f"{again}, or give one of them another name and export it again"
        first.setdefault(export.site, index)
    known = [
        device_at(device, export.site) for export in exports_of(config).values() for device in export.devices
    ]
    for name in config.cost.site_prices:
        if name not in known:
            message = f"is no device of the sites that are merged; they have {listed(known)}"
            yield ("cost", "site_prices", name), f"{message}{nearest(name, known)}"


def is_priced_elsewhere(config: Config) -> bool:
    """Whether a device of another site has a price that counts here."""
    return any(
        export.study.config.cost.currency == config.cost.currency and tariff_of(export.study.devices, device)
        for export in exports_of(config).values()
        for device in export.devices
    ) or bool(config.cost.site_prices)


def check_artifacts(config: Config, models: Mapping[str, Model]) -> Iterator[Finding]:
    """What is taken over in place of being made is there, and is of the models that are asked for."""
    path = config.artifacts_from
    if path is None:
        return
    place = ("artifacts_from",)
    try:
        export = Export.open(path)
        cards = {
            name.split("/")[1]: mapping_in(content) or {}
            for name, content in export.read_all(cards_of(export))
            if name.startswith("models/")
        }
    except ExportError as error:
        yield place, f"is {shown(path)}: {error}"
        return
    if not export.has_artifacts:
        message = f"is {shown(path)}, which was written without artifacts"
        yield place, f"{message}; `snakemake export --config artifacts=true` at {export.site} puts them in"
        return
    if config.model_names and not set(cards) & set(config.model_names):
        message = f"is {shown(path)}, which has none of the models of the matrix"
        yield place, f"{message}; it has {listed(sorted(cards))}"
    for name in sorted(set(cards) & set(models)):
        card, model = cards[name], models[name]
        source = card.get("source")
        there = card.get("task"), source.get("zoo") if isinstance(source, Mapping) else None
        here = model.task, next((source.zoo for source in model.sources.values() if source.zoo), None)
        if card.get("status") == "ok" and there != here:
            said = f"which has {name} as {described(*there)}, and models.yaml as {described(*here)}"
            yield place, f"is {shown(path)}, {said}; give one of them another name"


def described(task: str | None, zoo: str | None) -> str:
    return f"{zoo or 'a model of its own'} for {task}"


def taken_artifacts(config: Config) -> list[str]:
    """The models and artifacts that are taken over in place of being made, as folders below results/.

    Raises ConfigError where the file is damaged.
    """
    if not config.artifacts_from:
        return []
    try:
        return artifacts_in(Export.open(config.artifacts_from))
    except ExportError as error:
        raise ConfigError(f"artifacts_from is {shown(config.artifacts_from)}: {error}") from None


def require_intact(config: Config) -> None:
    """Read every member that will be taken over. Raises ConfigError that names the one that is damaged."""
    problems = []
    files = [(f"sites[{index}]", path) for index, path in enumerate(config.sites)]
    files += [("artifacts_from", config.artifacts_from)] if config.artifacts_from else []
    for key, path in files:
        try:
            export = Export.open(path)
            if key == "artifacts_from":
                names = [name for place in artifacts_in(export) for name in files_of(export, place)]
            else:
                names = merged_members(export)
            export.require_intact(names)
        except ExportError as error:
            problems.append(f"{key} is {shown(path)}: {error}")
    if problems:
        raise ConfigError(*problems)
