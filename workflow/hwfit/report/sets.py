"""The cards of sets: one device for several models, because only one is bought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hwfit.report.language import Language
from hwfit.report.numbers import number
from hwfit.report.verdicts import as_written, line, percent, text


@dataclass(frozen=True)
class SetCard:
    """All that the card of a set shows."""

    name: str
    models: str
    verdict: str
    badge: str
    headline: Markup
    summary: Markup | None
    tied: Markup | None
    choices: list[tuple[str, Markup]]
    others: list[tuple[str, Markup]]


def set_cards(recommendation: Mapping[str, Any], words: Language) -> list[SetCard]:
    """A card for each set of the recommendation; none where it has none."""
    return [set_card(entry, recommendation, words) for entry in recommendation.get("sets") or []]


def set_card(entry: Mapping[str, Any], recommendation: Mapping[str, Any], words: Language) -> SetCard:
    """The card of one set."""
    device, probability = text(entry.get("device")), number(entry.get("probability_best"))
    is_chosen = bool(device) and entry.get("verdict") != "none"
    badge = words("badge.chosen" if is_chosen else "badge.none")
    if is_chosen and entry.get("tied"):
        badge = words("badge.tied")
    elif is_chosen and probability is not None and entry.get("others"):
        badge = words("badge.sure", share=percent(probability))
    scenarios = {text(row.get("scenario")) for row in entry.get("choices") or []}
    objective = str(recommendation.get("objective") or "throughput")
    return SetCard(
        name=text(entry.get("name")),
        models=", ".join(map(str, entry.get("models") or [])),
        verdict="chosen" if is_chosen else "none",
        badge=badge,
        headline=words("sets.headline", device=device) if is_chosen else words("sets.none"),
        summary=as_written(entry["summary"]) if entry.get("summary") else None,
        tied=words("sets.tied", devices=words.listing(entry["tied"])) if entry.get("tied") else None,
        choices=[
            (choice_name(row, words, len(scenarios) > 1), line(row, objective, words))
            for row in entry.get("choices") or []
        ],
        others=[
            (text(other.get("device")), as_written(text(other.get("reason"))))
            for other in entry.get("others") or []
        ],
    )


def choice_name(row: Mapping[str, Any], words: Language, tells_scenario: bool) -> str:
    """The model of a choice, and its scenario where there are several."""
    model, scenario = text(row.get("model")), text(row.get("scenario"))
    if not tells_scenario:
        return model
    return f"{model} · {words.find('scenarios', scenario) or scenario}"
