"""Deep Compression (Han, Mao, Dally, ICLR 2016): prune, retrain, share weights, entropy-code.

Pruning is gradual (see `prune_gradually`), sharing is the paper's: k-means of each layer's weights from a
linear start, then the centroids are trained. A range coder with adaptive probabilities replaces Huffman codes
(see `compressed_file`). The network that is used is the one that the file decodes to, bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hwfit.records import write_bytes
from hwfit.worker.checkpoint import Checkpoint
from hwfit.worker.passes.prune_gradually import prepared, prunable

FILE = "weights.hwfitdc"
# What the paper reports on MNIST (its table 1), for the zoo's models of that name.
TITLE = "Han, Mao, Dally: Deep Compression, ICLR 2016"
PAPER = {
    "lenet-300-100": (0.0164, 0.0158, 1070, 27, 40),
    "lenet-5": (0.0080, 0.0074, 1720, 44, 39),
}
FIGURES = ("error_before", "error_after", "original_kb", "compressed_kb", "ratio")


def apply(
    checkpoint: Checkpoint,
    amount: float = 0.94,
    convolution_bits: int = 5,
    dense_bits: int = 5,
    epochs: int = 30,
    sharing_epochs: int = 6,
    learning_rate: float = 1e-3,
    shift_pixels: int = 0,
    seed: int = 0,
) -> None:
    """Compress and write the file. Raises Unsupported where the model has no labelled training data.

    Parameters
    ----------
    amount : share of the weights of products that are removed, over all layers together
    convolution_bits, dense_bits : a layer's weights share 2^bits values
    epochs : of training while and after weights are removed
    sharing_epochs : of training the shared values
    learning_rate : Adam's, when weights begin to be removed
    shift_pixels : how far training images are moved at random; 0: the data as they are
    """
    from hwfit.worker import compressed_file
    from hwfit.worker.retraining import prune_while_training
    from hwfit.worker.shared_weights import SharedWeights

    module, data = prepared(checkpoint, shift_pixels)
    names = prunable(module)
    original_bytes = sum(array.nbytes for array in checkpoint.arrays.values())
    prune_while_training(module, names, data, amount, epochs, seed, learning_rate, shift_pixels)
    shapes = {name: p.ndim for name, p in module.named_parameters() if name in names}
    bits = {name: convolution_bits if axes > 2 else dense_bits for name, axes in shapes.items()}
    SharedWeights(module, bits).train(module, data, sharing_epochs, seed, shift_pixels)
    checkpoint.take(module)
    arrays = {name: in_half(array) for name, array in checkpoint.arrays.items()}
    content = compressed_file.encode(arrays, names)
    write_bytes(checkpoint.out / FILE, content)
    checkpoint.arrays = compressed_file.decode((checkpoint.out / FILE).read_bytes())
    checkpoint.files = [FILE]
    checkpoint.facts |= {
        "retraining_epochs": epochs,
        "sharing_epochs": sharing_epochs,
        "learning_rate": learning_rate,
        "shift_pixels": shift_pixels,
        "seed": seed,
        "file_bytes": len(content),
        "original_bytes": original_bytes,
        "ratio": original_bytes / len(content),
    } | coding_facts(arrays, names, len(content))
    published = PAPER.get((checkpoint.card.get("source") or {}).get("zoo", ""))
    if published and checkpoint.card.get("data_provenance") == "mnist":
        figures = dict(zip(FIGURES, published, strict=True))
        checkpoint.facts["paper"] = {"title": TITLE} | figures


def in_half(array: np.ndarray) -> np.ndarray:
    """Single-precision values rounded to half precision, and kept in single: half the bytes in the file.

    Left as they are where half precision has no room for them.
    """
    if array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float16).astype(np.float32)
    return rounded if np.isfinite(rounded).all() else array


def coding_facts(arrays: dict[str, np.ndarray], names: list[str], file_bytes: int) -> dict[str, Any]:
    """The layers, and what other codes would make of them.

    `entropy_bytes` is a bound for codes that know each layer's share of zeros and how often each value comes,
    but not where; `huffman_bytes` the paper's coding with the same codebooks and other arrays.
    """
    from hwfit.worker.paper_coding import huffman_bits

    layers, entropy_bits, huffman = {}, 0.0, 0
    for name in names:
        array = arrays[name]
        values, counts = np.unique(array[array != 0], return_counts=True)
        layer = entropy(np.array([counts.sum(), array.size - counts.sum()])) + entropy(counts)
        layers[name] = {
            "kept": int(counts.sum()) / array.size,
            "values": len(values),
            "entropy_bits_per_kept_weight": layer / max(1, int(counts.sum())),
        }
        entropy_bits += layer
        huffman += huffman_bits(array)
    plain = sum(array.size * 2 for name, array in arrays.items() if name not in names)
    codebooks = sum(2 * layer["values"] for layer in layers.values())
    return {
        "layers": layers,
        "entropy_bytes": entropy_bits / 8 + plain + codebooks,
        "huffman_bytes": huffman / 8 + plain + codebooks,
        "file_bits_per_weight": 8 * file_bytes / sum(array.size for array in arrays.values()),
    }


def entropy(counts: np.ndarray) -> float:
    """Bits of symbols that come so often each, by Shannon's bound."""
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / counts.sum())).sum()) if counts.size else 0.0
