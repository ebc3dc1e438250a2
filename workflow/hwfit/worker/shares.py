"""How many samples of a batch each member of a composite takes; pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence


def in_proportion(samples: int, speeds: Sequence[float]) -> list[int]:
    """Whole samples for each, in proportion to speed, by the method of largest remainders.

    Parameters
    ----------
    samples : to be shared out
    speeds : samples a second of each; one at least above 0

    Returns
    -------
    shares that add up to `samples`, each less than one sample away from its exact part; some may be 0
    """
    whole = sum(speeds)
    exact = [samples * speed / whole for speed in speeds]
    shares = [int(part) for part in exact]
    # Among equal remainders the faster one takes the sample.
    order = sorted(range(len(speeds)), key=lambda k: (shares[k] - exact[k], -speeds[k]))
    for k in order[: samples - sum(shares)]:
        shares[k] += 1
    return shares
