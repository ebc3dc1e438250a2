"""What a torch module holds and what a sample costs it, by the counters of torch and torchinfo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def weight_bytes(module: Any) -> int:
    """Bytes of the parameters.

    Torch's own sizes: torchinfo 1.8.0 leaves out a parameter that stands beside child modules.
    """
    return sum(parameter.nbytes for parameter in module.parameters())


@torch.inference_mode()
def flops(module: Any, inputs: Mapping[str, np.ndarray]) -> int:
    """FLOPs of one sample by torch's counter, multiply and add counted as two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(*one_sample(inputs))
    return counter.get_total_flops()


def activation_bytes(module: Any, inputs: Mapping[str, np.ndarray]) -> int | None:
    """Bytes of the outputs of all layers that have weights, for one sample, by torchinfo.

    None where it sees no such layer (a scripted module shows none) or cannot read what a layer returns.
    """
    from torchinfo import summary

    try:
        counted = summary(module, input_data=one_sample(inputs), verbose=0)
    except RuntimeError:
        return None
    # It counts each twice, the second time for the gradient.
    return counted.total_output_bytes // 2 or None


def one_sample(inputs: Mapping[str, np.ndarray]) -> list[torch.Tensor]:
    """The first sample of each input."""
    return [torch.from_numpy(array[:1]) for array in inputs.values()]
