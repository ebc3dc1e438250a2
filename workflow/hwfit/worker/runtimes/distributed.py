"""A composite whose members pass tensors on by torch.distributed (`hwfit.worker.distributed`).

The batch lies with the first member, whole, and so do the outputs: to send the others their samples and to
take their outputs back is part of the timed call, which in a plain composite it is not.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace

from hwfit.worker import exchange
from hwfit.worker.member_process import MemberProcess
from hwfit.worker.runtimes import Batch, Request
from hwfit.worker.runtimes.split import Placed, SplitSession


class DistributedSession(SplitSession):
    """The ranks' sessions as one."""

    def __init__(self, request: Request) -> None:
        directory = tempfile.mkdtemp(prefix="hwfit-ranks-")
        ranks = {"ranks": len(request.members), "rendezvous": f"{directory}/store"}
        members = [dict(m) | ranks | {"rank": rank} for rank, m in enumerate(request.members)]
        try:
            super().__init__(replace(request, members=members))
        finally:
            # By now the ranks have found each other, or never will.
            shutil.rmtree(directory, ignore_errors=True)

    def working(self, parts: Sequence[int]) -> list[MemberProcess]:
        first, *others = self.members
        return [first, *(member for member, part in zip(others, parts[1:], strict=True) if part)]

    def holders(self, parts: Sequence[int]) -> list[MemberProcess]:
        return self.members[:1]

    def hand_out(self, batch: Batch, parts: Sequence[int], placed: Placed) -> None:
        rows = [[name, array.dtype.str, list(array.shape[1:])] for name, array in batch.items()]
        for member in placed.members:
            body = {"parts": list(parts), "rows": rows, "released": member.take_released()}
            if member is self.members[0]:
                body["arrays"] = member.channel.write_arrays(batch)
            member.ask(exchange.PLACE, placed.slot, body)
