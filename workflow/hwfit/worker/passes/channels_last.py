"""Images and filters with their channels last in memory, as most convolution kernels want them.

Pays on CPUs with oneDNN and on NVIDIA's tensor cores, most of all beside bf16; a model without
convolutions gains nothing. (PyTorch, Channels Last Memory Format.)
"""

from __future__ import annotations

from typing import Any

from hwfit.worker.errors import Unsupported


def torch(session: Any) -> None:
    """Lay out the module's filters, and images when they are placed. Raises Unsupported without filters."""
    import torch as framework

    convolutions = (framework.nn.Conv2d, framework.nn.ConvTranspose2d)
    if not any(isinstance(module, convolutions) for module in session.module.modules()):
        raise Unsupported("no two-dimensional convolution to lay out")
    session.memory_format = framework.channels_last
    session.module = session.module.to(memory_format=framework.channels_last)
