"""Energy of different scopes is never ranked: a board's joules are not those of the node that it is in.

Where energy is sought and rows were metered in several scopes, the answer is among those of one of them: the
one that most rows have, and of equals the widest. What was metered otherwise is `unproven`, not beaten. Of a
composite of several kinds the scopes are joined (`package+board`), and are a scope of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hwfit.catalog import POWER_SCOPES
from hwfit.decide.candidate import Candidate
from hwfit.decide.objectives import Objective

# Columns that say nothing without their scope.
COLUMNS = ("power_w", "energy_j_per_sample")
REMEDY = "to compare them, give every device a power_command with the same power_scope"


def scope_of(line: Mapping[str, Any]) -> str:
    """What a row's energy is that of; empty where nothing says so."""
    return line.get("energy_scope") or ""


def metered_words(line: Mapping[str, Any]) -> str:
    """Scope and source of a row's energy, for a sentence."""
    return ", ".join(filter(None, (scope_of(line), line.get("energy_source")))) or "of an unknown scope"


def rankable_scope(candidates: Sequence[Candidate]) -> str:
    """The scope whose rows can be ranked: that of most rows that meet every limit (of most rows, where none
    does), the widest among equals.
    """
    fitting = [c for c in candidates if all(finding.verdict == "met" for finding in c.findings)]
    counts = Counter(scope_of(candidate.line) for candidate in fitting or candidates)
    return max(counts, key=lambda scope: (counts[scope], width(scope), scope), default="")


def width(scope: str) -> int:
    """How much of a machine a scope takes in; one that is joined, as much as its widest part."""
    return max((POWER_SCOPES.index(part) for part in scope.split("+") if part in POWER_SCOPES), default=-1)


def comparable(
    candidates: Sequence[Candidate], objective: Objective, chosen: Candidate | None = None
) -> list[Candidate]:
    """Those that the objective can rank against each other, or against the one that is chosen: all, where
    energy is not sought.
    """
    if not objective.seeks("energy"):
        return list(candidates)
    scope = scope_of(chosen.line) if chosen else rankable_scope(candidates)
    return [candidate for candidate in candidates if scope_of(candidate.line) == scope]


def set_apart(candidates: Sequence[Candidate], objective: Objective) -> str:
    """Make those unproven that cannot be ranked with the others; returns what to say of it, empty where
    there are none.
    """
    ranked = comparable(candidates, objective)
    if len(ranked) == len(candidates):
        return ""
    scope = scope_of(ranked[0].line)
    apart = [candidate for candidate in candidates if scope_of(candidate.line) != scope]
    for each in apart:
        said = f"its energy is of the {scope_of(each.line)}, not of the {scope} as that of those ranked"
        each.verdict, each.reason = "unproven", f"{said}: {REMEDY}"
    scopes = " and ".join(sorted({scope_of(candidate.line) for candidate in apart}))
    said = f"Ranked by the energy of the {scope}; not compared: {len(apart)} metered by {scopes}"
    return f" {said} ({REMEDY})."
