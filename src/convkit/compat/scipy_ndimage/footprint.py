"""Weights of zero that take no part: ndimage's ``correlate`` and ``convolve`` leave them out of the sum.

To the verbs a window holds all its samples, so a NaN under a weight of zero is still a NaN. Here the finite samples are
summed by one call, and further calls count how many NaNs and infinities stand under weights that do take part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convkit.compat.numpy import Array


def matters(x: Array, k: Array, fill: complex) -> bool:
    """Whether some weight is zero and something that is not finite could stand under it."""
    if x.dtype.kind != "f" or k.dtype.kind == "c" or k.all():
        return False
    return not (np.isfinite(fill) and np.isfinite(x).all())


def left_out(verb: Callable[..., Array], x: Array, k: Array, fill: float, options: dict[str, Any]) -> Array:
    """The sums over the weights that are not zero.

    Parameters
    ----------
    verb : callable
        ``ck.convolve`` or ``ck.correlate``.
    x, k : ndarray
        A real image and real weights.
    fill : float
        The value outside under "constant".
    options : dict
        The verb's other options.
    """

    def counts(test: Callable[[Any], Any], taps: Array) -> Array:
        """How many samples of each window pass ``test`` under the chosen taps."""
        outside = {"fill": float(test(fill))} if options.get("boundary") == "constant" else {}
        return verb(test(x).astype(np.float64), taps.astype(np.float64), "same", **{**options, **outside}) > 0.5

    finite_fill = {"fill": float(np.nan_to_num(fill, nan=0, posinf=0, neginf=0))} if "fill" in options else {}
    sums = verb(np.where(np.isfinite(x), x, 0), k, "same", **{**options, **finite_fill})
    above, below = k > 0, k < 0
    rising = counts(np.isposinf, above) | counts(np.isneginf, below)
    falling = counts(np.isneginf, above) | counts(np.isposinf, below)
    sums[rising] = np.inf
    sums[falling] = -np.inf
    sums[counts(np.isnan, k != 0) | (rising & falling)] = np.nan
    return sums
