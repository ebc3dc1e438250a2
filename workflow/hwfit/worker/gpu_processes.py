"""Which of a GPU's processes are others'.

The driver names processes by the host's numbers. In a container this process goes by another number, so
that none of those listed is it; then one of them must be, since a session is open on the GPU.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def foreign_processes(pids: Iterable[int]) -> int | None:
    """How many of the processes on a GPU are others'; None where not even this one is listed."""
    listed = set(pids)
    return len(listed) - 1 if listed else None


def foreign_load(samples: Iterable[tuple[int, float]], own: int) -> float | None:
    """Share of the time that others' kernels ran; None where the driver kept no samples.

    Parameters
    ----------
    samples : process number and share of the time its kernels ran, any number of samples a process
    own : this process. Where it is not among them (a container), the busiest one is taken for it: a
        measurement keeps its GPU busy, and a neighbour as busy as that still leaves its half.
    """
    shares = defaultdict(list)
    for pid, share in samples:
        shares[pid].append(share)
    means = {pid: sum(each) / len(each) for pid, each in shares.items()}
    if not means:
        return None
    taken = own if own in means else max(means, key=lambda pid: means[pid])
    return sum(share for pid, share in means.items() if pid != taken)
