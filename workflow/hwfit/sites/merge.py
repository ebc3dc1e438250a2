"""One plan of several: the study's own, and what other sites have measured, each device as `<device>@<site>`.

Pure logic on plain data. Rows are compared only where they speak of the same thing, measured in the same way.
Of each model and optimization the first site that measures it, this one before all others, says what it is;
what differs from that at another site becomes rows that are skipped, with both values and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hwfit.catalog import PASSES
from hwfit.decision_sections import Decision
from hwfit.device_sections import is_composite
from hwfit.layout import artifact_name, device_at
from hwfit.records import Cell, fingerprint, protocol_parts
from hwfit.sections import HERE

# Of `measurement`, what changes a figure; and in the scenario server.
SETTINGS = ("relative_ci", "min_seconds", "max_seconds")
SERVER_SETTINGS = (*SETTINGS, "server_seconds")
# What a model's card says of what was measured, in words.
MODEL_SUMS = {"weights_sha256": "weights", "evaluation_sha256": "evaluation data", "code_sha256": "code"}
CARRY = (
    "measure it with the same at both: `snakemake export --config artifacts=true` at one site, and "
    "`artifacts_from` in the config of the other"
)


@dataclass(frozen=True)
class Party:
    """What one site has measured: its study, combinations and runs of training, and the cards of what it ran.

    `name` is the site's; of the one that decides, `here`.
    """

    name: str
    study: Mapping[str, Any]
    combinations: Sequence[Mapping[str, Any]]
    cards: Mapping[str, Mapping[str, Any]]
    runs: Sequence[Mapping[str, Any]] = ()

    @property
    def place(self) -> str:
        """Where it is, as a message says it."""
        return self.name if self.name == HERE else f"at {self.name}"

    @cached_property
    def models(self) -> set[str]:
        return {entry["model"] for entry in [*self.combinations, *self.runs]}

    @cached_property
    def devices(self) -> set[str]:
        return {entry["device"] for entry in [*self.combinations, *self.runs]}

    @cached_property
    def optimizations(self) -> set[str]:
        return {entry["optimization"] for entry in self.combinations}

    def settings(self, scenario: str) -> dict[str, Any]:
        """What a scenario is measured with."""
        names = SERVER_SETTINGS if scenario == "server" else SETTINGS
        return {name: self.study["config"]["measurement"].get(name) for name in names}

    def limits_ms(self, model: str, scenario: str) -> dict[str, float] | None:
        """The limits that the rate in the scenario server keeps; None elsewhere."""
        if scenario != "server":
            return None
        return Decision.model_validate(self.study["config"]["decision"]).percentile_limits_of(model)

    def protocol(self, model: str, scenario: str) -> str:
        """How a row is measured by this site's config."""
        limits = self.limits_ms(model, scenario)
        return fingerprint(*protocol_parts(self.settings(scenario), scenario, limits))

    def passes(self, optimization: str) -> list[Any]:
        return self.study["optimizations"][optimization]["passes"]

    def card(self, place: str) -> Mapping[str, Any]:
        """A card, where it says that something was made."""
        card = self.cards.get(place, {})
        return card if card.get("status", "ok") == "ok" else {}

    def failed(self, place: str) -> bool:
        """Whether something should have been made and was not, as the rows that use it say themselves."""
        return place in self.cards and not self.card(place)


def merged(
    plan: Mapping[str, Any], sites: Sequence[Mapping[str, Any]], cards: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The plan with what other sites have measured.

    Parameters
    ----------
    plan : of this site, as `matrix.Plan.to_dict` gives it
    sites : what `lay.import_site` gave of each
    cards : of the models and artifacts that this site measures, by their folder below results/
    """
    study = plan["study"]
    trained = list(plan.get("training", []))
    here = Party(HERE, study, plan["combinations"], cards, trained)
    others = [
        Party(site["site"], site["study"], site["combinations"], site["cards"], site.get("training", []))
        for site in sites
    ]
    parties = [each for each in (here, *others) if each.combinations or each.runs]
    combinations, devices, told = list(plan["combinations"]), dict(study["devices"]), []
    for site, party in zip(sites, others, strict=True):
        entries = [imported(entry, party, site["protocols"], parties) for entry in party.combinations]
        combinations += entries
        # What of them is comparable is told by their records (`training.collect`).
        trained += [{**run, "device": device_at(run["device"], party.name)} for run in party.runs]
        devices |= devices_of(party, study["config"]["cost"])
        told.append(
            {name: site[name] for name in ("site", "file", "digest", "hwfit_version")}
            | {
                "devices": sorted(party.devices),
                "combinations": len(entries),
                "runs": len(party.runs),
                "not_comparable": sum(
                    not before["status"] and bool(after["status"])
                    for before, after in zip(party.combinations, entries, strict=True)
                ),
                "unpriced_currency": unpriced_currency(party, study["config"]["cost"]),
            }
        )
    # A definition is that of the first who uses it.
    defined = {kind: dict(study[kind]) for kind in ("models", "optimizations")}
    for party in reversed(parties):
        defined["models"] |= {name: party.study["models"][name] for name in party.models}
        defined["optimizations"] |= {name: party.study["optimizations"][name] for name in party.optimizations}
    return {
        **plan,
        "study": {**study, **defined, "devices": devices},
        "combinations": combinations,
        "training": trained,
        "sites": told,
    }


def imported(
    entry: Mapping[str, Any], party: Party, protocols: Mapping[str, str], parties: Sequence[Party]
) -> dict[str, Any]:
    """A combination of another site as the merged plan has it."""
    found = {**entry, "device": device_at(entry["device"], party.name)}
    if entry["status"]:
        return found
    cell = Cell(**{name: entry[name] for name in Cell.__dataclass_fields__})
    protocol = protocols.get(f"{cell.path}/bs{entry['batch_size']}")
    # One that trains alone says nothing of how inference is measured.
    lead = first((each for each in parties if each.combinations), party)
    reasons = [*other_subjects(cell, party, parties), *other_protocols(cell, party, lead, protocol)]
    return found | ({"status": "skipped", "reason": "; ".join(reasons)} if reasons else {})


def other_subjects(cell: Cell, party: Party, parties: Sequence[Party]) -> Iterator[str]:
    """Why a cell of a site does not speak of what other sites measured under these names."""
    lead = first((each for each in parties if cell.optimization in each.optimizations), party)
    passes, known = party.passes(cell.optimization), lead.passes(cell.optimization)
    if passes != known:
        said = f"{cell.optimization} is {words_of(passes)} {party.place}"
        theirs = f"{words_of(known)} {lead.place}"
        yield f"{said} and {theirs}; give one of them another name, or both the same passes"
    place = f"models/{cell.model}"
    lead = first((each for each in parties if cell.model in each.models and each.card(place)), party)
    task, wanted = (each.study["models"][cell.model]["task"] for each in (party, lead))
    if task != wanted:
        yield f"{cell.model} is for {task} {party.place} and for {wanted} {lead.place}; name them apart"
        return
    if party.failed(place):
        return
    sums = {key: [each.card(place).get(key) for each in (party, lead)] for key in MODEL_SUMS}
    differing = [
        f"{MODEL_SUMS[key]} {short(mine)} {party.place} and {short(theirs)} {lead.place}"
        for key, (mine, theirs) in sums.items()
        if mine != theirs
    ]
    if differing:
        yield f"{cell.model} has {', '.join(differing)}; {CARRY}"
        return
    place = f"artifacts/{cell.model}/{artifact_of(passes)}"
    lead = first((each for each in parties if each.card(place)), party)
    made, there = (each.card(place).get("weights_sha256") for each in (party, lead))
    if made != there and not party.failed(place):
        said = f"{cell.optimization} made weights {short(made)} of {cell.model} {party.place}"
        yield f"{said} and {short(there)} {lead.place}; {CARRY}"


def other_protocols(cell: Cell, party: Party, lead: Party, found: str | None) -> Iterator[str]:
    """Why a cell of a site was not measured as the first site measures it; `found` is what its record says,
    None where it has no record.
    """
    wanted = lead.protocol(cell.model, cell.scenario)
    if found in (None, wanted):
        return
    ours, theirs = lead.settings(cell.scenario), party.settings(cell.scenario)
    differing = [
        f"measurement.{name} is {theirs[name]} {party.place} and {ours[name]} {lead.place}"
        for name in ours
        if ours[name] != theirs[name]
    ]
    limits = [each.limits_ms(cell.model, cell.scenario) for each in (party, lead)]
    if limits[0] != limits[1]:
        differing.append(
            f"the limits on percentiles are {limits[0]} ms {party.place} and {limits[1]} ms {lead.place}"
        )
    if differing:
        yield f"{', '.join(differing)}; set them equal, measure again and export again"
    else:
        said = f"its protocol is {found} {party.place} and {wanted} {lead.place}"
        yield f"{said}; measure again there with the hwfit of here, and export again"


def first(parties: Iterable[Party], otherwise: Party) -> Party:
    return next(iter(parties), otherwise)


def artifact_of(passes: Sequence[Mapping[str, Any]]) -> str:
    """The name of what the artifact passes among some passes make; empty where there are none."""
    return artifact_name([dict(step) for step in passes if PASSES[step["pass"]].kind == "artifact"])


def words_of(passes: Sequence[Mapping[str, Any]]) -> str:
    """Passes as a message names them."""
    named = []
    for step in passes:
        more = ", ".join(f"{k}: {v}" for k, v in step.items() if k != "pass" and v is not None)
        named.append(step["pass"] + (f" ({more})" if more else ""))
    return " and ".join(named) or "no pass"


def short(value: Any) -> str:
    """A checksum as a message names it."""
    if value is None:
        return "unknown"
    return value[:12] if isinstance(value, str) else fingerprint(value)[:12]


def devices_of(party: Party, cost: Mapping[str, Any]) -> dict[str, Any]:
    """A site's devices by the names that they have here, with the prices that hold here."""
    known = party.study["devices"]
    members = {member_of(member) for name in party.devices for member in known[name].get("members", [])}
    found = {}
    for name in sorted(party.devices | members):
        here, device = device_at(name, party.name), dict(known[name])
        if is_composite(device):
            device["members"] = [renamed(member, party.name) for member in device["members"]]
        if here in cost["site_prices"]:
            device |= {"price_per_hour": cost["site_prices"][here]}
            device.pop("owned", None)
        elif currency_of(party) != cost["currency"]:
            device.pop("price_per_hour", None)
            device.pop("owned", None)
        found[here] = device
    return found


def member_of(member: Any) -> str:
    """The name of a composite's member, however it was written."""
    return member["device"] if isinstance(member, Mapping) else member


def renamed(member: Any, site: str) -> Any:
    here = device_at(member_of(member), site)
    return {**member, "device": here} if isinstance(member, Mapping) else here


def currency_of(party: Party) -> str:
    return party.study["config"]["cost"]["currency"]


def unpriced_currency(party: Party, cost: Mapping[str, Any]) -> str | None:
    """The currency in which a site has prices that cannot be taken over; None where all can."""
    known = party.study["devices"]
    priced = [name for name in party.devices if known[name].get("price_per_hour") or known[name].get("owned")]
    left_out = [name for name in priced if device_at(name, party.name) not in cost["site_prices"]]
    return currency_of(party) if left_out and currency_of(party) != cost["currency"] else None
