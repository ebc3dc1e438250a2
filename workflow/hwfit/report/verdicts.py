"""The verdict cards: what to run a model on, how fast and how right that is, and how sure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup

from hwfit.costs import money
from hwfit.report import numbers
from hwfit.report.answers import limits_for
from hwfit.report.goals import SHARES, asked_of, goal, limit, limit_value, objectives_of
from hwfit.report.language import Language
from hwfit.report.numbers import MISSING, number
from hwfit.report.prices import hourly, price_table
from hwfit.report.table import HIGHER_IS_BETTER, LOWER_IS_BETTER


@dataclass(frozen=True)
class Figure:
    """A key figure: its name and unit, its value, and what to know about it."""

    label: str
    unit: str
    value: str
    note: str
    is_objective: bool = False
    is_sourced: bool = False


@dataclass
class Card:
    """All that a model's card shows."""

    model: str
    question: str
    task: str
    scenario: str
    verdict: str
    badge: str
    headline: Markup
    device_name: str
    figures: list[Figure]
    sentences: list[Markup]
    goal: Markup | None = None
    changes: list[Markup] = field(default_factory=list)
    others: list[Markup] = field(default_factory=list)
    others_title: str = ""
    evidence: list[Mapping[str, str]] = field(default_factory=list)
    launch: Mapping[str, str] | None = None
    prices: list[dict[str, Markup]] = field(default_factory=list)


def cards(recommendation: dict[str, Any], rows: pd.DataFrame, words: Language) -> list[Card]:
    """A card for each answer of the recommendation: of a model, in a scenario. `rows` tell its task."""
    return [card(entry, recommendation, rows, words) for entry in recommendation.get("models") or []]


def card(
    entry: Mapping[str, Any], recommendation: dict[str, Any], rows: pd.DataFrame, words: Language
) -> Card:
    """The card of one answer."""
    model, scenario = str(entry.get("model", "")), text(entry.get("scenario"))
    own = rows[rows["model"] == model]
    if scenario:
        own = own[own["scenario"] == scenario]
    task, question = (own[column].iloc[0] if len(own) else "" for column in ("task", "question"))
    chosen = entry.get("chosen") or {}
    verdict = str(entry.get("verdict"))
    if not chosen or verdict not in ("chosen", "provisional"):
        verdict = "none"
    tied, misses = entry.get("tied") or [], entry.get("nearest_misses") or []
    asked = asked_of(entry, recommendation)
    objective = str(asked.get("objective") or "throughput")
    own_goal = goal(asked, words)
    if verdict == "none":
        # The misses are listed with what each breaks; beside them only the advice says something new.
        told = entry.get("advice") if misses and "advice" in entry else entry.get("summary")
        headline, figures, sentences = words("verdict.none"), [], [as_written(told)] if told else []
    else:
        headline = words("verdict.headline", **named(chosen, words))
        limits = limits_for(recommendation, model, scenario)
        figures = key_figures(chosen, objectives_of(asked), limits, words)
        sentences = doubts(entry, objective, words)
        if verdict == "provisional":
            reason = chosen.get("reason") or entry.get("summary") or ""
            sentences = [words("verdict.provisional", reason=as_written(reason)), *sentences]
    others, title = [], ""
    if tied:
        others, title = [line(row, objective, words) for row in tied], words("verdict.tied_rows")
    elif misses:
        others, title = [missed(row, objective, words) for row in misses], words("verdict.nearest_misses")
    return Card(
        model=model,
        question=question,
        scenario=(words.find("scenarios", scenario) or scenario) if question != model else "",
        task=words.find("tasks", task) or task,
        verdict="tied" if verdict == "chosen" and tied else verdict,
        badge=badge(verdict, entry, words),
        headline=headline,
        device_name=text(chosen.get("device_name")),
        figures=figures,
        sentences=sentences,
        # What all are asked for stands once, above the cards.
        goal=own_goal if own_goal != goal(recommendation, words) else None,
        changes=[
            change(each, objective, words) for each in entry.get("sensitivity") or [] if not is_final(each)
        ],
        others=others,
        others_title=title,
        evidence=entry.get("limits") or [] if verdict != "none" else [],
        launch=entry.get("launch") if verdict != "none" else None,
        prices=price_table(entry, words),
    )


def badge(verdict: str, entry: Mapping[str, Any], words: Language) -> str:
    """A word or two for the corner of the card."""
    probability = number(entry.get("probability_best"))
    if verdict == "chosen" and entry.get("tied"):
        return words("badge.tied")
    if verdict == "chosen" and probability is not None:
        return words("badge.sure", share=percent(probability))
    return words(f"badge.{verdict}")


def doubts(entry: Mapping[str, Any], objective: str, words: Language) -> list[Markup]:
    """How sure the choice is, and what comes next to it."""
    sentences = []
    tied = entry.get("tied") or []
    probability, margin = number(entry.get("probability_best")), number(entry.get("margin"))
    if tied:
        sentences.append(words("verdict.tied", count=len(tied)))
    elif probability is not None:
        sentences.append(words("verdict.probability", share=percent(probability)))
    runner_up = entry.get("runner_up")
    if runner_up and not tied:
        key = "verdict.runner_up" if margin is None else "verdict.ahead"
        ahead = MISSING if margin is None else percent(margin)
        sentences.append(words(key, margin=ahead, row=line(runner_up, objective, words)))
    elif not tied and not entry.get("nearest_misses"):
        sentences.append(words("verdict.alone"))
    return sentences


def key_figures(
    row: Mapping[str, Any], objectives: Collection[str], limits: Mapping[str, Any], words: Language
) -> list[Figure]:
    """Speed with its interval, then at once what it costs in accuracy, then memory, energy and price."""
    p50, low, high = (number(row.get(f"latency_{name}_ms")) for name in ("p50", "p50_ci_low", "p50_ci_high"))
    rate = number(row.get("throughput_samples_per_s"))
    least, most = (number(row.get(f"throughput_ci_{end}_samples_per_s")) for end in ("low", "high"))
    latency_range = numbers.interval(low, high) if low and high else ""
    rate_range = numbers.interval(least, most) if least and most else ""

    def make(name: str, value: str, note: str = "", objective_name: str = "") -> Figure:
        return Figure(
            words(f"figures.{name}.label"),
            words(f"figures.{name}.unit") if value != MISSING else "",
            value,
            note,
            is_objective=objective_name in objectives,
            is_sourced=name == "energy",
        )

    figures = [
        make("throughput", numbers.figure(rate), rate_range, "throughput"),
        make("latency", numbers.figure(p50), latency_range, "latency"),
    ]
    for tail in ("p90", "p99"):
        value = number(row.get(f"latency_{tail}_ms"))
        limit = number(limits.get(f"latency_{tail}_ms"))
        if value is not None and (tail == "p90" or limit is not None):
            note = words("figures.at_most", limit=numbers.figure(limit)) if limit is not None else ""
            figures.append(make(tail, numbers.figure(value), note))
    if number(row.get("accuracy")) is not None:
        figures.append(make("accuracy", numbers.share(row["accuracy"]), drop_note(row, words)))
    fidelity = number(row.get("fidelity"))
    if fidelity is not None or number(row.get("accuracy")) is None:
        note = words("figures.agreement") if fidelity is not None else words("figures.not_measured")
        figures.append(make("fidelity", numbers.share(fidelity), note))
    size = number(row.get("model_size_mb"))
    note = "" if size is None else words("figures.weights", size=numbers.figure(size))
    figures.append(make("memory", numbers.figure(row.get("peak_memory_mb")), note))
    if number(row.get("energy_j_per_sample")) is not None:
        metered = ", ".join(filter(None, (text(row.get(f"energy_{name}")) for name in ("scope", "source"))))
        figures.append(make("energy", numbers.figure(row["energy_j_per_sample"]), metered, "energy"))
    if number(row.get("cost_per_million")) is not None:
        note = hourly(row.get("price_per_hour"), words)
        figures.append(make("cost", numbers.figure(row["cost_per_million"]), note, "cost"))
    return sorted(figures, key=lambda each: not each.is_objective)


def drop_note(row: Mapping[str, Any], words: Language) -> str:
    """Accuracy against the fp32 reference, in words."""
    drop = number(row.get("accuracy_drop"))
    if drop is None:
        return ""
    if abs(drop) < 5e-5:
        return words("figures.no_drop")
    return words("figures.drop" if drop > 0 else "figures.gain", points=numbers.points(abs(drop)))


def line(row: Mapping[str, Any], objective: str, words: Language) -> Markup:
    """A row in one line: what it is, its speed, and its quality beside it."""
    columns = HIGHER_IS_BETTER | LOWER_IS_BETTER
    # A mix has no figure of its own.
    objective = objective if objective in columns else "throughput"
    column = columns[objective]
    facts = []
    if number(row.get(column)) is not None:
        unit = words(f"verdict.units.{objective}")
        facts.append(Markup("{} {}").format(numbers.figure(row[column]), unit))
    for name in ("accuracy", "fidelity"):
        if number(row.get(name)) is not None:
            facts.append(words(f"verdict.{name}", share=numbers.share(row[name])))
    shown = Markup("<b>{}</b>").format(short_name(row))
    if facts:
        shown += Markup(" ({})").format(words.listing(facts))
    return shown


def missed(row: Mapping[str, Any], objective: str, words: Language) -> Markup:
    """A row in one line with the limit it breaks."""
    shown = line(row, objective, words)
    if text(row.get("reason")):
        shown += Markup(": {}").format(as_written(row["reason"]))
    return shown


def is_final(entry: Mapping[str, Any]) -> bool:
    """Whether a change says that an answer holds as far as its limit can go at all: nothing changes there."""
    if (entry.get("kind"), entry.get("direction")) != ("limit", "tighter"):
        return False
    at, name = number(entry.get("at")), entry.get("name")
    return at is not None and ((name == "min_fidelity" and at >= 1) or (name in SHARES and at <= 0))


def change(entry: Mapping[str, Any], objective: str, words: Language) -> Markup:
    """What may move until the answer changes, and what then: the row that would win, or that none would.

    What is told in another way than it is known here stands as the decision wrote it.
    """
    kind, direction, name = (str(entry.get(key)) for key in ("kind", "direction", "name"))
    at, now = number(entry.get("at")), number(entry.get("current"))
    then = entry.get("then")
    row = line(then, objective, words) if then else words("change.none")
    if at is not None and kind == "price" and direction in ("cheaper", "dearer"):
        price, key = money(at, words.currency, down=True), direction if now is not None else "unpriced"
        old = "" if now is None else money(now, words.currency)
        return words(f"change.{key}", device=name, price=price, old=old, row=row)
    if at is None or now is None:
        return as_written(entry.get("text") or "")
    if kind == "limit" and direction in ("looser", "tighter"):
        key = "tighter_least" if direction == "tighter" and name.startswith("min_") else direction
        old = limit_value(name, now, words)
        return words(f"change.{key}", limit=limit(name, at, words), old=old, row=row)
    if kind == "quality" and name in SHARES:
        room = numbers.exact(float(f"{100 * abs(at - now):.3g}"))
        return words(f"change.{name}", room=room, limit=limit(name, at, words))
    return as_written(entry.get("text") or "")


def as_written(sentence: Any) -> Markup:
    """Words that the decision wrote, which are English in every language of the report."""
    return Markup('<span lang="en">{}</span>').format(sentence)


def short_name(row: Mapping[str, Any]) -> str:
    """A combination as one glance reads it: device, runtime, optimization, times the batch size."""
    parts = [text(row.get(name)) for name in ("device", "runtime", "optimization")]
    batch = f"{numbers.TIMES}\N{THIN SPACE}{numbers.count(row.get('batch_size'))}"
    return " · ".join([*parts, batch])


def named(row: Mapping[str, Any], words: Language) -> dict[str, str]:
    """The parts of a combination as the headline puts them."""
    parts = {name: text(row.get(name)) for name in ("device", "runtime")}
    optimization = text(row.get("optimization"))
    parts["optimization"] = words.find("optimizations", optimization) or optimization
    return parts | {"batch_size": numbers.count(row.get("batch_size"))}


def percent(value: float) -> str:
    """A probability or margin as a reader wants it; certainty is never claimed."""
    if 0.99 < value < 1.01:
        return ">99%" if value <= 1 else "100%"
    return f"{100 * value:.0f}%" if value >= 0.095 else f"{100 * value:.1f}%"


def text(value: Any) -> str:
    """Text of a cell; nothing for an empty one."""
    return "" if value is None or value != value else str(value)
