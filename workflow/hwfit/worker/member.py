"""One member of a composite device: a process in the environment of its runtime, with a session of its own.

It does what the composite's worker asks (`hwfit.worker.runtimes.split`) and sleeps in between.
"""

from __future__ import annotations

import gc
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwfit.records import weights_path
from hwfit.worker import exchange, host, runtimes
from hwfit.worker.exchange import Channel, Closed
from hwfit.worker.memory import session_memory


def serve(channel: Channel) -> None:
    """Answer until the composite's worker is gone."""
    member: Member | None = None
    while True:
        try:
            asked = channel.receive()
        except Closed:
            return
        try:
            if member is None:
                member = open_member(asked.body, channel)
                channel.send(exchange.DONE, body=member.described)
            elif asked.what == exchange.RUN:
                channel.send(exchange.DONE, asked.slot, member.run(asked.slot))
            else:
                channel.send(exchange.DONE, asked.slot, body=member.do(asked))
        except Closed:
            return
        except Exception as error:
            text = str(error).strip() or type(error).__name__
            channel.send(exchange.FAILED, body={"kind": type(error).__name__, "text": text})


def open_member(spec: dict[str, Any], channel: Channel) -> Member:
    """A member with its session, as the composite is driven."""
    if spec.get("parallel"):
        from hwfit.worker.distributed import DistributedMember

        return DistributedMember(spec, channel)
    return Member(spec, channel)


class Member:
    """An open session, with the inputs that were placed and the outputs of their last runs, by slot."""

    def __init__(self, spec: dict[str, Any], channel: Channel) -> None:
        self.channel = channel
        self.accelerator = spec["accelerator"]
        self.identity = spec.get("identity")
        runtime = runtimes.load(spec["runtime"])
        self.described = runtime.describe(spec["accelerator"], spec["index"])
        self.framework_bytes = host.process_memory().now_bytes
        self.session = runtime.open_session(
            runtimes.Request(
                source=spec["source"],
                task=spec["task"],
                weights=weights_path(Path(spec["weights_directory"]), spec["runtime"]),
                card=spec["card"],
                accelerator=spec["accelerator"],
                index=spec["index"],
                passes=spec["passes"],
                threads=spec["threads"],
            )
        )
        self.placed: dict[int, Any] = {}
        self.outputs: dict[int, Any] = {}
        # What the framework and the model hold stays: later collections need not look at it again.
        gc.collect()
        gc.freeze()

    def run(self, slot: int) -> float:
        """Run the model once; returns its seconds."""
        start = time.perf_counter()
        self.outputs[slot] = self.session.run(self.placed[slot])
        return time.perf_counter() - start

    def do(self, asked: exchange.Message) -> Any:
        """All that is outside the timed calls; returns what is answered."""
        match asked.what:
            case exchange.PLACE:
                for slot in asked.body["released"]:
                    self.placed.pop(slot, None)
                    self.outputs.pop(slot, None)
                self.placed[asked.slot] = self.session.place(self.channel.read_arrays(asked.body["arrays"]))
            case exchange.FETCH:
                output = self.session.fetch(self.outputs[asked.slot])
                return self.channel.write_arrays({"output": output})
            case exchange.TELL:
                # Before all others, some of which make copies of the weights.
                memory = session_memory(self.session, self.accelerator, self.identity, self.framework_bytes)
                placement = self.session.placement()
                return {
                    "memory": asdict(memory),
                    "accelerator": self.session.accelerator_of(self.outputs[asked.slot])
                    if asked.slot in self.outputs
                    else None,
                    "model_size_bytes": self.session.model_size_bytes(),
                    "threads": self.session.threads(),
                    "precisions": self.session.precisions(),
                    "placement": placement and [placement.share, dict(placement.elsewhere)],
                }
            case exchange.FORGET:
                self.session.forget_compiled()
            case exchange.RESET:
                host.give_memory_back()
                host.reset_process_peak()
                self.session.reset_peak_memory()
        return None
