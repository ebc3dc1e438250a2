"""Keys and values that a layer of the torch Llama keeps: as they come, or as int8.

Run on: CPU (torch 2.13.0).
"""

from __future__ import annotations

import torch
from torch import Tensor

# The largest magnitude of a symmetric int8.
LARGEST = 127


class LayerCache:
    """Room for the keys and values of a layer, each (batch, key-value heads, positions, head_dim).

    Parameters
    ----------
    like : a tensor in whose format and on whose device they are kept
    """

    # Whether `read` gives other values than were written.
    is_lossy = False

    def __init__(self, shape: tuple[int, int, int, int], like: Tensor) -> None:
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)

    @property
    def nbytes(self) -> int:
        """The bytes of all that is kept."""
        return sum(kept.nbytes for kept in vars(self).values() if isinstance(kept, Tensor))

    def write(self, position: int, key: Tensor, value: Tensor) -> None:
        """Keep keys and values (batch, key-value heads, length, head_dim) from a position on."""
        rows = slice(position, position + key.shape[2])
        self.keys[:, :, rows] = key
        self.values[:, :, rows] = value

    def read(self, end: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the positions before `end`."""
        return self.keys[:, :, :end], self.values[:, :, :end]


class Int8LayerCache(LayerCache):
    """The same as symmetric int8 with an fp32 scale for each sequence, head and position.

    All positions are widened anew at each read, so what is saved is memory, not time.
    """

    is_lossy = True

    def __init__(self, shape: tuple[int, int, int, int], like: Tensor) -> None:
        self.dtype = like.dtype
        self.keys, self.values = (like.new_zeros(shape, dtype=torch.int8) for _ in range(2))
        scales = (*shape[:3], 1)
        self.key_scales, self.value_scales = (like.new_zeros(scales, dtype=torch.float32) for _ in range(2))

    def write(self, position: int, key: Tensor, value: Tensor) -> None:
        rows = slice(position, position + key.shape[2])
        for given, kept, scales in (
            (key, self.keys, self.key_scales),
            (value, self.values, self.value_scales),
        ):
            wide = given.float()
            # Never 0, by which nothing can be divided.
            scale = wide.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30) / LARGEST
            kept[:, :, rows] = (wide / scale).round()
            scales[:, :, rows] = scale

    def read(self, end: int) -> tuple[Tensor, Tensor]:
        key, value = (
            (kept[:, :, :end] * scales[:, :, :end]).to(self.dtype)
            for kept, scales in ((self.keys, self.key_scales), (self.values, self.value_scales))
        )
        return key, value
