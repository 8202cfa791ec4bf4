"""Roots of unity, rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def roots(turns: NDArray[np.integer[Any]], length: int) -> NDArray[np.complex128]:
    """``exp(-2 pi i turns/length)``, from angles of an eighth of a turn at most, so that equal parts are equal bits."""
    turns = np.asarray(turns, np.int64) % length
    eighth, rest = np.divmod(8 * turns, length)
    backwards = (eighth & 1) == 1
    angle = np.where(backwards, length - rest, rest).astype(np.longdouble)
    angle = angle * (_PI / 4) / length
    cosine, sine = np.cos(angle).astype(np.float64), np.sin(angle).astype(np.float64)
    octant = eighth
    swap = np.isin(octant, (1, 2, 5, 6))
    re, im = np.where(swap, sine, cosine), np.where(swap, cosine, sine)
    re = np.where(np.isin(octant, (2, 3, 4, 5)), -re, re)
    im = np.where(octant < 4, -im, im)
    return re + 1j * im


_PI = np.longdouble("3.14159265358979323846264338327950288")
