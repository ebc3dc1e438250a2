"""One small module a pass, by its name in `hwfit.catalog.PASSES`, which says where it applies.

- A session pass has a function for each runtime it works in, `torch(session, **parameters)` and so on, which
  changes the session while it is built.
- An artifact pass has `apply(checkpoint, **parameters)`, which changes a
  `hwfit.worker.checkpoint.Checkpoint`.
- A file pass has a function for each runtime, `torch(workpiece, **parameters)` and so on, which writes the
  file that the runtime loads (`hwfit.worker.file_passes.Workpiece`).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

Step = Mapping[str, Any]


def module_of(step: Step) -> ModuleType:
    """The module of a pass."""
    return importlib.import_module(f"{__name__}.{step['pass']}")


def parameters(step: Step) -> dict[str, Any]:
    """What a pass is called with."""
    return {key: value for key, value in step.items() if key != "pass"}


def act_on(session: Any, runtime: str, steps: Sequence[Step]) -> None:
    """Let session passes act, in order; notes the seconds that each took in the session's `pass_seconds`."""
    for step in steps:
        started = time.perf_counter()
        getattr(module_of(step), runtime)(session, **parameters(step))
        session.pass_seconds[step["pass"]] = time.perf_counter() - started
