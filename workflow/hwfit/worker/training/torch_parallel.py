"""Processes that share each batch, by torch.distributed: the same steps as one process makes of it.

The loop runs in the first process alone. At each step it says which rows to take and at what learning rate;
the others wait for that, and take their part of every micro-batch. DistributedDataParallel averages the
gradients, so that all hold the same weights after a step (Li et al., *PyTorch Distributed*, VLDB 2020). A
batch norm sees its own process's part.

Run on: gloo, two processes on a CPU (torch 2.13.0). With NCCL only the backend's name differs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from hwfit.catalog import DISTRIBUTED
from hwfit.worker.child import prepare_child
from hwfit.worker.errors import Unsupported
from hwfit.worker.training.torch import TorchTrainer
from hwfit.worker.training.trainer import Setup

# What the first process says is to be done; beside it goes the learning rate, or how many bytes follow.
STEP, LOAD, END = range(3)


class SharingTrainer(TorchTrainer):
    """One of the processes; that of rank 0 leads."""

    def __init__(self, setup: Setup, rank: int, meet: str) -> None:
        super().__init__(setup)
        # All processes are on this host.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self.rank = rank
        backend, size = DISTRIBUTED[setup.accelerator], setup.processes
        distributed.init_process_group(backend, init_method=f"file://{meet}", rank=rank, world_size=size)
        self.network = DistributedDataParallel(self.module)

    def part(self, batch: torch.Tensor) -> torch.Tensor:
        """This process's part of a micro-batch."""
        return batch.chunk(self.setup.processes)[self.rank]

    def gradients(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        count = self.setup.run.accumulation
        total = torch.zeros((), device=self.device)
        batches = zip(inputs.chunk(count), labels.chunk(count), strict=True)
        for number, (some_inputs, some_labels) in enumerate(batches):
            # Gradients are exchanged once, with the last of them.
            is_last = number == count - 1
            with contextlib.nullcontext() if is_last else self.network.no_sync():
                loss = self.loss(self.part(some_inputs), self.part(some_labels)) / count
                loss.backward()
            total += loss.detach()
        distributed.all_reduce(total)
        return total / self.setup.processes

    def broadcast(self, array: torch.Tensor) -> torch.Tensor:
        """An array as the first process has it."""
        placed = array.to(self.device)
        distributed.broadcast(placed, 0)
        return placed

    def follow(self) -> None:
        """Do as the first process says, to the end."""
        while True:
            what, more = self.broadcast(torch.empty(2, dtype=torch.float64)).tolist()
            if what == STEP:
                rows = torch.empty(self.setup.run.batch_size, dtype=torch.int64)
                super().step((self.broadcast(rows), more))
            elif what == LOAD:
                content = self.broadcast(torch.empty(int(more), dtype=torch.uint8))
                super().load({"torch": content.cpu().numpy()})
            else:
                return


class LeadingTrainer(SharingTrainer):
    """The first of the processes, which starts the others."""

    def __init__(self, setup: Setup) -> None:
        if setup.accelerator not in DISTRIBUTED:
            raise Unsupported(f"several processes share a batch on {' and '.join(DISTRIBUTED)} alone")
        if setup.run.optimizer == "schedule-free":
            raise Unsupported("schedule-free has two modes, and the processes tell each other of none")
        cores = len(os.sched_getaffinity(0))
        setup = replace(setup, threads=setup.threads or max(1, cores // setup.processes))
        self.directory = tempfile.TemporaryDirectory(prefix="hwfit-training-")
        meet = f"{self.directory.name}/meet"
        # Each a new interpreter: a fork would share what torch's threads have locked.
        context = multiprocessing.get_context("spawn")
        self.others = [
            context.Process(target=follow, args=(setup, rank, meet, os.getpid()), daemon=True)
            for rank in range(1, setup.processes)
        ]
        for other in self.others:
            other.start()
        super().__init__(setup, 0, meet)
        self.details["parallel"] = f"DistributedDataParallel, {setup.processes} processes"

    def say(self, what: int, more: float = 0.0) -> None:
        """Tell the others what is to be done."""
        self.broadcast(torch.tensor([what, more], dtype=torch.float64))

    def step(self, planned: Any) -> torch.Tensor:
        rows, rate = planned
        self.say(STEP, rate)
        return super().step((self.broadcast(rows), rate))

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        self.say(LOAD, len(state["torch"]))
        self.broadcast(torch.from_numpy(state["torch"].copy()))
        super().load(state)

    def processes(self) -> Sequence[int]:
        return [other.pid for other in self.others if other.pid]

    def close(self) -> None:
        self.say(END)
        for other in self.others:
            other.join()
        distributed.destroy_process_group()
        self.directory.cleanup()


def follow(setup: Setup, rank: int, meet: str, leader: int) -> None:
    """Be one of the others, as long as the first process lives."""
    prepare_child(leader, None)
    SharingTrainer(setup, rank, meet).follow()
