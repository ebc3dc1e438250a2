"""How long each block of a torch model takes on a device, what it hands on, and whether it may end a part.

Blocks are the calls of the model's children in the order they come; `Sequential` and `ModuleList` are
opened. What the model does between two of them counts for the later one, so that the times add up to the
whole. Run on: CPU (torch 2.13.0).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.catalog import weights_file
from hwfit.worker import runtimes
from hwfit.worker.errors import Unsupported
from hwfit.worker.evaluation_set import EvaluationSet
from hwfit.worker.job import read_card

WARM_UP_CALLS = 5


def measure_layers(
    spec: dict[str, Any], model_directory: Path, batch_size: int, seconds: float
) -> dict[str, Any]:
    """Time the blocks of a model for a while.

    Parameters
    ----------
    spec : where and what to run, as a member of a composite (`hwfit.worker.job.Job`)

    Returns
    -------
    {"batch_size", "whole_s": median seconds of a call without any hook, "calls", "blocks": for each
    "name", "seconds", "output_bytes", "is_cut"}; `is_cut` says that nothing of before the block's end but
    its output is needed after, found by spoiling all else. Raises Unsupported for other runtimes.
    """
    if spec["runtime"] != "torch":
        raise Unsupported(f"the blocks of a model are timed in torch, not in {spec['runtime']}")
    import torch

    runtime = runtimes.load("torch")
    session, batches = open_torch(spec, model_directory, batch_size)
    inputs = session.place(batches[0])
    wait = (lambda: runtime.wait_for(session.device)) if session.is_asynchronous else None
    recorder = Recorder(session.module, wait)
    rows, whole = [], []
    end = None
    # In turn, so that a disturbance falls on both.
    while end is None or len(rows) < 5 or time.perf_counter() < end:
        for _ in range(WARM_UP_CALLS if end is None else 1):
            start = time.perf_counter()
            expected = session.run(inputs)
            taken_s = time.perf_counter() - start
            calls = recorder.record(inputs)
        whole.append(taken_s)
        rows.append([seconds for _, seconds, _ in calls])
        end = end or time.perf_counter() + seconds
    medians = np.median(np.array(rows), axis=0)
    return {
        "batch_size": batch_size,
        "whole_s": float(np.median(whole)),
        "calls": len(rows),
        "blocks": [
            {
                "name": name,
                "seconds": float(median),
                "output_bytes": output.nbytes if isinstance(output, torch.Tensor) else 0,
                "is_cut": recorder.is_cut(position, inputs, expected),
            }
            for position, ((name, _, output), median) in enumerate(zip(calls, medians, strict=True))
        ],
    }


def open_torch(
    spec: Mapping[str, Any], model_directory: Path, batch_size: int
) -> tuple[Any, list[dict[str, np.ndarray]]]:
    """A session of the model as it is, and some batches of its real inputs."""
    request = runtimes.Request(
        source=spec["source"],
        task="",
        weights=Path(spec["weights_directory"]) / weights_file("torch"),
        card=read_card(model_directory),
        accelerator=spec["accelerator"],
        index=spec["index"],
        threads=spec["threads"],
    )
    data = EvaluationSet(model_directory / "evaluation.npz")
    return runtimes.load("torch").open_session(request), data.buffers(batch_size)


class Recorder:
    """Runs a module and notes the calls of its blocks: name, seconds since the last one's end, output."""

    def __init__(self, module: Any, wait: Callable[[], None] | None) -> None:
        self.module = module
        self.wait = wait
        self.calls: list[tuple[str, float, Any]] = []
        self.seen: list[Any] = []
        self.spoiled_after: int | None = None
        self.is_on = False
        self.last = self.end = 0.0
        for name, block in blocks_in(module):
            block.register_forward_hook(self.hook(name))

    def hook(self, name: str) -> Callable[..., None]:
        def note(block: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if not self.is_on:
                return
            if self.wait:
                self.wait()
            now = time.perf_counter()
            self.calls.append((name, now - self.last, output))
            self.seen += [*inputs, output]
            if self.spoiled_after == len(self.calls) - 1:
                spoil(self.seen[:-1], output)
            self.last = time.perf_counter()

        return note

    def run(self, inputs: list[Any], spoiled_after: int | None = None) -> Any:
        """One call with the hooks on."""
        self.calls, self.seen, self.spoiled_after = [], list(inputs), spoiled_after
        self.is_on = True
        self.last = time.perf_counter()
        try:
            output = self.module(*inputs)
        finally:
            self.is_on = False
        if self.wait:
            self.wait()
        self.end = time.perf_counter()
        return output

    def record(self, inputs: list[Any]) -> list[tuple[str, float, Any]]:
        """The blocks' calls; the last one's seconds last to the end of the model. Raises Unsupported."""
        self.run(inputs)
        if not self.calls:
            raise Unsupported(f"{type(self.module).__name__} calls none of its children")
        name, seconds, output = self.calls[-1]
        self.calls[-1] = (name, seconds + self.end - self.last, output)
        return self.calls

    def is_cut(self, position: int, inputs: list[Any], expected: Any) -> bool:
        """Whether the model's outputs stay the same when all that is older than a call's output is lost."""
        import torch

        if not isinstance(self.calls[position][2], torch.Tensor):
            return False
        output = self.run([tensor.clone() for tensor in inputs], spoiled_after=position)
        return bool(torch.allclose(output, expected, rtol=1e-3, atol=1e-5))


def blocks_in(module: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A module's children by name; of containers that only hold others, theirs."""
    from torch import nn

    for name, child in module.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from blocks_in(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def spoil(tensors: list[Any], kept: Any) -> None:
    """Overwrite tensors, but for those that share the memory of one that is kept."""
    import torch

    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or not isinstance(kept, torch.Tensor):
            continue
        if tensor.untyped_storage().data_ptr() != kept.untyped_storage().data_ptr():
            tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
