"""What a torch module holds at once while it runs: bytes of all tensors alive, as torch's dispatcher sees."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hwfit.worker.counts import one_sample


class LiveBytes(TorchDispatchMode):
    """Context manager: sees each operator's outputs, and when their storages are gone again.

    What an operator takes for itself while it works (a matrix's packed copy) is out of sight.

    Attributes
    ----------
    most : bytes at the worst moment so far, without what was there before: weights, inputs, a cache
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # What goes in and has not come out of an operator was there before.
        self.seen |= {storage_of(tensor) for tensor in tensors_of((args, kwargs))}
        output = func(*args, **(kwargs or {}))
        for tensor in tensors_of(output):
            self.count(tensor)
        return output

    def count(self, tensor: torch.Tensor) -> None:
        """Count a tensor's storage, until nobody holds it any more."""
        address = storage_of(tensor)
        if address in self.seen:
            return
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        self.seen.add(address)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.forget, address, size)

    def forget(self, address: int, size: int) -> None:
        """The storage is gone, and its address may be another's from now on."""
        self.seen.discard(address)
        self.now -= size


def tensors_of(tree: Any) -> list[torch.Tensor]:
    """The tensors among an operator's arguments or outputs."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def storage_of(tensor: torch.Tensor) -> int:
    """What tells a storage from others, as long as it lives."""
    return tensor.untyped_storage()._cdata


@torch.inference_mode()
def peak_activation_bytes(module: Any, inputs: Mapping[str, np.ndarray]) -> int | None:
    """Most bytes of activations that live at once while a module runs on one sample, its inputs left out.

    None where it shows no operator, as a scripted module.
    """
    batch = one_sample(inputs)
    with LiveBytes() as live:
        module(*batch)
    return live.most or None
