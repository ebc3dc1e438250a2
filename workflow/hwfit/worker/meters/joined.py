"""Several meters as one: the energy of a composite device is the sum of its members'."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hwfit.worker.meters import Meter, Reading


class JoinedMeter:
    """All meters around the same work.

    Parameters
    ----------
    meters : no two of the same sensor
    """

    def __init__(self, meters: Sequence[Meter]) -> None:
        self.meters = meters
        self.source = joined(meter.source for meter in meters)
        self.scope = joined(meter.scope for meter in meters)
        self.resolution_s = max(meter.resolution_s for meter in meters)

    def __enter__(self) -> JoinedMeter:
        for meter in self.meters:
            meter.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        for meter in reversed(self.meters):
            meter.__exit__(*exception)

    def reading(self) -> Reading:
        """The sum, where every member tells its own; flags are those of all."""
        parts = [meter.reading() for meter in self.meters]
        energies = [part.energy_j for part in parts if part.energy_j is not None]
        return Reading(
            self.source,
            self.scope,
            sum(energies) if len(energies) == len(parts) else None,
            max(part.seconds for part in parts),
            tuple(flag for part in parts for flag in part.flags),
            {
                "members": [
                    {"source": part.source, "scope": part.scope, "energy_j": part.energy_j} | part.details
                    for part in parts
                ]
            },
        )


def joined(words: Iterable[str]) -> str:
    """Each word once, in order, with "+" between."""
    return "+".join(dict.fromkeys(words))
