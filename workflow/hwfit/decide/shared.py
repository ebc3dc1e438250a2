"""One device for several models: which serves all of them best.

On each device every model takes its own best combination, under its own limits and objective. Devices are
compared by the geometric mean of the models' figures, so that ten percent count the same in each model,
small or large; each model counts once, however many scenarios it has. A device on which some model has no
combination that fits is out, and so is one whose memory the models together exceed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwfit.decide.candidate import Candidate
from hwfit.decide.choice import TIE_SHARE, Decision, decide_among
from hwfit.decide.energy_scopes import REMEDY, scope_of, width
from hwfit.decide.limits import Bound
from hwfit.decide.objectives import Objective, worlds_of

Question = tuple[str, str]
Wishes = Mapping[str, tuple[str | Mapping[str, float], Mapping[str, Bound]]]


@dataclass
class SharedDecision:
    """The answer for a set of models.

    Attributes
    ----------
    others : the devices that are not the answer, and why
    choices : on the device that is, the answer of each model and scenario
    """

    name: str
    models: Sequence[str]
    verdict: str
    summary: str
    device: str | None = None
    probability_best: float | None = None
    tied: list[str] = field(default_factory=list)
    choices: list[Candidate] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)


def decide_shared(
    name: str,
    models: Sequence[str],
    groups: Mapping[Question, Sequence[Candidate]],
    wishes: Wishes,
    memory_mb: Mapping[str, float | None],
) -> SharedDecision:
    """Decide for a set of models that must run on one device.

    Parameters
    ----------
    groups : the candidates of each model and scenario; their verdicts are left as they are
    wishes : objective and limits of each model
    memory_mb : of each device; None where it is not known, which excludes nothing
    """
    questions = {key: group for key, group in groups.items() if key[0] in models}
    devices = list(dict.fromkeys(c.row.cell.device for group in questions.values() for c in group))
    fitting: dict[str, dict[Question, Decision]] = {}
    others: list[tuple[str, str]] = []
    for device in devices:
        answers, why = answers_on(device, questions, wishes)
        if not why and answers:
            why = too_large(answers, memory_mb.get(device))
        if why:
            others.append((device, why))
        else:
            fitting[device] = answers
    others += apart_by_scope(fitting)
    listed = ", ".join(models)
    if not fitting:
        said = "; ".join(f"{device}: {why}" for device, why in others)
        return SharedDecision(
            name, models, "none", f"No device serves {listed} together. {said}.", others=others
        )
    worlds = worlds_of_devices(fitting)
    centres = np.median(worlds, axis=0)
    leader = int(np.argmax(centres))
    behind = (worlds >= worlds[:, [leader]]).mean(axis=0)
    names = list(fitting)
    tied = [device for device, share in zip(names, behind, strict=True) if share >= TIE_SHARE]
    # A price that is not known makes nothing cheaper.
    prices = {device: price_of(fitting[device]) for device in tied}
    knows_prices = all(price is not None for price in prices.values())
    chosen = min(
        tied, key=lambda device: (prices[device] if knows_prices else 0.0, -centres[names.index(device)])
    )
    probability = float((worlds.argmax(axis=1) == names.index(chosen)).mean())
    for device, centre in zip(names, centres, strict=True):
        if device != chosen:
            gap = 1 - np.exp(centre - centres[names.index(chosen)])
            told = f"{abs(gap):.1%} {'behind' if gap > 0 else 'ahead'} in the geometric mean over the models"
            others.append((device, f"{told}, too little to tell them apart" if device in tied else told))
    rule = "cheapest" if knows_prices else "best"
    sure = (
        f"{len(tied)} devices cannot be told apart; this is the {rule} of them"
        if len(tied) > 1
        else f"Best with probability {probability:.0%}"
        if len(names) > 1
        else "The only device that fits all of them"
    )
    return SharedDecision(
        name,
        models,
        "chosen",
        f"Run {listed} together on {chosen}. {sure}.",
        chosen,
        probability,
        [device for device in tied if device != chosen],
        [c for answer in fitting[chosen].values() if (c := answer.chosen)],
        others,
    )


def apart_by_scope(fitting: dict[str, dict[Question, Decision]]) -> list[tuple[str, str]]:
    """Take out the devices whose energy, where it is sought, is of other scopes than that of most; returns
    them with the reason.
    """
    scopes = {
        device: tuple(
            scope_of(answer.chosen.line)
            for answer in answers.values()
            if answer.chosen and answer.objective.seeks("energy")
        )
        for device, answers in fitting.items()
    }
    counts = Counter(scopes.values())
    most = max(counts, key=lambda each: (counts[each], [width(scope) for scope in each]), default=())
    apart = [device for device, each in scopes.items() if each != most]
    for device in apart:
        del fitting[device]
    return [
        (device, f"its energy is of the {', '.join(dict.fromkeys(scopes[device]))}: {REMEDY}")
        for device in apart
    ]


def answers_on(
    device: str, questions: Mapping[Question, Sequence[Candidate]], wishes: Wishes
) -> tuple[dict[Question, Decision], str]:
    """The answer to each question on one device, and why the device is out; empty where it is not."""
    answers: dict[Question, Decision] = {}
    for (model, scenario), group in questions.items():
        here = [copied(c) for c in group if c.row.cell.device == device]
        wanted, limits = wishes[model]
        answer = decide_among(model, here, Objective.of(wanted, scenario), limits)
        if answer.verdict != "chosen":
            proven = "is proven to meet" if answer.verdict == "provisional" else "meets"
            return {}, f"no combination of {model} {proven} every limit there"
        answers[model, scenario] = answer
    return answers, ""


def copied(candidate: Candidate) -> Candidate:
    """A candidate whose verdict may be changed without harm."""
    return Candidate(
        candidate.row,
        candidate.line,
        candidate.passes,
        candidate.price,
        baseline=candidate.baseline,
        fixed_per_hour=candidate.fixed_per_hour,
    )


def too_large(answers: Mapping[Question, Decision], memory_mb: float | None) -> str:
    """Why the models do not fit into a device together; empty where they do, or where nobody knows.

    A model runs one scenario at a time, so it counts with the one that takes the most.
    """
    peaks: dict[str, float] = {}
    for (model, _), answer in answers.items():
        peak = answer.chosen.line.get("peak_memory_mb") if answer.chosen else None
        peaks[model] = max(peaks.get(model, 0.0), peak or 0.0)
    total = sum(peaks.values())
    if memory_mb is None or total <= memory_mb:
        return ""
    return f"together they take {total:.4g} MB, it has {memory_mb:.4g} MB"


def worlds_of_devices(fitting: Mapping[str, Mapping[Question, Decision]]) -> np.ndarray:
    """Plausible scores of each device, shape (draws, devices): the mean over models of the mean over their
    scenarios.
    """
    chosen: list[Candidate] = []
    scores: list[float] = []
    shares = np.zeros((sum(len(answers) for answers in fitting.values()), len(fitting)))
    for column, answers in enumerate(fitting.values()):
        models = [model for model, _ in answers]
        for (model, _), answer in answers.items():
            assert answer.chosen
            shares[len(chosen), column] = 1 / models.count(model) / len(set(models))
            chosen.append(answer.chosen)
            scores.append(answer.objective.score(answer.chosen))
    return np.concatenate([worlds @ shares for worlds in worlds_of(chosen, np.array(scores))])


def price_of(answers: Mapping[Question, Decision]) -> float | None:
    """The device's price an hour; None where it is not known."""
    return next((answer.chosen.price for answer in answers.values() if answer.chosen), None)
