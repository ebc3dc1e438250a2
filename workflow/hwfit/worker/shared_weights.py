"""Weights that share few values: found by k-means, then trained together (Han, Mao, Dally, ICLR 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from hwfit.worker.retraining import retrain

LLOYD_ITERATIONS = 50
LEARNING_RATE = 5e-4


def cluster(values: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """k-means of numbers (n,) from a linear start, as the paper found best.

    Returns the centroids in rising order, those that no value is nearest to left out, and the index of each
    value's centroid.
    """
    values = values.astype(np.float64)
    centroids = np.unique(np.linspace(values.min(), values.max(), clusters))
    for _ in range(LLOYD_ITERATIONS):
        nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
        members = np.bincount(nearest, minlength=len(centroids))
        sums = np.bincount(nearest, values, len(centroids))
        moved = np.unique(sums[members > 0] / members[members > 0])
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids, np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)


class SharedWeights:
    """A module's sparse weights, each replaced by its centroid.

    Attributes
    ----------
    centroids : by weight name, values (clusters,) that are trained
    """

    def __init__(self, module: torch.nn.Module, bits: Mapping[str, int]) -> None:
        self.weights = {name: weight for name, weight in module.named_parameters() if name in bits}
        self.places, self.members = {}, {}
        self.centroids: dict[str, torch.Tensor] = {}
        for name, weight in self.weights.items():
            flat = weight.detach().flatten()
            places = flat.nonzero().flatten()
            if not len(places):
                continue
            centroids, members = cluster(flat[places].numpy(), 2 ** bits[name])
            self.places[name], self.members[name] = places, torch.from_numpy(members)
            self.centroids[name] = torch.tensor(centroids, dtype=weight.dtype, requires_grad=True)
        self.write()

    @torch.no_grad()
    def write(self) -> None:
        """Give the module's weights their centroids' values."""
        for name, centroids in self.centroids.items():
            weight = self.weights[name]
            # Through a copy in the order of axes: that in memory may be another while the module is trained.
            dense = weight.new_zeros(weight.numel())
            dense[self.places[name]] = centroids[self.members[name]]
            weight.copy_(dense.view(weight.shape))

    @torch.no_grad()
    def gather_gradients(self) -> None:
        """A centroid's gradient is the sum of its weights' (equation 3 of the paper)."""
        for name, centroids in self.centroids.items():
            gradient = self.weights[name].grad
            assert gradient is not None
            there = gradient.flatten()[self.places[name]]
            centroids.grad = torch.zeros_like(centroids).index_add_(0, self.members[name], there)

    def train(
        self,
        module: torch.nn.Module,
        data: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        epochs: int,
        seed: int,
        shift_pixels: int,
    ) -> None:
        """Train the centroids, and what is not shared, biases and norms, with them."""
        others: Sequence[torch.Tensor] = [p for n, p in module.named_parameters() if n not in self.weights]
        retrain(
            module,
            [*self.centroids.values(), *others],
            data,
            epochs,
            seed,
            self.gather_gradients,
            lambda step, steps: self.write(),
            LEARNING_RATE,
            shift_pixels,
        )
