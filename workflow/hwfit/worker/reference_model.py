"""The zoo's reference models with made-up weights, by a runtime's own session: what an inventory measures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from hwfit.catalog import weights_file
from hwfit.worker import zoo
from hwfit.worker.runtimes import Request, Session
from hwfit.worker.zoo import layers

INPUT = "x"


def open_reference(
    model: str, runtime: str, module: ModuleType, accelerator: str, index: int, threads: int | None = None
) -> Session:
    """A session of a zoo model of dense layers, convolutions and ReLU, weights from a seed.

    Parameters
    ----------
    runtime, module : its name, and what `runtimes.load` gives of it
    """
    definition = zoo.model(model)
    with tempfile.TemporaryDirectory() as directory:
        weights = Path(directory) / weights_file(runtime)
        write_weights(definition.LAYERS, weights)
        card = {"inputs": [{"name": INPUT, "dtype": "float32", "shape": list(definition.INPUT_SHAPE)}]}
        request = Request({"zoo": model}, "features", weights, card, accelerator, index, threads=threads)
        session: Session = module.open_session(request)
        return session


def write_weights(network: Sequence[layers.Layer], path: Path) -> None:
    """Write a network's weights as its runtime reads them."""
    arrays = dict(made_up(network))
    if path.suffix == ".onnx":
        from hwfit.worker.onnx_graphs import sequence

        path.write_bytes(sequence(network, arrays))
    else:
        from safetensors.numpy import save_file

        save_file(arrays, path)


def made_up(network: Sequence[layers.Layer]) -> Iterator[tuple[str, np.ndarray]]:
    """Weights by name that keep values of the size they come in."""
    generator = np.random.default_rng(0)
    for layer in network:
        if isinstance(layer, layers.Dense | layers.Convolution):
            kernel = (layer.kernel, layer.kernel) if isinstance(layer, layers.Convolution) else ()
            weight = generator.standard_normal((layer.outputs, layer.inputs, *kernel), np.float32)
            yield f"{layer.name}.weight", weight / np.sqrt(np.float32(weight[0].size))
            yield f"{layer.name}.bias", np.zeros(layer.outputs, np.float32)


def inputs_of(model: str, batch_size: int) -> dict[str, np.ndarray]:
    """Made-up inputs of a batch, float32 (batch, ...)."""
    generator = np.random.default_rng(0)
    return {INPUT: generator.standard_normal((batch_size, *zoo.model(model).INPUT_SHAPE), np.float32)}
