"""What a torch module holds at once while it runs: bytes of all tensors alive, as torch's dispatcher sees."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hwfit.worker.counts import one_sample

# What graphs' compilers fuse with a product before or after it, beside arithmetic on single values.
FUSED = ("batch_norm", "layer_norm", "pad", "constant_pad_nd", "dropout", "lift_fresh")


@dataclass
class Storage:
    """Room for a tensor: its bytes, and the numbers of the operators that made it and used it last."""

    size: int
    made: int
    used: int


class LiveBytes(TorchDispatchMode):
    """Context manager: sees each operator's inputs and outputs, and when their storages are gone again.

    What an operator takes for itself while it works (a matrix's packed copy) is out of sight, and so is what
    was there before: weights, inputs, a cache.

    Attributes
    ----------
    most : bytes alive at the worst moment so far
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        # By address, as long as they live; None is what was there before.
        self.known: dict[int, Storage | None] = {}
        self.storages: list[Storage] = []
        self.is_fused: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        number = len(self.is_fused)
        self.is_fused.append(torch.Tag.pointwise in func.tags or name_of(func) in FUSED)
        for tensor in tensors_of((args, kwargs)):
            # What goes in and has not come out of an operator was there before.
            storage = self.known.setdefault(address_of(tensor), None)
            if storage:
                storage.used = number
        output = func(*args, **(kwargs or {}))
        for tensor in tensors_of(output):
            self.see(tensor, number)
        return output

    def see(self, tensor: torch.Tensor, number: int) -> None:
        """Count a tensor's storage that is new, until nobody holds it any more."""
        address = address_of(tensor)
        if address in self.known:
            return
        room = tensor.untyped_storage()
        self.known[address] = storage = Storage(room.nbytes(), number, number)
        self.storages.append(storage)
        self.now += storage.size
        self.most = max(self.most, self.now)
        weakref.finalize(room, self.forget, address, storage.size)

    def forget(self, address: int, size: int) -> None:
        """The storage is gone, and its address may be another's from now on."""
        self.known.pop(address, None)
        self.now -= size

    def most_fused(self) -> int:
        """Bytes at the worst moment of a graph of the same operators: what is used no more is gone, and an
        operator that is fused with another writes its outputs over inputs that nobody else uses.
        """
        most = 0
        for number, is_fused in enumerate(self.is_fused):
            there = (s for s in self.storages if s.made <= number <= s.used)
            most = max(most, sum(s.size for s in there if not (is_fused and s.made < number == s.used)))
        return most


def name_of(operator: Any) -> str:
    """An operator's name without its library and overload."""
    return operator._schema.name.partition("::")[2]


def tensors_of(tree: Any) -> list[torch.Tensor]:
    """The tensors among an operator's arguments or outputs."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def address_of(tensor: torch.Tensor) -> int:
    """What tells a tensor's storage from others, as long as it lives."""
    return tensor.untyped_storage()._cdata


@torch.inference_mode()
def peak_activation_bytes(module: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, int | None]:
    """Most bytes of activations that live at once while a module runs on one sample, its inputs left out: as
    torch runs it, and where operators are fused. As a card names them.

    None where it shows no operator, as a scripted module.
    """
    batch = one_sample(inputs)
    with LiveBytes() as live:
        module(*batch)
    return {
        "peak_activation_bytes_per_sample": live.most or None,
        "fused_activation_bytes_per_sample": live.most_fused() or None,
    }
