"""Generation in torch: hwfit's own Llama, or any causal model that transformers loads.

Run on: CPU (torch 2.13.0, transformers 5.23.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hwfit.worker.generation import Decoder, GenerationSession
from hwfit.worker.runtimes import Batch, Request
from hwfit.worker.runtimes.torch import TorchSession, wait_for


class TorchGeneration(GenerationSession, TorchSession):
    """A module that generates; passes have acted on it before it is taken for a decoder."""

    def __init__(self, request: Request) -> None:
        TorchSession.__init__(self, request)
        self.decoder = decoder_of(self.module)
        self.prepare_generation(request)

    def place(self, batch: Batch) -> list[torch.Tensor]:
        return [tokens.long() for tokens in TorchSession.place(self, batch)]

    def wait(self) -> None:
        if self.is_asynchronous:
            wait_for(self.device)

    def to_host(self, array: torch.Tensor) -> np.ndarray:
        return (array.float() if array.is_floating_point() else array).cpu().numpy()


class TransformersDecoder:
    """A causal model of transformers, with its static cache where the model can use one."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def logits(self, tokens: torch.Tensor, first: int = 0) -> torch.Tensor:
        return self.module(tokens, use_cache=False).logits[:, first:]

    def new_cache(self, batch_size: int, length: int) -> Any:
        from transformers import DynamicCache, StaticCache

        if self.module._can_compile_fullgraph:
            return StaticCache(config=self.module.config, max_cache_len=length)
        return DynamicCache(config=self.module.config)

    def cache_bytes(self, cache: Any) -> int:
        arrays = [value for layer in cache.layers for value in vars(layer).values()]
        return sum(array.nbytes for array in arrays if isinstance(array, torch.Tensor) and array.ndim > 1)

    def prefill(self, tokens: torch.Tensor, cache: Any) -> torch.Tensor:
        cache.reset()
        return self.next(tokens, cache)

    def decode(self, tokens: torch.Tensor, position: int, cache: Any) -> torch.Tensor:
        return self.next(tokens[:, None], cache)

    def next(self, tokens: torch.Tensor, cache: Any) -> torch.Tensor:
        output = self.module(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].argmax(-1)


def decoder_of(module: Any) -> Decoder:
    """The module itself where it generates by itself, as hwfit's own does, else transformers' way."""
    return module if hasattr(module, "prefill") else TransformersDecoder(module)
