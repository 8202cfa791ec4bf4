"""How well a network tells what it has never seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network said about pictures whose labels are known.

    Attributes
    ----------
    confusion : ndarray of int64, shape (classes, classes)
        ``confusion[true, said]`` counts pictures.
    said : ndarray of int64, shape (pictures,)
        The class given to each picture.
    """

    confusion: NDArray[np.int64]
    said: NDArray[np.int64]

    @property
    def correct(self) -> int:
        """Pictures told rightly."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of pictures told rightly, 0 to 1."""
        return self.correct / int(self.confusion.sum())


def evaluate(network: nn.Module, images: Tensor, labels: Tensor, *, batch: int = 256) -> Evaluation:
    """Let ``network`` name every picture and count its answers; nothing is learned.

    Parameters
    ----------
    network : Module
        Gives one score a class.
    images : Tensor of float, shape (pictures, channels, rows, columns)
        The pictures.
    labels : Tensor of int64, shape (pictures,)
        What they show.
    batch : int
        Pictures at a time.
    """
    network.eval()
    with torch.no_grad():
        scores = torch.cat([network(part) for part in images.split(batch)])
    said = scores.argmax(dim=1).numpy()
    confusion = np.zeros((scores.shape[1],) * 2, dtype=np.int64)
    np.add.at(confusion, (labels.numpy(), said), 1)
    return Evaluation(confusion, said)
