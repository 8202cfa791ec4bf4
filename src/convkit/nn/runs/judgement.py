"""What a trained network says about pictures whose labels are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convkit.data import Pictures
from convkit.nn.runs.preprocessing import pixels


@dataclass(frozen=True, slots=True)
class Judgement:
    """Scores of all pictures, and what follows from them.

    Attributes
    ----------
    labels : ndarray of int64, shape (pictures,)
        What the pictures show.
    scores : ndarray of float32, shape (pictures, classes)
        What the network gave each class.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    @property
    def said(self) -> NDArray[np.int64]:
        """The class given to each picture."""
        return self.scores.argmax(axis=1)

    @property
    def correct(self) -> int:
        """Pictures told rightly."""
        return int((self.said == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """Share of pictures told rightly, 0 to 1."""
        return self.correct / len(self.labels)

    @property
    def shares(self) -> NDArray[np.float64]:
        """The scores as shares of certainty (softmax)."""
        raised = np.exp(self.scores.astype(np.float64) - self.scores.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    @property
    def loss(self) -> float:
        """Mean cross-entropy, natural logarithm."""
        own = self.shares[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(own, 1e-300)).mean())

    @property
    def confusion(self) -> NDArray[np.int64]:
        """``confusion[true, said]`` counts pictures."""
        classes = self.scores.shape[1]
        return np.bincount(self.labels * classes + self.said, minlength=classes**2).reshape(classes, classes)

    def by_class(self, names: tuple[str, ...]) -> list[dict[str, object]]:
        """Pictures, hits, recall, precision and F1 of every class; None where nothing can be divided."""
        table = self.confusion
        rows: list[dict[str, object]] = []
        for i, name in enumerate(names):
            hits, true, said = int(table[i, i]), int(table[i].sum()), int(table[:, i].sum())
            rows.append(
                {
                    "class": name,
                    "pictures": true,
                    "correct": hits,
                    "accuracy": hits / true if true else None,
                    "precision": hits / said if said else None,
                    "f1": 2 * hits / (true + said) if true + said else None,
                }
            )
        return rows

    def worst(self, count: int) -> NDArray[np.int64]:
        """The wrong answers that were given with the greatest certainty, most certain first."""
        wrong = np.flatnonzero(self.said != self.labels)
        sure = self.shares[wrong, self.said[wrong]]
        return wrong[np.argsort(-sure, kind="stable")][:count]


def judged(
    network: nn.Module,
    preprocess: nn.Module,
    part: Pictures,
    *,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Judgement:
    """Let ``network`` score every picture of ``part``; nothing is learned.

    Parameters
    ----------
    network : Module
        Gives one score a class.
    preprocess : Module
        What pictures in 0..1 go through before it.
    part : Pictures
        The pictures.
    batch : int
        Pictures at a time.
    progress : callable, optional
        Called as ``progress(done, all)``.
    """
    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(part), batch):
            chosen = np.arange(start, min(start + batch, len(part)))
            parts.append(network(preprocess(pixels(part.take(chosen)))).numpy())
            if progress is not None:
                progress(start + len(chosen), len(part))
    return Judgement(part.labels, np.concatenate(parts))
