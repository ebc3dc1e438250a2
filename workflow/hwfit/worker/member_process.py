"""A member of a composite, seen from the composite's worker: its process, and the channel to it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwfit.process import python_path
from hwfit.records import read_json
from hwfit.worker import exchange
from hwfit.worker.child import environment_without_thread_counts, kernel_oom_kills, prepare_child
from hwfit.worker.errors import Unsupported
from hwfit.worker.exchange import Channel, Closed, Message
from hwfit.worker.runtimes import Request
from hwfit.worker.worker_process import WAITS

# A wait that is longer is said on stderr, so that a member that hangs has a name.
LONG_WAIT_S = 1.0


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
        variables |= {"PYTHONPATH": python_path(), "PYTHONHASHSEED": "0"}
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
        spec |= {"identity": probe.get("identity")}
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
