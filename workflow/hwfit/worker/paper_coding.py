"""What Deep Compression's own coding takes: relative indices and Huffman codes (Han et al., 2015, fig. 2).

Only for comparison with what `compressed_file` takes: really coded, and decoded again.
"""

from __future__ import annotations

import constriction
import numpy as np

# The paper's, section 2: "8 bits for CONV layers and 5 bits for FC layers".
CONVOLUTION_GAP_BITS, DENSE_GAP_BITS = 8, 5


def huffman_bits(array: np.ndarray) -> int:
    """Bits of a sparse array's gaps and of its shared values, a Huffman code for each.

    A gap too long for its bits is bridged by filler zeros, which are values too. Neither codebooks nor the
    code's tables are counted.
    """
    gaps, values = relative_index(array, CONVOLUTION_GAP_BITS if array.ndim > 2 else DENSE_GAP_BITS)
    return coded_bits(gaps) + coded_bits(values)


def relative_index(array: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each weight kept, the zeros before it (less than 2^bits), and its value, with filler zeros."""
    flat = array.ravel()
    places = flat.nonzero()[0]
    gaps = np.diff(places, prepend=-1) - 1
    longest = 1 << bits
    fillers = gaps // longest
    ends = np.cumsum(fillers + 1) - 1
    coded = np.full(fillers.sum() + len(places), longest - 1)
    coded[ends] = gaps % longest
    values = np.zeros(len(coded), array.dtype)
    values[ends] = flat[places]
    return coded, values


def coded_bits(symbols: np.ndarray) -> int:
    """Bits of a Huffman code of the symbols, checked by decoding them."""
    alphabet, indices, counts = np.unique(symbols, return_inverse=True, return_counts=True)
    if len(alphabet) < 2:
        return len(symbols)
    shares = counts / counts.sum()
    encoder = constriction.symbol.QueueEncoder()
    tree = constriction.symbol.huffman.EncoderHuffmanTree(shares)
    for index in indices:
        encoder.encode_symbol(int(index), tree)
    words, bits = encoder.get_compressed()
    decoder = constriction.symbol.QueueDecoder(words)
    tree = constriction.symbol.huffman.DecoderHuffmanTree(shares)
    if any(decoder.decode_symbol(tree) != index for index in indices):
        raise AssertionError("the Huffman code does not decode to what was coded")
    return int(bits)
