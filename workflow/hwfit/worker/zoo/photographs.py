"""Photographs as torchvision's ImageNet models take them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

INPUT_SHAPE = (3, 224, 224)
# Of ImageNet's pixels, by channel.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def evaluation_inputs(
    dataset: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The data set's `images`, uint8 (n, 224, 224, 3), normalised, as (n, 3, 224, 224); its `labels` if any.

    Raises ValueError where the images are others.
    """
    images = dataset["images"]
    height, width = INPUT_SHAPE[1:]
    if images.dtype != np.uint8 or images.shape[1:] != (height, width, 3):
        raise ValueError(
            f"images are {images.dtype} {images.shape}, expected uint8 (n, {height}, {width}, 3)"
        )
    normalised = (images.astype(np.float32) / 255 - MEAN) / DEVIATION
    return {"x": np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))}, dataset.get("labels")
