"""The samples that ``scipy.signal.upfirdn`` imagines beyond the ends of a signal, as a short strip.

The strip of a signal of N samples along its last axis holds the positions ``first .. last-1``, all on the same side
of the signal. Each rule is a reflection or a line, so it holds at any distance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convkit.compat.numpy import Array

NAMES = ("constant", "wrap", "edge", "smooth", "symmetric", "reflect", "antisymmetric", "antireflect", "line")


def beyond(x: Array, name: str, first: int, last: int) -> Array:
    """The extended samples at the positions ``first .. last-1``, all before or all after ``x``.

    Parameters
    ----------
    x : ndarray, (..., N)
        The signal.
    name : {"smooth", "line", "antisymmetric", "antireflect"}
        The rule.
    first, last : int
        The positions wanted, ``last`` excluded.

    Examples
    --------
    >>> beyond(np.array([1.0, 5, 7]), "antireflect", -4, 0).tolist()
    [-11.0, -7.0, -5.0, -3.0]
    """
    positions = np.arange(first, last)
    if x.shape[-1] == 1 and name != "antisymmetric":
        return np.repeat(x, positions.size, axis=-1)
    return _RULES[name](x, positions).astype(x.dtype, copy=False)


def _smooth(x: Array, positions: Array) -> Array:
    """On along the slope of the two samples at the end."""
    if positions.size and positions[0] < 0:
        return x[..., :1] + positions * (x[..., 1:2] - x[..., :1])
    return x[..., -1:] + (positions - (x.shape[-1] - 1)) * (x[..., -1:] - x[..., -2:-1])


def _line(x: Array, positions: Array) -> Array:
    """On along the line through the first and the last sample."""
    size = x.shape[-1]
    slope = (x[..., -1:] - x[..., :1]) / (size - 1)
    if positions.size and positions[0] < 0:
        return x[..., :1] + positions * slope
    return x[..., -1:] + (positions - (size - 1)) * slope


def _antisymmetric(x: Array, positions: Array) -> Array:
    """Mirrored about the edges, between two samples, with the sign turned at every mirror."""
    size = x.shape[-1]
    folded = positions % (2 * size)
    mirrored = folded >= size
    return np.where(mirrored, -1, 1) * x[..., np.where(mirrored, 2 * size - 1 - folded, folded)]


def _antireflect(x: Array, positions: Array) -> Array:
    """Turned by half a revolution about the first and the last sample: each turn goes on from where the last ended."""
    size = x.shape[-1]
    turns, folded = np.divmod(positions, 2 * (size - 1))
    mirrored = folded >= size
    inside = x[..., np.where(mirrored, 2 * (size - 1) - folded, folded)]
    rise = x[..., -1:] - x[..., :1]
    return np.where(mirrored, 2 * x[..., -1:] - inside, inside) + 2 * turns * rise


_RULES: dict[str, Callable[[Array, Array], Array]] = {
    "smooth": _smooth,
    "line": _line,
    "antisymmetric": _antisymmetric,
    "antireflect": _antireflect,
}
