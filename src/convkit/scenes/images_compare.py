"""Comparing small pictures, and finding one inside another."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit.scenes.figures import Table, caption, cells, number
from convkit.scenes.scene import Example, Outcome, equal, scene


@scene("image-difference", "images")
def image_difference() -> Outcome:
    """The root of the summed squares over the count: the nearer of two pictures."""
    wanted = np.array([[1, 20], [0, 5]])
    candidates = [np.array([[2, 20], [0, 5]]), np.array([[45, 87], [78, 3]])]
    distances = [_distance(wanted, candidate) for candidate in candidates]
    words = partial(caption, "image-difference")
    return Outcome(
        [
            equal("first", 0.25, distances[0]),
            equal("second", 27.97, round(distances[1], 2)),
            equal("chosen", 0, int(np.argmin(distances))),
            equal("itself", 0.0, _distance(wanted, wanted)),
        ],
        [
            Table(words("wanted"), cells(wanted)),
            *(
                Table(words("candidate", distance=number(distance)), cells(candidate))
                for candidate, distance in zip(candidates, distances, strict=True)
            ),
        ],
    )


def _distance(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Root-sum-square of the difference over the count; the sum of squares is a correlation with itself."""
    difference = a - b
    return float(np.sqrt(ck.correlate(difference, difference, mode="valid")[0, 0]) / difference.size)


@scene("template", "images")
def template() -> Outcome:
    """A 2x2 template slides over a 3x6 picture; the squared difference finds it, the raw score does not."""
    image = np.arange(1, 19).reshape(3, 6)
    wanted = np.array([[5, 6], [11, 12]])
    raw = ck.correlate(image, wanted, mode="valid")
    energy = ck.correlate(image * image, np.ones((2, 2), dtype=np.int64), mode="valid")
    difference = energy - 2 * raw + int((wanted * wanted).sum())
    best = np.unravel_index(int(difference.argmin()), difference.shape)
    loudest = np.unravel_index(int(raw.argmax()), raw.shape)
    loops = [[int(((image[r : r + 2, c : c + 2] - wanted) ** 2).sum()) for c in range(5)] for r in range(2)]
    words = partial(caption, "template")
    return Outcome(
        [
            equal("found", [0, 4, 0], [*map(int, best), int(difference.min())]),
            equal("raw", [1, 4, 530], [*map(int, loudest), int(raw.max())]),
            equal("windows", loops, difference),
        ],
        [
            Table(words("image"), cells(image), marked=frozenset({(0, 4), (0, 5), (1, 4), (1, 5)})),
            Table(words("difference"), cells(difference), marked=frozenset({(0, 4)})),
            Table(words("raw"), cells(raw), marked=frozenset({(1, 4)})),
        ],
        Example(image, wanted, {"operation": "correlation", "mode": "valid"}),
    )
