"""One small module a pass. `hwfit.catalog.PASSES` names it and says where it applies.

A session pass has a function for each runtime it works in, `torch(session, **parameters)` and so on,
which changes the session while it is built. An artifact pass has `apply(arrays, **parameters)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from hwfit.catalog import PASSES


def session_pass(step: Mapping[str, Any]) -> ModuleType:
    """The module of a pass."""
    return importlib.import_module(PASSES[step["pass"]].module)


artifact_pass = session_pass
