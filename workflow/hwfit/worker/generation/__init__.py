"""Language models: a session that writes greedily, token by token, with a cache of keys and values.

`run` is one request of a batch: it reads the prompts, then writes as many tokens as were asked for, without
stopping at an end of text, so that every request is the same work. It notes the time after each token,
waiting for the device, since that is when a user sees it.

Each runtime has its session here in a file of its name. All of them run a `Decoder`.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hwfit.worker.errors import Unsupported
from hwfit.worker.runtimes import Request, Session


class Decoder(Protocol):
    """A network whose weights lie on a device. Tokens and what it returns are the framework's own arrays."""

    def logits(self, tokens: Any, first: int = 0) -> Any:
        """Without a cache: (batch, length) to (batch, length - first, vocabulary), of `first` and later."""

    def new_cache(self, batch_size: int, length: int) -> Any:
        """Room for keys and values of every layer, for sequences of a length; made once, used again."""

    def cache_bytes(self, cache: Any) -> int:
        """The bytes of its arrays."""

    def prefill(self, tokens: Any, cache: Any) -> Any:
        """Read prompts (batch, length) into the cache; returns the likeliest next tokens, (batch,)."""

    def decode(self, tokens: Any, position: int, cache: Any) -> Any:
        """Read one token a sequence, (batch,), at a position; returns the likeliest next tokens, (batch,)."""


@dataclass
class Written:
    """What a request wrote.

    Attributes
    ----------
    tokens : one array (batch,) for each token, where the device has it
    stamps_s : when each of them was there, seconds after the request began
    """

    tokens: list[Any]
    stamps_s: list[float]


class GenerationSession(Session):
    """Generation for any framework; the session of a framework comes after it in the order of bases."""

    decoder: Decoder
    names: list[str]

    def prepare_generation(self, request: Request) -> None:
        """To be called at the end of construction. Raises Unsupported where the card says it cannot be."""
        if not request.output_tokens:
            raise Unsupported("a language model is measured in scenarios of measurement.generation alone")
        self.output_tokens = request.output_tokens
        self.context_tokens = request.card.get("context_tokens")
        self.cache: Any = None
        self.cache_shape = (0, 0)

    @abstractmethod
    def wait(self) -> None:
        """Wait for what the device was asked for."""

    @abstractmethod
    def to_host(self, array: Any) -> np.ndarray:
        """Copy an array of the framework's."""

    def run(self, placed: Any) -> Written:
        (prompts,) = placed
        batch_size, length = prompts.shape
        decoder, cache = self.decoder, self.cache_for(batch_size, length + self.output_tokens)
        clock, wait = time.perf_counter, self.wait
        start = clock()
        tokens = decoder.prefill(prompts, cache)
        wait()
        written = Written([tokens], [clock() - start])
        for position in range(length, length + self.output_tokens - 1):
            tokens = decoder.decode(tokens, position, cache)
            wait()
            written.stamps_s.append(clock() - start)
            written.tokens.append(tokens)
        return written

    def cache_for(self, batch_size: int, length: int) -> Any:
        """The cache, made anew where the last request's has another shape."""
        if self.cache_shape != (batch_size, length):
            if self.context_tokens and length > self.context_tokens:
                raise Unsupported(
                    f"prompt and output are {length} tokens, the model's context has {self.context_tokens}"
                )
            self.cache = None
            self.cache = self.decoder.new_cache(batch_size, length)
            self.cache_shape = (batch_size, length)
        return self.cache

    def cache_bytes(self) -> int:
        """The bytes of the last request's cache."""
        return self.decoder.cache_bytes(self.cache)

    def fetch(self, output: Written) -> np.ndarray:
        """The tokens as int32 (batch, output tokens)."""
        return np.stack([self.to_host(tokens) for tokens in output.tokens], axis=1).astype(np.int32)

    def start(self, placed: Any) -> Any:
        return self.run(placed)

    def finish(self, started: Any) -> np.ndarray:
        return self.fetch(started)

    def accelerator_of(self, output: Written) -> str:
        # That of the framework's session, which comes after this one.
        return super().accelerator_of(output.tokens[-1])  # type: ignore[safe-super]

    def logits(self, tokens: np.ndarray, first: int = 0) -> np.ndarray:
        """Of positions from `first` on, without a cache: float32 (batch, length - first, vocabulary)."""
        (placed,) = self.place({self.names[0]: tokens})
        return self.to_host(self.decoder.logits(placed, first)).astype(np.float32, copy=False)
