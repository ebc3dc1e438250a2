"""What it costs to hand arrays from one process of this host to another, as a composite's members do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hwfit.process import python_path
from hwfit.records import read_json
from hwfit.worker import exchange
from hwfit.worker.child import prepare_child
from hwfit.worker.exchange import Channel, Closed
from hwfit.worker.lock import device_lock, locks_of

SMALL, LARGE = 64, 8 * 2**20
REPETITIONS = 50


def measure_link(probes: Sequence[Path]) -> dict[str, float]:
    """Time messages of two sizes through pipes and shared memory.

    Parameters
    ----------
    probes : of the sender's and the receiver's device, on whose cores each side is kept

    Returns
    -------
    {"latency_s", "bytes_per_s"}: of one message, copied in by the sender and out by the receiver. What
    an accelerator takes to bring it to the host, or from there, is not in it.
    """
    found = [read_json(path) for path in probes]
    sender, receiver = (probe.get("pinned_cores") or () for probe in found)
    with device_lock(*(lock for probe in found for lock in locks_of(probe))):
        return time_messages(sender, receiver)


def time_messages(sender: Sequence[int] = (), receiver: Sequence[int] = ()) -> dict[str, float]:
    """The same between cores; empty for all."""
    if sender:
        os.sched_setaffinity(0, sender)
    memory = os.memfd_create("hwfit-link")
    to_other, commands = os.pipe()
    answers, from_other = os.pipe()
    ends = (to_other, from_other, memory)
    parent = os.getpid()
    process = subprocess.Popen(
        [sys.executable, "-m", "hwfit.worker", "echo", "--channel", *map(str, ends)],
        pass_fds=ends,
        env=os.environ | {"PYTHONPATH": python_path()},
        preexec_fn=lambda: prepare_child(parent, None, receiver),
    )
    os.close(to_other)
    os.close(from_other)
    channel = Channel(answers, commands, memory)
    try:
        wake_s = round_trip(channel, None)
        small_s, large_s = (round_trip(channel, np.ones(size, np.uint8)) for size in (SMALL, LARGE))
    finally:
        process.kill()
        process.wait()
    # The answer goes back without data: half of what it takes to wake each other.
    return {"latency_s": small_s - wake_s / 2, "bytes_per_s": (LARGE - SMALL) / (large_s - small_s)}


def round_trip(channel: Channel, array: np.ndarray | None) -> float:
    """The median seconds until the other side has copied an array and said so."""
    seconds = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        body = None if array is None else channel.write_arrays({"x": array})
        channel.send(exchange.PLACE, body=body)
        channel.receive()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[REPETITIONS // 5 :]))


def echo(channel: Channel) -> None:
    """The other side: copies what comes, and says so."""
    while True:
        try:
            message = channel.receive()
            if message.body:
                channel.read_arrays(message.body)
            channel.send(exchange.DONE)
        except Closed:
            return
