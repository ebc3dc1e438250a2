"""Several devices on one batch: what runs on a composite device, each member in a process of its own.

A member takes a share of the samples in proportion to its speed, measured alone at the first batch of
each size. `run` is timed from inputs that lie where the members take them to the outputs of all members
ready; a member is woken through a pipe and answers through one (`hwfit.worker.exchange`).

Run on: two halves of a CPU (torch, openvino).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import hwfit
from hwfit.catalog import COMPOSITE
from hwfit.worker import conditions, exchange
from hwfit.worker.errors import Incorrect, Unsupported
from hwfit.worker.exchange import Message
from hwfit.worker.member_process import MemberProcess
from hwfit.worker.memory import SessionMemory
from hwfit.worker.runtimes import Batch, Placement, Request, Session
from hwfit.worker.share_trial import Trial

PINGS = 50
ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (Unsupported, Incorrect, MemoryError, ValueError)
}


class Placed:
    """A batch, each member's share of it where the member takes it from; its outputs after a run."""

    def __init__(
        self, slot: int, size: int, members: list[MemberProcess], holders: list[MemberProcess]
    ) -> None:
        self.slot = slot
        self.size = size
        self.members = members
        self.holders = holders

    def __del__(self) -> None:
        for member in self.members:
            member.released.append(self.slot)


class SplitSession(Session):
    """The members' sessions as one."""

    def __init__(self, request: Request) -> None:
        self.members = [MemberProcess(member, request) for member in request.members]
        self.described = [message.body for message in self.answers(self.members)]
        self.slots = 0
        self.trials: dict[int, Trial] = {}
        self.ping_s = self.time_of_ping()

    def answers(self, members: Sequence[MemberProcess]) -> list[Message]:
        """Wait for all of some members. Raises the first error of one, once all have answered."""
        messages = [member.answer() for member in members]
        for member, message in zip(members, messages, strict=True):
            if message.what == exchange.FAILED:
                kind, text = message.body["kind"], message.body["text"]
                known = ERRORS.get(kind)
                said = f"member {member.name}: {text}"
                raise known(said) if known else RuntimeError(f"member {member.name}: {kind}: {text}")
        return messages

    def ask_all(self, what: bytes, slot: int = 0) -> list[Message]:
        """Tell every member, and wait for all."""
        for member in self.members:
            member.ask(what, slot)
        return self.answers(self.members)

    def time_of_ping(self) -> float:
        """Seconds to wake every member and hear of all of them: the least that a call costs on top."""
        seconds = []
        for _ in range(PINGS):
            start = time.perf_counter()
            self.ask_all(exchange.PING)
            seconds.append(time.perf_counter() - start)
        return float(np.median(seconds))

    def place(self, batch: Batch) -> Placed:
        size = len(next(iter(batch.values())))
        if size not in self.trials:
            self.trials[size] = Trial(self, batch, size)
        start = time.perf_counter()
        placed = self.place_shares(batch, self.trials[size].shares)
        self.trials[size].place_s.append(time.perf_counter() - start)
        return placed

    def place_shares(self, batch: Batch, parts: Sequence[int]) -> Placed:
        """Put a batch where the members take it from, so many samples for each."""
        self.slots += 1
        placed = Placed(self.slots, sum(parts), self.working(parts), self.holders(parts))
        self.hand_out(batch, parts, placed)
        self.answers(placed.members)
        return placed

    def working(self, parts: Sequence[int]) -> list[MemberProcess]:
        """The members that take part in a call."""
        return [member for member, part in zip(self.members, parts, strict=True) if part]

    def holders(self, parts: Sequence[int]) -> list[MemberProcess]:
        """Those of them that have the outputs, in the order of the samples."""
        return self.working(parts)

    def hand_out(self, batch: Batch, parts: Sequence[int], placed: Placed) -> None:
        """Tell each member its samples, from the first on."""
        start = 0
        for member, part in zip(self.members, parts, strict=True):
            if part:
                rows = {name: array[start : start + part] for name, array in batch.items()}
                arrays = member.channel.write_arrays(rows)
                body = {"arrays": arrays, "released": member.take_released()}
                member.ask(exchange.PLACE, placed.slot, body)
                start += part

    def run(self, placed: Placed) -> Placed:
        start = time.perf_counter()
        for member in placed.members:
            member.ask(exchange.RUN, placed.slot)
        seconds = [message.seconds for message in self.answers(placed.members)]
        trial = self.trials.get(placed.size)
        if trial:
            trial.run_s.append((time.perf_counter() - start, *seconds))
        return placed

    def fetch(self, output: Placed) -> np.ndarray:
        for member in output.holders:
            member.ask(exchange.FETCH, output.slot)
        messages = self.answers(output.holders)
        found = [
            member.channel.read_arrays(message.body)["output"]
            for member, message in zip(output.holders, messages, strict=True)
        ]
        shapes = {array.shape[1:] for array in found}
        if len(shapes) > 1:
            told = ", ".join(f"{m.name}: {a.shape[1:]}" for m, a in zip(output.holders, found, strict=True))
            raise Incorrect(f"the members' outputs have several shapes a sample: {told}")
        return np.concatenate(found)

    def accelerator_of(self, output: Placed) -> str:
        for member in output.holders:
            member.ask(exchange.TELL, output.slot)
        for member, message in zip(output.holders, self.answers(output.holders), strict=True):
            if message.body["accelerator"] != member.accelerator:
                return f"{message.body['accelerator']} at member {member.name}"
        return COMPOSITE

    def forget_compiled(self) -> None:
        self.ask_all(exchange.FORGET)
        self.trials.clear()

    def told(self, what: str) -> dict[str, Any]:
        """One thing that every member tells of its session, by the member's device."""
        messages = self.ask_all(exchange.TELL)
        return {m.device: message.body[what] for m, message in zip(self.members, messages, strict=True)}

    def model_size_bytes(self) -> int:
        return sum(self.told("model_size_bytes").values())

    def placement(self) -> Placement | None:
        told = self.told("placement")
        if None in told.values():
            return None
        known = [share for share, _ in told.values() if share is not None]
        return Placement(min(known, default=None), flat({d: elsewhere for d, (_, elsewhere) in told.items()}))

    def precisions(self) -> dict[str, int]:
        return flat(self.told("precisions"))

    def threads(self) -> dict[str, int]:
        return flat(self.told("threads"))

    def processes(self) -> list[int]:
        return [member.process.pid for member in self.members]

    def details(self) -> dict[str, Any]:
        return {
            "split": {
                "members": {m.device: told for m, told in zip(self.members, self.described, strict=True)},
                "wake_all_us": self.ping_s * 1e6,
                "batch_sizes": {str(size): trial.summary() for size, trial in self.trials.items()},
            }
        }

    def reset_peak_memory(self) -> None:
        self.ask_all(exchange.RESET)

    def members_memory(self) -> list[SessionMemory]:
        return [SessionMemory(**told) for told in self.told("memory").values()]


def flat(told: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """What each member counts, under names that say whose it is."""
    return {f"{device}: {name}": count for device, found in told.items() for name, count in found.items()}


def open_session(request: Request) -> SplitSession:
    """Start the members, all at once, and wait until each has opened its session."""
    if any(member.get("parallel") for member in request.members):
        from hwfit.worker.runtimes.distributed import DistributedSession

        return DistributedSession(request)
    return SplitSession(request)


def describe(accelerator: str, index: int) -> dict[str, Any]:
    """What hands out the batches; the members describe themselves in the record's details."""
    return {"runtime_version": hwfit.__version__, "device_name": COMPOSITE}


def matmul_kernel(accelerator: str, index: int, number_format: str, rows: int, size: int) -> Any:
    """The kernel of one thread that tells of the host's clock: the members are not asked."""
    return conditions.cpu_kernel()
