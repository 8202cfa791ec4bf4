"""Sums that come out within rounding of a whole number, settled in ndimage's order before they are truncated.

Truncation makes the last bit count: 255 times weights that add up to one may be 255 or 254.99999999999997, depending on
the order of the additions, and an integer image shows 255 or 254. Sums elsewhere do not depend on it.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

import numpy as np

from convkit.compat.numpy import Array
from convkit.spec import OUTSIDE, index_map

Order = Literal["line", "window"]

GRID = 2.0**20


def settled(
    sums: Array,
    x: Array,
    k: Array,
    axes: tuple[int, ...],
    anchors: tuple[int, ...],
    extension: str,
    fill: float,
    order: Order,
) -> Array:
    """Replace every sum that rounding may have carried across a whole number by the one that ndimage forms.

    Parameters
    ----------
    sums : ndarray
        The sums, in double precision.
    x, k : ndarray
        Image and kernel as a correlation lays it down, one axis of ``k`` for each of ``axes``.
    axes, anchors : tuple of int
        The filtered axes, and for each the kernel element on the output sample.
    extension, fill : str, float
        The verbs' boundary, and the value outside under "constant".
    order : {"line", "window"}
        How ndimage adds: along one axis mirrored pairs of a symmetric kernel first, otherwise element by element.

    Returns
    -------
    ndarray
        ``sums``, some of its elements replaced.
    """
    if _on_grid(x, k, fill):
        return on_the_grid(sums, x, k, fill)
    largest = _largest(x, fill)
    if not np.isfinite(largest):
        return sums
    whole = np.rint(sums)
    doubt = 8 * (k.size + 4) * np.finfo(np.float64).eps * float(np.abs(k).sum()) * largest
    # Both sides of zero are truncated to zero.
    where = np.nonzero((np.abs(sums - whole) <= doubt) & (whole != 0))
    if where[0].size == 0:
        return sums
    maps = [
        np.array(index_map(-anchor, x.shape[axis] + size - 1, x.shape[axis], (extension, extension)))  # type: ignore[arg-type]
        for axis, anchor, size in zip(axes, anchors, k.shape)
    ]

    def samples(element: tuple[int, ...]) -> Array:
        """What ``element`` of the kernel is multiplied by, for every doubtful output."""
        places = list(where)
        outside = np.zeros(where[0].size, bool)
        for axis, positions, j in zip(axes, maps, element):
            places[axis] = positions[where[axis] + j]
            outside |= places[axis] == OUTSIDE
        return np.where(outside, fill, x[tuple(places)].astype(np.float64))

    sums[where] = _along_a_line(samples, k) if order == "line" else _over_a_window(samples, k)
    return sums


def on_the_grid(sums: Array, x: Array, k: Array, fill: float) -> Array:
    """``sums`` without the rounding of the algorithm, where every order of additions gives the same.

    Whole numbers times weights that are multiples of 2**-20 are exact in double precision, and so are their sums; an
    algorithm that takes the kernel apart may still have rounded.
    """
    return np.rint(sums * GRID) / GRID if _on_grid(x, k, fill) else sums


def _on_grid(x: Array, k: Array, fill: float) -> bool:
    scaled = k * GRID
    if x.dtype.kind not in "iub" or not fill.is_integer() or (scaled != np.rint(scaled)).any():
        return False
    return float(np.abs(scaled).sum()) * _largest(x, fill) < 2.0**53


def _largest(x: Array, fill: float) -> float:
    return max(abs(float(x.max())), abs(float(x.min())), abs(fill))


def _along_a_line(samples: Any, k: Array) -> Array:
    middle, last = k.size // 2, k.size - 1
    mirrored = k[::-1]
    for sign in (1, -1):
        if k.size % 2 and (np.abs(k - sign * mirrored)[:middle] <= np.finfo(np.float64).eps).all():
            total = samples((middle,)) * k[middle]
            for j in range(middle):
                total += (samples((j,)) + sign * samples((last - j,))) * k[j]
            return total
    total = samples((last,)) * k[last]
    for j in range(last):
        total += samples((j,)) * k[j]
    return total


def _over_a_window(samples: Any, k: Array) -> Array:
    total = 0.0
    for element in product(*map(range, k.shape)):
        if k[element] != 0:
            total = total + samples(element) * k[element]
    return np.asarray(total)
