"""Runs a torch model cut in two, each part in a process on its own device, batch after batch.

The first part's process hands what it computed to the second's through memory that both see, and goes on
with the next batch; it waits only where the last one has not been taken yet. Run on: two cores of a CPU.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.process import python_path
from hwfit.records import read_json
from hwfit.worker import exchange, outputs
from hwfit.worker.child import environment_without_thread_counts, prepare_child
from hwfit.worker.exchange import Channel
from hwfit.worker.layer_times import blocks_in, open_torch

WARM_UP_BATCHES = 20


class Cut(Exception):
    """Ends a model's call behind the first part; holds what that part gives."""


class Parts:
    """A model's two parts: all up to a call of a block, and the rest.

    Parameters
    ----------
    module : a model that can be cut there (`hwfit.worker.layer_times.Recorder.is_cut`)
    blocks_before : how many calls of blocks the first part has
    inputs : of the shape that will be asked for; in the second part, the first part's blocks give what
        they gave for these, which nothing depends on
    """

    def __init__(self, module: Any, blocks_before: int, inputs: list[Any]) -> None:
        self.module = module
        self.blocks_before = blocks_before
        self.inputs = inputs
        self.part = "whole"
        self.recorded: list[Any] = []
        self.calls = 0
        for _, block in blocks_in(module):
            block.forward = self.forward_of(block.forward)
        self.run("whole", inputs)

    def forward_of(self, forward: Any) -> Any:
        """A block's forward that knows which part is wanted."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            number, self.calls = self.calls, self.calls + 1
            if self.part == "second" and number < self.blocks_before:
                return self.recorded[number]
            output = forward(*arguments, **named)
            if self.part == "whole" and len(self.recorded) < self.blocks_before:
                self.recorded.append(output)
            if self.part == "first" and number == self.blocks_before - 1:
                raise Cut(output)
            return output

        return wrapped

    def run(self, part: str, inputs: list[Any]) -> Any:
        self.part, self.calls = part, 0
        return self.module(*inputs)

    def first(self, inputs: list[Any]) -> Any:
        """What the first part gives."""
        try:
            self.run("first", inputs)
        except Cut as cut:
            return cut.args[0]
        raise ValueError(f"the model has no {self.blocks_before} blocks")

    def second(self, given: Any) -> Any:
        """The model's outputs, from what the first part gave."""
        self.recorded[-1] = given
        return self.run("second", self.inputs)


def run_stages(
    specs: list[Mapping[str, Any]], model_directory: Path, blocks_before: int, batch_size: int, seconds: float
) -> dict[str, Any]:
    """Run the first part here and the second in a process of its own, for a while.

    Parameters
    ----------
    specs : of the first part's device and the second's, as members of a composite (`hwfit.worker.job.Job`)

    Returns
    -------
    {"samples_per_s": the rate at which batches come out, "interval_s": the median time between two of them,
    "latency_s": of one batch with no other under way, "batches", "relative_error": of the outputs against
    those of the uncut model}
    """
    channel, process = start_second(specs[1])
    try:
        session, batches = open_torch(specs[0], model_directory, batch_size)
        placed = [session.place(batch) for batch in batches]
        wanted = [session.fetch(session.run(inputs)) for inputs in placed]
        parts = Parts(session.module, blocks_before, placed[0])
        body = {"spec": specs[1], "model_directory": str(model_directory), "batch_size": batch_size}
        channel.send(exchange.OPEN, body=body | {"blocks_before": blocks_before})
        channel.receive()

        def hand_over(inputs: list[Any]) -> None:
            given = session.fetch(parts.first(inputs))
            channel.send(exchange.RUN, body=channel.write_arrays({"x": given}))

        lone = []
        for number in range(WARM_UP_BATCHES):
            start = time.perf_counter()
            hand_over(placed[number % len(placed)])
            channel.receive()
            channel.send(exchange.TELL)
            channel.receive()
            lone.append(time.perf_counter() - start)
        sent, end = 0, time.perf_counter() + seconds
        while sent < WARM_UP_BATCHES or time.perf_counter() < end:
            if sent:
                # The last one was taken: the memory is free.
                channel.receive()
            hand_over(placed[sent % len(placed)])
            sent += 1
        channel.receive()
        channel.send(exchange.FETCH, slot=sent)
        message = channel.receive()
        got = channel.read_arrays(message.body["arrays"])["output"]
    finally:
        process.kill()
        process.wait()
    return {
        "samples_per_s": batch_size / message.seconds,
        "interval_s": message.body["interval_s"],
        "latency_s": float(np.median(lone[WARM_UP_BATCHES // 2 :])),
        "batches": sent,
        "relative_error": outputs.relative_error(got, wanted[(sent - 1) % len(wanted)]),
    }


def start_second(spec: Mapping[str, Any]) -> tuple[Channel, subprocess.Popen[bytes]]:
    """The second part's process, on its device's cores, and the channel to it."""
    memory = os.memfd_create("hwfit-stage")
    to_other, commands = os.pipe()
    answers, from_other = os.pipe()
    ends = (to_other, from_other, memory)
    variables = environment_without_thread_counts() | read_json(Path(spec["probe_file"]))["environment"]
    variables["PYTHONPATH"] = python_path()
    parent = os.getpid()
    process = subprocess.Popen(
        [
            read_json(Path(spec["environment_file"]))["python"],
            *("-m", "hwfit.worker", "stage", "--channel", *map(str, ends)),
        ],
        pass_fds=ends,
        env=variables,
        preexec_fn=lambda: prepare_child(parent, None, spec.get("cores") or ()),
    )
    os.close(to_other)
    os.close(from_other)
    return Channel(answers, commands, memory), process


def second_stage(channel: Channel) -> None:
    """Be the second part: take what comes, say that it was taken, compute; tell of it when asked."""
    asked = channel.receive().body
    session, batches = open_torch(asked["spec"], Path(asked["model_directory"]), asked["batch_size"])
    parts = Parts(session.module, asked["blocks_before"], session.place(batches[0]))
    device, dtype = parts.recorded[-1].device, parts.recorded[-1].dtype
    channel.send(exchange.DONE)
    ends: list[float] = []
    output: Any = None
    while True:
        message = channel.receive()
        if message.what == exchange.RUN:
            given = channel.read_arrays(message.body)["x"]
            channel.send(exchange.DONE)
            output = session.fetch(parts.second(as_tensor(given, device, dtype)))
            ends.append(time.perf_counter())
        elif message.what == exchange.TELL:
            channel.send(exchange.DONE)
        else:
            # Of those that came without a pause, less the first, which found an empty pipeline.
            steady = np.diff(ends[-message.slot :])
            interval_s = float(np.median(steady[1:]))
            body = {"arrays": channel.write_arrays({"output": output}), "interval_s": interval_s}
            channel.send(exchange.DONE, seconds=float(steady[1:].mean()), body=body)


def as_tensor(array: np.ndarray, device: Any, dtype: Any) -> Any:
    """An array where the second part takes it from."""
    import torch

    return torch.from_numpy(array).to(device, dtype)
