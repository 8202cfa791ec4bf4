"""A network learns to read the embedded digits; what comes of it is plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from convkit import data
from convkit.nn.alone import alone
from convkit.nn.evaluation import Evaluation, evaluate
from convkit.nn.layers import Conv2d
from convkit.nn.networks import digit_network
from convkit.nn.training import train


@dataclass(frozen=True, slots=True)
class Reading:
    """A trained reader of digits.

    Attributes
    ----------
    losses : list of float
        Mean loss of every epoch.
    evaluation : Evaluation
        What it says about the held-out digits.
    kernels : ndarray, shape (16, 1, 3, 3)
        The first layer's kernels.
    bias : ndarray, shape (16,)
        The first layer's biases.
    maps : ndarray, shape (16, 8, 8)
        What the first layer makes of the first held-out digit.
    """

    losses: list[float]
    evaluation: Evaluation
    kernels: NDArray[np.float32]
    bias: NDArray[np.float32]
    maps: NDArray[np.float32]


def read_digits(
    *,
    epochs: int = 20,
    batch: int = 128,
    rate: float = 8e-3,
    shift: int = 1,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> Reading:
    """Train `digit_network` on the digits that may be seen, and ask it about those held out.

    Parameters
    ----------
    epochs, batch, rate, shift, seed, progress
        As in `train`. The random numbers of the caller go on as if nothing had happened.
    """
    digits = data.digits()
    with alone(seed):
        network = digit_network()
        losses = train(
            network,
            _ink(digits.train_images),
            torch.from_numpy(digits.train_labels).long(),
            epochs=epochs,
            batch=batch,
            rate=rate,
            shift=shift,
            seed=seed,
            progress=progress,
        )
        unseen = _ink(digits.test_images)
        evaluation = evaluate(network, unseen, torch.from_numpy(digits.test_labels).long())
        first = network[0]
        assert isinstance(first, Conv2d)
        assert first.bias is not None
        with torch.no_grad():
            maps = first(unseen[:1])[0]
    return Reading(
        losses, evaluation, first.weight.detach().numpy(), first.bias.detach().numpy(), maps.detach().numpy()
    )


def _ink(images: NDArray[np.uint8]) -> torch.Tensor:
    """Ink from 0 to 1, with a channel axis."""
    return torch.from_numpy(images).float().unsqueeze(1) / 16
