"""So many compute threads for one operator, in place of what the device or the runtime would take.

A runtime takes its threads when it starts, so this pass acts on the request for a session, not on the
session (`hwfit.worker.runtimes.Request`): the functions of the other passes are not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Steps = Sequence[Mapping[str, Any]]


def taken_from(passes: Steps, threads: int | None) -> tuple[Steps, int | None]:
    """The other passes, and the threads: the pass's, or those that were asked for without it."""
    others = tuple(step for step in passes if step["pass"] != "threads")
    counts = [step["count"] for step in passes if step["pass"] == "threads"]
    return others, counts[-1] if counts else threads
