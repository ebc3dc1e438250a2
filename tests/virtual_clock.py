"""Time that passes when a meter waits, so that ten seconds of sampling take none, and come out the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hwfit.worker.meters import Reading


class VirtualClock:
    """In place of `hwfit.worker.meters.sampled.Clock`.

    Parameters
    ----------
    play : called with the time, in seconds, whenever that has changed: here the sensor takes its value
    """

    def __init__(self, play: Callable[[float], None]) -> None:
        self.seconds = 0.0
        self.play = play
        self.play(self.seconds)

    def now(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> None:
        self.seconds += seconds
        self.play(self.seconds)


def metered(meter, play: Callable[[float], None], seconds: float = 10.0) -> tuple[Reading, float, float]:
    """A meter around work that lasts so many virtual seconds; its reading, and the work's start and end."""
    meter.clock = VirtualClock(play)
    with meter:
        while meter.clock.now() < meter.started_s + seconds and meter.thread.is_alive():
            time.sleep(0.0005)
    return meter.reading(), meter.started_s, meter.ended_s
