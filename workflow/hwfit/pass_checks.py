"""Which passes go together, and in which order, where more than their kinds decide it.

Each check takes the passes' names in order and yields `(index or None, message)` for what is wrong; None
where it is about the list as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from hwfit import catalog

# What a pass of each kind does, in the order in which they act.
ACTS_ON = {
    "artifact": "rewrites the checkpoint",
    "file": "makes the runtime's file",
    "session": "acts on the loaded model",
}
# A pass, what cannot come before it, and why.
COMES_FIRST = {
    "prune_channels": (
        ("prune", "prune_2_4", "quantize_aware"),
        "where channels are cut out, the zeros are no longer the share and the pattern that were asked for, "
        "nor the weights those that were trained to be rounded",
    ),
    "prune": (("quantize_aware",), "it takes weights from a network that was trained with them"),
    "prune_2_4": (("quantize_aware",), "it takes weights from a network that was trained with them"),
}
# Two passes, and why they are one too many.
_SAME_WEIGHTS = "each turns the same fp32 weights into whole numbers"
EITHER = {
    ("compile", "eager"): "they undo each other",
    ("cast", "quantize_dynamic"): "quantize_dynamic works on fp32 weights and activations, and cast leaves "
    "neither",
    ("quantize_dynamic", "quantize_static"): _SAME_WEIGHTS,
    ("quantize_dynamic", "quantize_weights"): _SAME_WEIGHTS,
    ("quantize_static", "quantize_weights"): _SAME_WEIGHTS,
    ("offload", "compile"): "kernels are compiled for weights that lie still, and offload moves them",
    ("prune", "prune_gradually"): "both zero the weights of least magnitude, one of them with retraining",
    ("prune_gradually", "prune_2_4"): "retraining fills the pattern's zeros again",
    ("deep_compression", "prune_2_4"): "retraining fills the pattern's zeros again",
    ("prune", "prune_2_4"): "both zero the weights of least magnitude, each a share of its own",
    ("cast", "sparse_2_4"): "sparse_2_4 has a dtype of its own",
}
# A pass, which other has to come before it, and why.
NEEDS = {"sparse_2_4": ("prune_2_4", "its kernels take weights of which two in every four are zero")}


def check_passes(passes: Sequence[str]) -> Iterator[tuple[int | None, str]]:
    """Passes do not undo each other, find what they need, and can act on one device."""
    order = list(ACTS_ON)
    kinds = [catalog.PASSES[name].kind for name in passes]
    for index, step in enumerate(passes):
        late = [p for p, kind in enumerate(kinds[:index]) if order.index(kind) > order.index(kinds[index])]
        if late and step not in passes[:index]:
            acts, later = ACTS_ON[kinds[index]], ACTS_ON[kinds[late[0]]]
            yield index, f"is {step}, which {acts} before {passes[late[0]]} {later}; write {step} first"
        if step == "compile" and index < len(passes) - 1:
            yield index, f"is compile, and {passes[index + 1]} comes after it; allowed: compile as the last"
        if kinds[index] == "artifact" and "deep_compression" in passes[:index]:
            yield (
                index,
                f"is {step}, which would change what deep_compression has encoded; write {step} first",
            )
        behind, reason = COMES_FIRST.get(step, ((), ""))
        before = [name for name in passes[:index] if name in behind]
        if before:
            yield index, f"is {step}, and {before[0]} comes before it: {reason}; write {step} first"
        needed, reason = NEEDS.get(step, (None, ""))
        if needed and needed not in passes[:index]:
            yield index, f"is {step}, and no {needed} comes before it: {reason}; write {needed} first"
    for (one, other), reason in EITHER.items():
        if one in passes and other in passes:
            yield None, f"has both {one} and {other}: {reason}; allowed: one of the two"
    for one, other in combinations(dict.fromkeys(passes), 2):
        places, others = catalog.PASSES[one].accelerators, catalog.PASSES[other].accelerators
        if not set(places) & set(others):
            where = f"{one} works on {', '.join(places)}, {other} on {', '.join(others)}"
            yield None, f"has both {one} and {other}, and no device does both: {where}"
