"""A language model in numpy, for tests of the worker wing: it says what follows from all tokens so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hwfit.catalog import generation_scenario
from hwfit.records import file_sha256, write_json
from hwfit.worker.generation import GenerationSession, evaluation, text
from hwfit.worker.job import Job
from jobs import make_job

VOCABULARY, WIDTH, TOKENS = 40, 16, 2000
PROMPT, OUTPUT = 12, 6


class MeanDecoder:
    """Logits are a fixed matrix times the mean of the embeddings so far; the cache holds the embeddings."""

    def __init__(self) -> None:
        generator = np.random.default_rng(3)
        self.embeddings = generator.standard_normal((VOCABULARY, WIDTH)).astype(np.float32)
        self.head = generator.standard_normal((WIDTH, VOCABULARY)).astype(np.float32)

    def logits(self, tokens: np.ndarray, first: int = 0) -> np.ndarray:
        sums = self.embeddings[tokens].cumsum(axis=1)
        means = sums / np.arange(1, tokens.shape[1] + 1)[:, None]
        return (means[:, first:] @ self.head).astype(np.float32)

    def new_cache(self, batch_size: int, length: int) -> np.ndarray:
        return np.zeros((batch_size, length, WIDTH), np.float32)

    def cache_bytes(self, cache: np.ndarray) -> int:
        return cache.nbytes

    def prefill(self, tokens: np.ndarray, cache: np.ndarray) -> np.ndarray:
        cache[:, : tokens.shape[1]] = self.embeddings[tokens]
        return self.next(cache[:, : tokens.shape[1]])

    def decode(self, tokens: np.ndarray, position: int, cache: np.ndarray) -> np.ndarray:
        cache[:, position] = self.embeddings[tokens]
        return self.next(cache[:, : position + 1])

    def next(self, seen: np.ndarray) -> np.ndarray:
        return (seen.mean(axis=1) @ self.head).argmax(axis=-1)


class LanguageSession(GenerationSession):
    """An honest session of it."""

    def __init__(self, request: Any) -> None:
        self.names = [entry["name"] for entry in request.card["inputs"]]
        self.decoder = MeanDecoder()
        self.prepare_generation(request)

    def place(self, batch: Any) -> Any:
        return [batch["input_ids"]]

    def wait(self) -> None:
        pass

    def to_host(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def accelerator_of(self, output: Any) -> str:
        return "cpu"

    def model_size_bytes(self) -> int:
        return self.decoder.embeddings.nbytes + self.decoder.head.nbytes


def make_language_job(directory: Path, *, prompt: int = PROMPT, output: int = OUTPUT, **changes: Any) -> Job:
    """A job that measures it on a text that it might have written, with its own logits as the reference."""
    job = make_job(directory, task="generation")
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, TOKENS).astype(np.int32)
    prefix = np.empty(0, np.int32)
    windows = text.windows(tokens, prefix)
    reading = evaluation.read(MeanDecoder().logits, windows)
    path = job.model_directory / "evaluation.npz"
    np.savez(
        path,
        input_ids=windows,
        likeliest=reading.likeliest,
        last_logits=reading.last_logits,
        tokens=tokens,
        prefix=prefix,
    )
    card = {
        "inputs": [{"name": "input_ids", "dtype": "int32", "shape": [windows.shape[1]]}],
        "reference_perplexity": reading.perplexity,
        "context_tokens": 100,
        "tolerance": 1e-4,
        "weights_sha256": "0",
        "evaluation_sha256": file_sha256(path),
    }
    write_json(job.model_directory / "card.json", card)
    cell = job.cell.__dict__ | {"scenario": generation_scenario(prompt, output)}
    changed = {"cell": cell, "task": "generation", "batch_sizes": [1, 4]} | changes
    return Job.from_dict(dict(job.__dict__) | {"measurement": dict(job.measurement)} | changed)
