"""Keys and values of a language model kept as int8, with a scale for each sequence, head and position.

The cache takes about a quarter of its fp32 bytes. Keys and values are widened again for each token, so that
it takes no less time. What the model says is evaluated through the cache as well. (Symmetric, by token; KIVI,
Liu et al., ICML 2024, goes on to keys by channel and to 2 bits.)

Run on: CPU (torch 2.13.0).
"""

from __future__ import annotations

from typing import Any

from hwfit.worker.errors import Unsupported


def torch(session: Any, dtype: str) -> None:
    """Give hwfit's own Llama a cache of int8. Raises Unsupported for a model of transformers."""
    if not hasattr(session.module, "layer_cache"):
        raise Unsupported(
            "hwfit's own Llama alone can keep its cache in int8; transformers' QuantizedCache needs "
            "optimum-quanto or hqq, which no environment has"
        )
    from hwfit.worker.zoo.llama.torch_cache import Int8LayerCache

    session.module.layer_cache = Int8LayerCache
