"""Kernels that sharpen and draw: sharpen, unsharp, emboss, outline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from convkit.kernels import build
from convkit.kernels.derivative import laplacian
from convkit.kernels.smoothing import gaussian
from convkit.spec.options import whole_number


def sharpen(
    amount: float = 1.0, *, neighbours: int | None = None, rank: int = 2, dtype: DTypeLike = np.float64
) -> np.ndarray:
    """The input minus its Laplacian: edges steeper, flat parts as they were.

    ``k = identity - amount * laplacian(neighbours)``.

    Parameters
    ----------
    amount : float
        Strength, above 0.
    neighbours, rank, dtype
        As in `laplacian`.

    Returns
    -------
    ndarray, 3 elements along each axis
        Sum 1, symmetric.

    Raises
    ------
    OptionError
        ``option.kernel-not-positive``, ``option.kernel-neighbours``.
    DTypeError
        ``dtype.kernel-not-whole``.

    Examples
    --------
    >>> sharpen(dtype=int)
    array([[ 0, -1,  0],
           [-1,  5, -1],
           [ 0, -1,  0]])
    """
    kernel = -build.positive("amount", amount) * laplacian(neighbours, rank=rank) + 0.0
    kernel[(1,) * kernel.ndim] += 1
    return build.typed(kernel, dtype)


def unsharp(
    sigma: float | Sequence[float],
    *,
    amount: float = 1.0,
    radius: int | Sequence[int] | None = None,
    truncate: float = 4.0,
    rank: int = 2,
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """Unsharp masking in one kernel: the input plus what a Gaussian takes away from it.

    ``k = (1 + amount) * identity - amount * gaussian(sigma)``.

    Parameters
    ----------
    sigma, radius, truncate, rank, dtype
        As in `gaussian`.
    amount : float
        Strength, above 0.

    Returns
    -------
    ndarray
        Sum 1, symmetric.

    Raises
    ------
    OptionError
        ``option.kernel-not-positive``, and those of `gaussian`.

    Examples
    --------
    >>> k = unsharp(1.0, amount=2.0)
    >>> k.shape, float(k.sum().round(12))
    ((9, 9), 1.0)
    """
    strength = build.positive("amount", amount)
    kernel = -strength * gaussian(sigma, radius=radius, truncate=truncate, rank=rank)
    kernel[tuple(size // 2 for size in kernel.shape)] += 1 + strength
    return build.typed(kernel, dtype)


def emboss(*, operation: build.Orientation = "correlation", dtype: DTypeLike = np.float64) -> np.ndarray:
    """A relief lit from the top left: the input plus its slope towards the bottom right.

    Parameters
    ----------
    operation : {"correlation", "convolution"}
        What the kernel is for: the published matrix, or the reversed one.
    dtype : dtype
        Element type.

    Returns
    -------
    ndarray, (3, 3)
        Sum 1.

    Raises
    ------
    OptionError
        ``option.unknown-value``.

    Examples
    --------
    >>> emboss(dtype=int)
    array([[-2, -1,  0],
           [-1,  1,  1],
           [ 0,  1,  2]])
    """
    return build.typed(build.turned(np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]]), operation), dtype)


def outline(*, rank: int = 2, dtype: DTypeLike = np.float64) -> np.ndarray:
    """Bright on every outline, 0 inside: the middle against all its neighbours.

    ``k = -laplacian(3^rank - 1)``.

    Parameters
    ----------
    rank, dtype
        As in `laplacian`.

    Returns
    -------
    ndarray, 3 elements along each axis
        Sum 0, symmetric.

    Raises
    ------
    OptionError
        ``option.too-small``.

    Examples
    --------
    >>> outline(dtype=int)
    array([[-1, -1, -1],
           [-1,  8, -1],
           [-1, -1, -1]])
    """
    count = whole_number("rank", rank, 1)
    return build.typed(-laplacian(3**count - 1, rank=count), dtype)
