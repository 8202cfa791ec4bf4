"""What becomes of a deep network, by the size of the weights it starts with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convkit import data
from convkit.nn.alone import alone
from convkit.nn.evaluation import evaluate
from convkit.nn.layers import Conv2d
from convkit.nn.zoo.initialisation import initialise

DEPTH, WIDTH = 6, 16


@dataclass(frozen=True, slots=True)
class Start:
    """How a network fared.

    Attributes
    ----------
    sizes : ndarray, shape (DEPTH,)
        Root mean square of each layer's outputs before training.
    losses : ndarray, shape (steps,)
        The loss at every step; once it is no longer a number it stays so.
    accuracy : float
        Share of the held-out digits named rightly after the last step.
    """

    sizes: NDArray[np.float64]
    losses: NDArray[np.float64]
    accuracy: float


def deep_network() -> nn.Sequential:
    """Six 3x3 convolutions with ReLU and nothing that would normalise between them; a mean over places; a vote."""
    layers: list[nn.Module] = []
    for i in range(DEPTH):
        layers += [Conv2d(WIDTH if i else 1, WIDTH, 3, padding=1), nn.ReLU()]
        if i in (1, 3):
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTH * 4, 10))


def drawn(network: nn.Sequential, deviation: float) -> nn.Sequential:
    """Weights from a normal distribution of one deviation for all layers, biases zero."""
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, (Conv2d, nn.Linear)) and layer.bias is not None:
                layer.weight.normal_(std=deviation) if deviation else layer.weight.zero_()
                layer.bias.zero_()
    return network


def compare_starts(
    *, steps: int = 80, batch: int = 32, rate: float = 0.015, seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> dict[str, Start]:  # fmt: skip
    """Train the same network on digits from four starts: all zero, too small, too large, and He's.

    The four see the same pictures in the same order; only the weights' size at the start differs.
    """
    digits = data.digits()
    images, unseen = (_centred(part, digits.train_images) for part in (digits.train_images, digits.test_images))
    labels, truth = (torch.from_numpy(part).long() for part in (digits.train_labels, digits.test_labels))
    starts: dict[str, Callable[[nn.Sequential], nn.Module]] = {
        "zero": lambda network: drawn(network, 0.0),
        "small": lambda network: drawn(network, 0.01),
        "large": lambda network: drawn(network, 1.0),
        "he": lambda network: initialise(network, "he"),
    }
    results: dict[str, Start] = {}
    for i, (name, start) in enumerate(starts.items()):
        with alone(seed):
            network = deep_network()
            start(network)
            sizes = _sizes(network, images[:batch])
            losses = np.full(steps, np.nan)
            optimiser = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
            for step in range(steps):
                chosen = torch.randint(len(images), (batch,))
                loss = nn.functional.cross_entropy(network(images[chosen]), labels[chosen])
                losses[step] = loss.item()
                if progress is not None:
                    progress(i * steps + step + 1, len(starts) * steps, loss.item())
                if not np.isfinite(losses[step]):
                    break  # nothing comes back from there
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            results[name] = Start(sizes, losses, evaluate(network, unseen, truth).accuracy)
    return results


def _centred(images: NDArray[np.uint8], seen: NDArray[np.uint8]) -> Tensor:
    """Mean zero and deviation one, by the pictures that may be seen."""
    return ((torch.from_numpy(images).float() - float(seen.mean())) / float(seen.std())).unsqueeze(1)


def _sizes(network: nn.Sequential, images: Tensor) -> NDArray[np.float64]:
    sizes = []
    with torch.no_grad():
        for layer in network:
            images = layer(images)
            if isinstance(layer, nn.ReLU):
                sizes.append(float(images.pow(2).mean().sqrt()))
    return np.array(sizes)
