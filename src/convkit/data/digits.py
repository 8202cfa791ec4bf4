"""The 1797 handwritten digits, with a fixed part that no training may see."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Digits:
    """Handwritten digits, split into a part to train on and a part held out.

    Attributes
    ----------
    train_images, test_images : ndarray of uint8, shape (pictures, 8, 8)
        Ink from 0 (none) to 16.
    train_labels, test_labels : ndarray of uint8, shape (pictures,)
        The digit that was meant, 0 to 9.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


def digits() -> Digits:
    """Load the embedded digits; the split is fixed: every fifth picture of each digit, in file order, is held out.

    Examples
    --------
    >>> from convkit import data
    >>> d = data.digits()
    >>> d.train_images.shape, d.test_images.shape
    ((1442, 8, 8), (355, 8, 8))
    """
    with np.load(str(files("convkit.data").joinpath("digits.npz"))) as stored:
        images, labels = stored["images"], stored["labels"]
    held_out = np.zeros(labels.size, dtype=bool)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True
    return Digits(images[~held_out], labels[~held_out], images[held_out], labels[held_out])
