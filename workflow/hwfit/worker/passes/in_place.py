"""Activation functions write over their inputs: one tensor less to allocate and to bring into the cache.

Only where nobody else reads what they overwrite, which is tried: the outputs have to stay the same, bit by
bit. (PyTorch's modules with `inplace`; hwfit's own networks have it as they come.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hwfit.worker.errors import Unsupported

SAMPLES = 2


def torch(session: Any) -> None:
    """Set `inplace` on every module that has it. Raises Unsupported where none has, or the outputs change."""
    import torch as framework

    found = [module for module in session.module.modules() if getattr(module, "inplace", None) is False]
    if not found:
        raise Unsupported("no activation function that does not write in place already, or could")
    # Where the module is by now: mostly still on the host.
    device = next(iter(session.module.parameters())).device
    batch = [framework.from_numpy(array).to(device) for array in made_up(session.card).values()]
    if session.input_dtype:
        batch = [t.to(session.input_dtype) if t.is_floating_point() else t for t in batch]
    with framework.inference_mode():
        before = session.module(*batch).clone()
        for module in found:
            module.inplace = True
        if not framework.equal(before, session.module(*batch)):
            raise Unsupported("somebody else reads what an activation function would overwrite")
    session.pass_facts["in_place"] = {"modules": len(found)}


def made_up(card: Any) -> dict[str, np.ndarray]:
    """Inputs of the shapes that a model's card names: normally distributed, zeros for whole numbers."""
    random = np.random.default_rng(0)
    return {
        entry["name"]: random.standard_normal((SAMPLES, *entry["shape"])).astype(entry["dtype"])
        if np.issubdtype(entry["dtype"], np.floating)
        else np.zeros((SAMPLES, *entry["shape"]), entry["dtype"])
        for entry in card["inputs"]
    }
