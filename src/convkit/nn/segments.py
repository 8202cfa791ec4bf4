"""A small fully convolutional network learns to label every pixel of drawn pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from convkit.nn.alone import alone
from convkit.nn.evaluation import evaluate
from convkit.nn.layers import Conv2d
from convkit.nn.training import train
from convkit.nn.zoo.initialisation import initialise
from convkit.nn.zoo.unet import UNet

SIDE = 24
SHAPES = ("background", "disc", "ring", "cross")


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What the network says about pictures that it has not seen.

    Attributes
    ----------
    losses : list of float
        Mean loss of every epoch.
    confusion : ndarray of int64, shape (4, 4)
        ``confusion[true, said]`` counts pixels.
    images, truth, said : ndarray, shape (pictures, SIDE, SIDE)
        The pictures held out, their labels and the network's.
    kernels : ndarray, shape (8, 1, 3, 3)
        The first layer's kernels.
    maps : ndarray, shape (8, SIDE, SIDE)
        What the first layer makes of the first picture held out.
    """

    losses: list[float]
    confusion: NDArray[np.int64]
    images: NDArray[np.float32]
    truth: NDArray[np.int64]
    said: NDArray[np.int64]
    kernels: NDArray[np.float32]
    maps: NDArray[np.float32]

    @property
    def overlaps(self) -> NDArray[np.float64]:
        """Intersection over union of every class: ``both / (true + said - both)``."""
        both = np.diag(self.confusion)
        return both / (self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - both)


def draw(count: int, chance: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pictures with a disc, a ring and a cross at chance places, of chance size and brightness, in noise.

    Returns
    -------
    images : ndarray of float32, shape (count, SIDE, SIDE)
        Brightness.
    labels : ndarray of int64, shape (count, SIDE, SIDE)
        0 background, 1 disc, 2 ring, 3 cross; what is drawn later covers what was there.
    """
    row, column = np.mgrid[:SIDE, :SIDE]
    images = np.zeros((count, SIDE, SIDE), np.float32)
    labels = np.zeros((count, SIDE, SIDE), np.int64)
    for image, label in zip(images, labels, strict=True):
        image += chance.uniform(-0.3, 0.3)
        taken: list[tuple[float, float, float]] = []
        for shape in chance.permutation([1, 2, 3])[:2]:
            while True:
                middle = chance.uniform(4, SIDE - 5, 2)
                radius = chance.uniform(3.5, 5.5)
                if all(np.hypot(middle[0] - r, middle[1] - c) > radius + other for r, c, other in taken):
                    break
            taken.append((middle[0], middle[1], radius))
            down, right = row - middle[0], column - middle[1]
            away = np.hypot(down, right)
            if shape == 1:
                inside = away <= radius
            elif shape == 2:
                inside = (away <= radius) & (away >= radius - 2)
            else:
                inside = (np.minimum(abs(down), abs(right)) <= 1) & (np.maximum(abs(down), abs(right)) <= radius)
            image[inside] = chance.uniform(0.7, 1.3)
            label[inside] = shape
        image += chance.normal(0, 0.1, image.shape).astype(np.float32)
    return images, labels


def learn_segments(
    *, pictures: int = 256, epochs: int = 8, batch: int = 16, rate: float = 2e-2, seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> Segmentation:  # fmt: skip
    """Train a small U-Net on drawn pictures and let it label a hundred others."""
    images, labels = draw(pictures, np.random.default_rng(seed))
    unseen, truth = draw(100, np.random.default_rng(seed + 1))
    with alone(seed):
        network = UNet(1, len(SHAPES), (SIDE, SIDE), widths=(8, 16, 32))
        initialise(network, "he")
        losses = train(
            network,
            torch.from_numpy(images).unsqueeze(1),
            torch.from_numpy(labels),
            epochs=epochs,
            batch=batch,
            rate=rate,
            seed=seed,
            progress=progress,
        )
        result = evaluate(network, torch.from_numpy(unseen).unsqueeze(1), torch.from_numpy(truth), batch=50)
        first = next(layer for layer in network.modules() if isinstance(layer, Conv2d))
        with torch.no_grad():
            maps = first(torch.from_numpy(unseen[:1]).unsqueeze(1))[0]
    kernels = first.weight.detach().numpy()
    return Segmentation(losses, result.confusion, unseen, truth, result.said, kernels, maps.numpy())
