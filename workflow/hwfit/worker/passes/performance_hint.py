"""What OpenVINO's plugin is to arrange a device for: one call as soon as possible, or many together.

`latency` is what the baseline has. With `throughput` the device is cut into streams of a few threads, each of
which has a call of its own: a single call takes longer, and what pays is several under way, as the scenario
offline keeps them. (OpenVINO, High-level Performance Hints.)
"""

from __future__ import annotations

from typing import Any


def openvino(session: Any, hint: str) -> None:
    """Ask for it; with `throughput` the session takes as many calls at a time as the plugin wants."""
    session.settings["PERFORMANCE_HINT"] = hint.upper()
    session.is_asynchronous = hint == "throughput"
