"""The decision: which combination, how sure that is, why not the others, and what would change it.

Pure logic on rows. A row is *feasible* when it was measured, can be trusted, and every limit is proven to
be met. Among the feasible rows of a model the objective decides, with the doubt of each figure: rows that
are not worse than the leader with 95% probability are one tie, which is broken by a stated rule: the
cheaper device (where all have a price), then the simpler optimization, then the smaller batch. Where some
rows were confirmed in fresh rounds, the choice is among these. Without a feasible row the best of those
that violate no limit is named as provisional. What was not measured never wins.
"""

from hwfit.decide.candidate import Candidate, Finding
from hwfit.decide.choice import TIE_SHARE, Decision, decide
from hwfit.decide.contenders import contenders
from hwfit.decide.limits import LIMITS
from hwfit.decide.objectives import GOALS, Objective

__all__ = [
    "GOALS",
    "LIMITS",
    "TIE_SHARE",
    "Candidate",
    "Decision",
    "Finding",
    "Objective",
    "contenders",
    "decide",
]
