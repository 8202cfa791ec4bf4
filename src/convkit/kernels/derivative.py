"""Kernels that measure change: Sobel, Prewitt, Scharr, Laplacian, Laplacian of Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from convkit.errors import OptionError, choose
from convkit.kernels import build
from convkit.kernels.smoothing import binomial, gaussian
from convkit.spec.options import whole_number


def sobel(
    axis: int = -1,
    *,
    size: int = 3,
    rank: int = 2,
    normalize: build.Normalize = "none",
    operation: build.Orientation = "correlation",
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """Sobel's slope along one axis, smoothed along the others.

    ``k = d[axis] x s[others]`` with ``d = [-1, 0, 1]`` and ``s = [1, 2, 1]``; larger sizes convolve both with
    further ``[1, 2, 1]``. Correlation with it is positive where the input rises along ``axis``.

    Parameters
    ----------
    axis : int
        Axis of the slope: -1 for vertical edges of an image, 0 for horizontal ones.
    size : int
        Odd, 3 or more.
    rank : int
        Number of axes.
    normalize : {"none", "sum"}
        ``"sum"`` divides so that a ramp of slope 1 gives 1.
    operation : {"correlation", "convolution"}
        What the kernel is for: the published matrix, or the reversed one.
    dtype : dtype
        Element type.

    Returns
    -------
    ndarray
        Sum 0.

    Raises
    ------
    OptionError
        ``option.kernel-axis``, ``option.kernel-not-odd``, ``option.too-small``, ``option.unknown-value``.
    DTypeError
        ``dtype.kernel-not-whole`` for a normalised kernel in an integer type.

    References
    ----------
    Sobel and Feldman, "A 3x3 isotropic gradient operator for image processing", Stanford Artificial
    Intelligence Project (1968).

    Examples
    --------
    >>> sobel(dtype=int)
    array([[-1,  0,  1],
           [-2,  0,  2],
           [-1,  0,  1]])
    >>> sobel(axis=0, dtype=int)
    array([[-1, -2, -1],
           [ 0,  0,  0],
           [ 1,  2,  1]])
    """
    length = build.odd("size", size, 3)
    smooth = binomial(length, rank=1, normalize="none")
    shorter = binomial(length - 2, rank=1, normalize="none")
    slope = np.convolve(shorter, [-1, 0, 1])
    return _slope(slope, smooth, axis, rank, normalize, operation, dtype)


def prewitt(
    axis: int = -1,
    *,
    rank: int = 2,
    normalize: build.Normalize = "none",
    operation: build.Orientation = "correlation",
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """Prewitt's slope along one axis, averaged along the others.

    ``k = [-1, 0, 1][axis] x [1, 1, 1][others]``.

    Parameters
    ----------
    axis, rank, normalize, operation, dtype
        As in `sobel`.

    Returns
    -------
    ndarray, 3 elements along each axis
        Sum 0.

    Raises
    ------
    OptionError, DTypeError
        As in `sobel`.

    References
    ----------
    Prewitt, "Object enhancement and extraction", in Picture Processing and Psychopictorics (1970).

    Examples
    --------
    >>> prewitt(dtype=int)
    array([[-1,  0,  1],
           [-1,  0,  1],
           [-1,  0,  1]])
    """
    return _slope(np.array([-1.0, 0, 1]), np.ones(3), axis, rank, normalize, operation, dtype)


def scharr(
    axis: int = -1,
    *,
    rank: int = 2,
    normalize: build.Normalize = "none",
    operation: build.Orientation = "correlation",
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """Scharr's slope along one axis, whose direction is truer under rotation than Sobel's.

    ``k = [-1, 0, 1][axis] x [3, 10, 3][others]``.

    Parameters
    ----------
    axis, rank, normalize, operation, dtype
        As in `sobel`.

    Returns
    -------
    ndarray, 3 elements along each axis
        Sum 0.

    Raises
    ------
    OptionError, DTypeError
        As in `sobel`.

    References
    ----------
    Scharr, "Optimale Operatoren in der digitalen Bildverarbeitung", dissertation, Heidelberg (2000).

    Examples
    --------
    >>> scharr(dtype=int)
    array([[ -3,   0,   3],
           [-10,   0,  10],
           [ -3,   0,   3]])
    """
    return _slope(np.array([-1.0, 0, 1]), np.array([3.0, 10, 3]), axis, rank, normalize, operation, dtype)


def _slope(
    slope: np.ndarray,
    smooth: np.ndarray,
    axis: int,
    rank: int,
    normalize: str,
    operation: str,
    dtype: DTypeLike,
) -> np.ndarray:
    place = build.along(axis, rank)
    kernel = build.outer([slope if other == place else smooth for other in range(rank)])
    # What a ramp of slope 1 gives, so that dividing by it makes the kernel a derivative.
    ramp = slope @ np.arange(slope.size) * smooth.sum() ** (rank - 1)
    if choose("normalize", normalize, ("none", "sum")) == "sum":
        kernel = kernel / ramp
    return build.typed(build.turned(kernel, operation), dtype)


def laplacian(neighbours: int | None = None, *, rank: int = 2, dtype: DTypeLike = np.float64) -> np.ndarray:
    """The sum of the neighbours minus as often the middle: the second derivatives, added up.

    ``k[0] = -neighbours``, and 1 on every neighbour: on the ``2*rank`` that share a face (4 in an image), or
    on all the ``3^rank - 1`` around (8 in an image).

    Parameters
    ----------
    neighbours : int, optional
        ``2*rank`` (if not given) or ``3^rank - 1``.
    rank : int
        Number of axes.
    dtype : dtype
        Element type.

    Returns
    -------
    ndarray, 3 elements along each axis
        Sum 0, symmetric.

    Raises
    ------
    OptionError
        ``option.kernel-neighbours``, ``option.too-small``.

    Examples
    --------
    >>> laplacian(dtype=int)
    array([[ 0,  1,  0],
           [ 1, -4,  1],
           [ 0,  1,  0]])
    >>> laplacian(8, dtype=int)
    array([[ 1,  1,  1],
           [ 1, -8,  1],
           [ 1,  1,  1]])
    """
    count = whole_number("rank", rank, 1)
    faces, everyone = 2 * count, 3**count - 1
    wished = faces if neighbours is None else whole_number("neighbours", neighbours, 0)
    if wished not in (faces, everyone):
        raise OptionError("kernel-neighbours", value=wished, rank=count, faces=faces, everyone=everyone)
    distance = np.abs(np.indices((3,) * count) - 1).sum(axis=0)
    kernel = np.where(distance <= (1 if wished == faces else count), 1.0, 0.0)
    kernel[(1,) * count] = -wished
    return build.typed(kernel, dtype)


def laplacian_of_gaussian(
    sigma: float | Sequence[float],
    *,
    radius: int | Sequence[int] | None = None,
    truncate: float = 4.0,
    rank: int = 2,
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """The Laplacian of a Gaussian: finds blobs of radius ``sigma * sqrt(rank)``, dark ones positive.

    ``k = sum over the axes of the Gaussian with order 2 along that axis``, minus its mean, so that a flat
    input gives 0 however the kernel is truncated.

    Parameters
    ----------
    sigma, radius, truncate, rank, dtype
        As in `gaussian`.

    Returns
    -------
    ndarray
        Sum 0, symmetric.

    Raises
    ------
    OptionError
        As in `gaussian`.

    References
    ----------
    Marr and Hildreth, "Theory of edge detection", Proceedings of the Royal Society B 207 (1980).

    Examples
    --------
    >>> k = laplacian_of_gaussian(1.4)
    >>> k.shape, bool(abs(k.sum()) < 1e-12), bool(k[6, 6] < 0)
    ((13, 13), True, True)
    """
    count = len(sigma) if isinstance(sigma, (Sequence, np.ndarray)) else whole_number("rank", rank, 1)
    seconds = [
        gaussian(sigma, radius=radius, truncate=truncate, order=order, rank=count)
        for order in (2 * np.eye(count, dtype=int)).tolist()
    ]
    kernel = np.sum(seconds, axis=0)
    kernel -= math.fsum(kernel.ravel()) / kernel.size
    return build.typed(kernel, dtype)
