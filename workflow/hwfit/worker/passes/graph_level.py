"""How far ONNX Runtime rewrites the graph before it runs: constants folded, operators fused, layouts changed.

`all` is its default and what the baseline has: less tells what the rewriting brings, or loads sooner. (ONNX
Runtime, Graph Optimizations: basic holds for every device, extended fuses for one, all changes layouts too.)
"""

from __future__ import annotations

from typing import Any

LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


def onnxruntime(session: Any, level: str) -> None:
    """Set the level at which the session will be made."""
    import onnxruntime as framework

    session.options.graph_optimization_level = getattr(framework.GraphOptimizationLevel, LEVELS[level])
