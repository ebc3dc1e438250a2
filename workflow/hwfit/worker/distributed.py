"""A member of a composite driven by torch.distributed: the first rank holds the batch and the outputs.

A call sends each other rank its samples and takes back what they give (isend and irecv, since scatter and
gather want equal shares). Run on: gloo, two processes on a CPU. With NCCL only the backend's name differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from hwfit.catalog import DISTRIBUTED
from hwfit.worker import exchange
from hwfit.worker.exchange import Channel
from hwfit.worker.member import Member


class DistributedMember(Member):
    """One rank; the worker of the composite says when, and the ranks pass the tensors on among themselves."""

    def __init__(self, spec: dict[str, Any], channel: Channel) -> None:
        super().__init__(spec, channel)
        import torch.distributed

        # All ranks are on this host.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self.torch: Any = torch
        self.rank: int = spec["rank"]
        self.parts: dict[int, list[int]] = {}
        self.like: Any = None
        torch.distributed.init_process_group(
            DISTRIBUTED[spec["accelerator"]],
            init_method=f"file://{spec['rendezvous']}",
            rank=self.rank,
            world_size=spec["ranks"],
        )

    def do(self, asked: exchange.Message) -> Any:
        if asked.what != exchange.PLACE:
            return super().do(asked)
        for slot in asked.body["released"]:
            for held in (self.placed, self.outputs, self.parts):
                held.pop(slot, None)
        parts = self.parts[asked.slot] = asked.body["parts"]
        if self.rank == 0:
            batch = self.channel.read_arrays(asked.body["arrays"])
            if self.like is None:
                one = {name: array[:1] for name, array in batch.items()}
                self.like = self.session.run(self.session.place(one))
        else:
            # Where the samples will be put, in the session's number format.
            batch = {
                name: np.zeros((parts[self.rank], *shape), np.dtype(dtype))
                for name, dtype, shape in asked.body["rows"]
            }
        self.placed[asked.slot] = self.session.place(batch)
        return None

    def run(self, slot: int) -> float:
        start = time.perf_counter()
        if self.rank == 0:
            self.outputs[slot] = self.lead(self.placed[slot], self.parts[slot])
        else:
            self.follow(self.placed[slot])
        return time.perf_counter() - start

    def lead(self, inputs: Sequence[Any], parts: Sequence[int]) -> Any:
        """Send the others' samples, run one's own, and take the outputs: all of them, in their order."""
        distributed = self.torch.distributed
        ends = list(accumulate(parts))
        rows = [slice(end - part, end) for part, end in zip(parts, ends, strict=True)]
        outputs = self.like.new_empty((ends[-1], *self.like.shape[1:]))
        others = [rank for rank, part in enumerate(parts) if part and rank]
        sent = [tensor[rows[rank]].contiguous() for rank in others for tensor in inputs]
        ranks = [rank for rank in others for _ in inputs]
        waits = [distributed.isend(tensor, rank) for tensor, rank in zip(sent, ranks, strict=True)]
        waits += [distributed.irecv(outputs[rows[rank]], rank) for rank in others]
        if parts[0]:
            outputs[rows[0]] = self.session.run([tensor[rows[0]] for tensor in inputs])
        for wait in waits:
            wait.wait()
        return outputs

    def follow(self, inputs: Sequence[Any]) -> None:
        """Take one's samples, run them, and send the outputs."""
        for tensor in inputs:
            self.torch.distributed.recv(tensor, 0)
        self.torch.distributed.send(self.session.run(inputs).contiguous(), 0)
