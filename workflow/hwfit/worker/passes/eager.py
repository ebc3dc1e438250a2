"""Operator by operator, without a graph: how a model runs while it is written. torch's baseline is that."""

from __future__ import annotations

from typing import Any


def tensorflow(session: Any) -> None:
    """Call the Keras model without tracing it."""
    session.is_traced = False


def mindspore(session: Any) -> None:
    """Run in PyNative mode."""
    import mindspore as framework

    framework.set_context(mode=framework.PYNATIVE_MODE)
