"""Several devices on one batch: what runs on a composite device, each member in a process of its own.

A member takes a share of the samples in proportion to its speed, measured alone at the first batch of
each size. `run` is timed from inputs that lie where the members take them to the outputs of all members
ready; a member is woken through a pipe and answers through one (`hwfit.worker.exchange`).

Run on: two halves of a CPU (torch, openvino).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hwfit
from hwfit.catalog import COMPOSITE
from hwfit.records import read_json
from hwfit.worker import conditions, exchange, host, shares
from hwfit.worker.errors import Incorrect, Unsupported
from hwfit.worker.exchange import Channel, Closed, Message
from hwfit.worker.runtimes import Batch, Placement, Request, Session
from hwfit.worker.supervisor import WAITS, environment_without_thread_counts, kernel_oom_kills, prepare_child

# A wait that is longer is said on stderr, so that a member that hangs has a name.
LONG_WAIT_S = 1.0
# Calls by which a member's speed is found: one that is not counted, then as many as fit, three at least.
TRIAL_SECONDS = 0.2
TRIAL_CALLS = 30
PINGS = 50
# Calls of which the parts are kept.
KEPT_CALLS = 1000
ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (Unsupported, Incorrect, MemoryError, ValueError)
}


class MemberLost(SystemExit):
    """A member's process is gone: this one ends too, and its last words become the reason."""


class MemberProcess:
    """A member, seen from the composite's worker."""

    def __init__(self, member: Mapping[str, Any], request: Request) -> None:
        if not hasattr(os, "memfd_create"):
            raise Unsupported("a composite device needs memfd_create, which this system lacks")
        self.name = f"{member['device']} ({member['runtime']})"
        self.device, self.accelerator = member["device"], member["accelerator"]
        environment = read_json(Path(member["environment_file"]))
        probe = read_json(Path(member["probe_file"]))
        threads = request.threads or member["threads"]
        memory = os.memfd_create("hwfit-member")
        to_member, commands = os.pipe()
        answers, from_member = os.pipe()
        variables = environment_without_thread_counts() | probe["environment"]
        variables |= {"PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONHASHSEED": "0"}
        if threads:
            variables["OMP_NUM_THREADS"] = str(threads)
        parent, limit_mb = os.getpid(), member["memory_limit_mb"]
        limit_bytes = int(limit_mb * 1e6) if limit_mb else None
        channel = [str(number) for number in (to_member, from_member, memory)]
        # Slots of batches that nobody needs any more; told with the next batch.
        self.released: list[int] = []
        self.kills_before = kernel_oom_kills()
        self.process = subprocess.Popen(
            [environment["python"], "-m", "hwfit.worker", "member", "--channel", *channel],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            pass_fds=(to_member, from_member, memory),
            env=variables,
            preexec_fn=lambda: prepare_child(parent, limit_bytes, member.get("cores") or ()),
        )
        os.close(to_member)
        os.close(from_member)
        self.channel = Channel(answers, commands, memory)
        self.poll = select.poll()
        self.poll.register(answers, select.POLLIN | select.POLLHUP)
        spec = {key: value for key, value in member.items() if not key.endswith("_file")}
        spec |= {"task": request.task, "passes": list(request.passes), "threads": threads}
        spec |= {"weights_directory": str(member["weights_directory"]), "card": dict(request.card)}
        self.ask(exchange.OPEN, body=spec)

    def take_released(self) -> list[int]:
        """The slots that nobody needs any more since the last time."""
        released, self.released = self.released, []
        return released

    def ask(self, what: bytes, slot: int = 0, body: Any = None) -> None:
        """Tell the member to do something; it starts at once. Raises MemberLost."""
        try:
            self.channel.send(what, slot, body=body)
        except Closed:
            self.lost()

    def answer(self) -> Message:
        """Sleep until it is done. Raises MemberLost."""
        if not self.poll.poll(LONG_WAIT_S * 1e3):
            print(f"{WAITS[0]}{self.name}", file=sys.stderr, flush=True)
            self.poll.poll()
            print(f"{WAITS[1]}{self.name}", file=sys.stderr, flush=True)
        try:
            return self.channel.receive()
        except Closed:
            self.lost()
            raise

    def lost(self) -> None:
        """Raises MemberLost, with how the process ended."""
        code = self.process.wait()
        ending = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        if code == -signal.SIGKILL and kernel_oom_kills() != self.kills_before:
            ending += ", because the host was out of memory"
        raise MemberLost(f"member {self.name} {ending}")


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

    def peak_memory_bytes(self) -> int:
        # This process holds the batches on their way.
        return int(sum(self.told("peak_bytes").values()) + host.process_peak_bytes())


def flat(told: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """What each member counts, under names that say whose it is."""
    return {f"{device}: {name}": count for device, found in told.items() for name, count in found.items()}


class Trial:
    """How a batch of one size is shared out, and what its calls took.

    Each member is timed alone, at an equal share first, then at the share that follows from that, since
    its speed depends on how many samples a call has; the shares are made of the second.
    """

    def __init__(self, session: SplitSession, batch: Batch, size: int) -> None:
        self.session = session
        members = range(len(session.members))
        equal = -(-size // len(members))
        self.alone_s = [self.time_alone(k, batch, equal) for k in members]
        first = shares.in_proportion(size, [equal / s for s in self.alone_s])
        speeds = [equal / s for s in self.alone_s]
        for k in members:
            if first[k] not in (0, equal):
                self.alone_s[k] = self.time_alone(k, batch, first[k])
                speeds[k] = first[k] / self.alone_s[k]
        self.timed_samples = [part or equal for part in first]
        self.shares = shares.in_proportion(size, speeds)
        self.best = max(members, key=lambda k: speeds[k])
        self.whole_s = self.time_alone(self.best, batch, size)
        self.place_s: deque[float] = deque(maxlen=KEPT_CALLS)
        self.run_s: deque[tuple[float, ...]] = deque(maxlen=KEPT_CALLS)
        # What was compiled for the shares that were tried is not the model's memory, nor its first call.
        session.ask_all(exchange.FORGET)

    def time_alone(self, k: int, batch: Batch, samples: int) -> float:
        """The median seconds of one member's call with so many samples, the others idle."""
        parts = [0] * len(self.session.members)
        parts[k] = samples
        placed = self.session.place_shares({name: array[:samples] for name, array in batch.items()}, parts)
        seconds = []
        end = None
        while end is None or len(seconds) < 4 or (time.perf_counter() < end and len(seconds) < TRIAL_CALLS):
            for member in placed.members:
                member.ask(exchange.RUN, placed.slot)
            seconds.append(max(message.seconds for message in self.session.answers(placed.members)))
            end = end or time.perf_counter() + TRIAL_SECONDS
        return float(np.median(seconds[1:]))

    def summary(self) -> dict[str, Any]:
        """What the record keeps; times are medians in ms. `together_ms` is beside the other members."""
        names = [member.device for member in self.session.members]
        found: dict[str, Any] = {
            "shares": dict(zip(names, self.shares, strict=True)),
            "alone_ms": {name: s * 1e3 for name, s in zip(names, self.alone_s, strict=True)},
            "alone_samples": dict(zip(names, self.timed_samples, strict=True)),
            "best": names[self.best],
            "whole_on_best_ms": self.whole_s * 1e3,
            "place_ms": float(np.median(self.place_s)) * 1e3 if self.place_s else None,
        }
        if not self.run_s:
            return found
        calls = np.array(self.run_s)
        working = [member.device for member in self.session.working(self.shares)]
        call_s = float(np.median(calls[:, 0]))
        return found | {
            "together_ms": dict(zip(working, (np.median(calls[:, 1:], axis=0) * 1e3).tolist(), strict=True)),
            "call_ms": call_s * 1e3,
            # From the slowest member's end to the answer of all, and the way there.
            "hand_over_us": float(np.median(calls[:, 0] - calls[:, 1:].max(axis=1))) * 1e6,
            # Where one member has it all, nothing is split.
            "pays": bool(np.count_nonzero(self.shares) > 1 and call_s < self.whole_s),
        }


def open_session(request: Request) -> SplitSession:
    """Start the members, all at once, and wait until each has opened its session."""
    if any(member.get("parallel") for member in request.members):
        from hwfit.worker.runtimes.distributed import DistributedSession

        return DistributedSession(request)
    return SplitSession(request)


def describe(accelerator: str, index: int) -> dict[str, Any]:
    """What hands out the batches; the members describe themselves in the record's details."""
    return {"runtime_version": hwfit.__version__, "device_name": COMPOSITE}


def peak_kernels(accelerator: str, index: int, size: int, copy_bytes: int) -> tuple[Any, Any]:
    """The kernel of one thread that tells of the host's clock, for both: the members are not asked."""
    return conditions.cpu_kernel(), conditions.cpu_kernel()
