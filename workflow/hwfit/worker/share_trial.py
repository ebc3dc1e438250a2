"""How a composite's batch of one size is shared out: each member is timed, and gets as much as it is fast."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from hwfit.worker import exchange, shares
from hwfit.worker.runtimes import Batch

if TYPE_CHECKING:
    from hwfit.worker.runtimes.split import SplitSession

# Calls by which a member's speed is found: one that is not counted, then as many as fit, three at least.
TRIAL_SECONDS = 0.2
TRIAL_CALLS = 30
# Calls of which the parts are kept.
KEPT_CALLS = 1000


class Trial:
    """How a batch of one size is shared out, and what its calls took.

    Each member is timed alone, at an equal share first, then at the share that follows from that, since
    its speed depends on how many samples a call has; the shares are made of the second.
    """

    def __init__(self, session: SplitSession, batch: Batch, size: int) -> None:
        self.session = session
        members = range(len(session.members))
        equal = -(-size // len(members))
        self.alone_s = [self.time_alone(k, batch, equal) for k in members]
        first = shares.in_proportion(size, [equal / s for s in self.alone_s])
        speeds = [equal / s for s in self.alone_s]
        for k in members:
            if first[k] not in (0, equal):
                self.alone_s[k] = self.time_alone(k, batch, first[k])
                speeds[k] = first[k] / self.alone_s[k]
        self.timed_samples = [part or equal for part in first]
        self.shares = shares.in_proportion(size, speeds)
        self.best = max(members, key=lambda k: speeds[k])
        self.whole_s = self.time_alone(self.best, batch, size)
        self.place_s: deque[float] = deque(maxlen=KEPT_CALLS)
        self.run_s: deque[tuple[float, ...]] = deque(maxlen=KEPT_CALLS)
        # What was compiled for the shares that were tried is not the model's memory, nor its first call.
        session.ask_all(exchange.FORGET)

    def time_alone(self, k: int, batch: Batch, samples: int) -> float:
        """The median seconds of one member's call with so many samples, the others idle."""
        parts = [0] * len(self.session.members)
        parts[k] = samples
        placed = self.session.place_shares({name: array[:samples] for name, array in batch.items()}, parts)
        seconds = []
        end = None
        while end is None or len(seconds) < 4 or (time.perf_counter() < end and len(seconds) < TRIAL_CALLS):
            for member in placed.members:
                member.ask(exchange.RUN, placed.slot)
            seconds.append(max(message.seconds for message in self.session.answers(placed.members)))
            end = end or time.perf_counter() + TRIAL_SECONDS
        return float(np.median(seconds[1:]))

    def summary(self) -> dict[str, Any]:
        """What the record keeps; times are medians in ms. `together_ms` is beside the other members."""
        names = [member.device for member in self.session.members]
        found: dict[str, Any] = {
            "shares": dict(zip(names, self.shares, strict=True)),
            "alone_ms": {name: s * 1e3 for name, s in zip(names, self.alone_s, strict=True)},
            "alone_samples": dict(zip(names, self.timed_samples, strict=True)),
            "best": names[self.best],
            "whole_on_best_ms": self.whole_s * 1e3,
            "place_ms": float(np.median(self.place_s)) * 1e3 if self.place_s else None,
        }
        if not self.run_s:
            return found
        calls = np.array(self.run_s)
        working = [member.device for member in self.session.working(self.shares)]
        call_s = float(np.median(calls[:, 0]))
        return found | {
            "together_ms": dict(zip(working, (np.median(calls[:, 1:], axis=0) * 1e3).tolist(), strict=True)),
            "call_ms": call_s * 1e3,
            # From the slowest member's end to the answer of all, and the way there.
            "hand_over_us": float(np.median(calls[:, 0] - calls[:, 1:].max(axis=1))) * 1e6,
            # Where one member has it all, nothing is split.
            "pays": bool(np.count_nonzero(self.shares) > 1 and call_s < self.whole_s),
        }
