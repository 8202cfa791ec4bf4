"""Kernels that average: box, binomial, Gaussian, disk and motion blur; and the identity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from convkit.errors import choose
from convkit.kernels import build
from convkit.spec.options import OPERATIONS, per_axis, whole_number


def identity(
    size: int | Sequence[int] = 3,
    *,
    rank: int = 2,
    operation: build.Orientation = "correlation",
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """A single 1 on the anchor, which leaves the input as it is in mode ``same``.

    ``k[i] = 1 where i == anchor, else 0``; the anchor is ``size//2`` in a correlation, ``(size-1)//2`` in a
    convolution, which differ for even sizes.

    Parameters
    ----------
    size : int or sequence of int
        Elements along each axis; a single number for all of them.
    rank : int
        Number of axes if ``size`` is a single number.
    operation : {"correlation", "convolution"}
        What the kernel is for.
    dtype : dtype
        Element type.

    Returns
    -------
    ndarray
        Sum 1.

    Raises
    ------
    OptionError
        ``option.too-small``, ``option.not-a-whole-number``, ``option.unknown-value``.
    DTypeError
        ``dtype.kernel-type``.

    Examples
    --------
    >>> identity(3, dtype=int)
    array([[0, 0, 0],
           [0, 1, 0],
           [0, 0, 0]])
    >>> identity(4, rank=1, dtype=int), identity(4, rank=1, operation="convolution", dtype=int)
    (array([0, 0, 1, 0]), array([0, 1, 0, 0]))
    """
    shape = build.sizes(size, rank)
    kernel = np.zeros(shape)
    back = 0 if choose("operation", operation, OPERATIONS) == "correlation" else 1
    kernel[tuple((length - back) // 2 for length in shape)] = 1
    return build.typed(kernel, dtype)


def box(
    size: int | Sequence[int] = 3,
    *,
    rank: int = 2,
    normalize: build.Normalize = "sum",
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """Equal weights: the mean over a window, or its sum.

    ``k[i] = 1/n`` with ``n`` the number of elements; ``k[i] = 1`` with ``normalize="none"``.

    Parameters
    ----------
    size : int or sequence of int
        Elements along each axis, even sizes included; a single number for all of them.
    rank : int
        Number of axes if ``size`` is a single number.
    normalize : {"sum", "none"}
        Divide by the sum, or leave the ones.
    dtype : dtype
        Element type.

    Returns
    -------
    ndarray
        Sum 1, or ``n``.

    Raises
    ------
    OptionError
        ``option.too-small``, ``option.not-a-whole-number``, ``option.unknown-value``.
    DTypeError
        ``dtype.kernel-not-whole`` for a mean in an integer type.

    Examples
    --------
    >>> box((1, 4))
    array([[0.25, 0.25, 0.25, 0.25]])
    >>> box(2, normalize="none", dtype=int)
    array([[1, 1],
           [1, 1]])
    """
    return build.typed(build.normalized(np.ones(build.sizes(size, rank)), normalize), dtype)


def binomial(
    size: int | Sequence[int] = 3,
    *,
    rank: int = 2,
    normalize: build.Normalize = "sum",
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """Pascal's triangle: the box of two, convolved with itself again and again.

    ``k[i] = C(size-1, i) / 2^(size-1)`` along each axis; close to a Gaussian of ``sigma = sqrt(size-1)/2``.

    Parameters
    ----------
    size, rank, normalize, dtype
        As in `box`.

    Returns
    -------
    ndarray
        Sum 1, or ``2^(size-1)`` an axis.

    Raises
    ------
    OptionError, DTypeError
        As in `box`.

    References
    ----------
    Aubury and Luk, "Binomial filters", Journal of VLSI Signal Processing 12 (1996).

    Examples
    --------
    >>> binomial(5, rank=1, normalize="none", dtype=int)
    array([1, 4, 6, 4, 1])
    >>> binomial((2, 3))
    array([[0.125, 0.25 , 0.125],
           [0.125, 0.25 , 0.125]])
    """
    vectors = [np.array([math.comb(n - 1, i) for i in range(n)], float) for n in build.sizes(size, rank)]
    return build.typed(build.normalized(build.outer(vectors), normalize), dtype)


def gaussian(
    sigma: float | Sequence[float],
    *,
    radius: int | Sequence[int] | None = None,
    truncate: float = 4.0,
    order: int | Sequence[int] = 0,
    rank: int = 2,
    operation: build.Orientation = "correlation",
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """The sampled Gaussian and its derivatives, one axis times the next.

    ``g[i] = exp(-i^2 / (2 sigma^2)) / sum``, i = -radius..radius. Order 1 is ``i/sigma^2 g[i]`` and order 2
    ``(i^2/sigma^4 - 1/sigma^2) g[i]``: correlating with them gives the first and second derivative of the
    smoothed input.

    Parameters
    ----------
    sigma : float or sequence of float
        Standard deviation in samples, for every axis or one for each; a sequence sets the rank.
    radius : int or sequence of int, optional
        Samples on either side of the centre; ``round(truncate * sigma)`` if not given.
    truncate : float
        Radius in standard deviations.
    order : {0, 1, 2} or a sequence
        Derivative along each axis.
    rank : int
        Number of axes if ``sigma`` is a single number.
    operation : {"correlation", "convolution"}
        What the kernel is for; matters to odd orders only.
    dtype : dtype
        Element type.

    Returns
    -------
    ndarray
        Sum 1 where every order is 0; 0 with an order of 1, and 0 up to the truncation with an order of 2.

    Raises
    ------
    OptionError
        ``option.kernel-not-positive``, ``option.unknown-value``, ``option.wrong-length``,
        ``option.too-small``.

    See Also
    --------
    scipy.ndimage.gaussian_filter : the same kernels, applied axis by axis.

    Examples
    --------
    >>> gaussian(1.0, radius=1, rank=1).round(4)
    array([0.2741, 0.4519, 0.2741])
    >>> gaussian((1.0, 2.0)).shape
    (9, 17)
    >>> gaussian(1.0, radius=1, order=1, rank=1).round(4)
    array([-0.2741,  0.    ,  0.2741])
    """
    count = len(sigma) if isinstance(sigma, (Sequence, np.ndarray)) else whole_number("rank", rank, 1)
    widths = build.positives("sigma", sigma, count)
    reach = build.positive("truncate", truncate)
    radii = [int(reach * width + 0.5) for width in widths] if radius is None else per_axis("radius", radius, count, 0)
    vectors = [
        _gaussian(width, r, n) for width, r, n in zip(widths, radii, per_axis("order", order, count, 0), strict=True)
    ]
    return build.typed(build.turned(build.outer(vectors), operation), dtype)


def _gaussian(sigma: float, radius: int, order: int) -> np.ndarray:
    choose("order", str(order), ("0", "1", "2"))
    i = np.arange(-radius, radius + 1, dtype=float)
    smooth = np.exp(-0.5 * (i / sigma) ** 2)
    smooth /= smooth.sum()
    if order == 0:
        return smooth
    return smooth * (i / sigma**2 if order == 1 else i**2 / sigma**4 - 1 / sigma**2)


def disk(
    radius: float, *, rank: int = 2, normalize: build.Normalize = "sum", dtype: DTypeLike = np.float64
) -> np.ndarray:
    """Equal weights within a circle (a ball for rank 3): the blur of a lens out of focus.

    ``k[i, j] = 1 where i^2 + j^2 <= radius^2``, i and j counted from the centre, divided by the sum.

    Parameters
    ----------
    radius : float
        Radius in samples.
    rank : int
        Number of axes.
    normalize : {"sum", "none"}
        Divide by the sum, or leave the ones.
    dtype : dtype
        Element type.

    Returns
    -------
    ndarray, ``2*floor(radius) + 1`` elements along each axis
        Sum 1, or the number of samples within.

    Raises
    ------
    OptionError
        ``option.kernel-not-positive``, ``option.too-small``, ``option.unknown-value``.

    Examples
    --------
    >>> disk(1.5, normalize="none", dtype=int)
    array([[1, 1, 1],
           [1, 1, 1],
           [1, 1, 1]])
    >>> disk(1, normalize="none", dtype=int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])
    """
    reach = build.positive("radius", radius)
    count = whole_number("rank", rank, 1)
    places = np.indices((2 * int(reach) + 1,) * count) - int(reach)
    inside = np.where((places**2).sum(axis=0) <= reach**2, 1.0, 0.0)
    return build.typed(build.normalized(inside, normalize), dtype)


def motion_blur(length: int, angle: float = 0.0, *, dtype: DTypeLike = np.float64) -> np.ndarray:
    """The trace of a point that moves along a straight line during the exposure.

    ``length`` points one sample apart on the line, each shared among its four neighbours by distance
    (bilinear weights), divided by ``length``. The kernel is centred: an even length along an axis ends in two
    half weights.

    Parameters
    ----------
    length : int
        Length of the trace in samples, both ends included.
    angle : float
        Degrees, anticlockwise from the direction of increasing columns.
    dtype : dtype
        Element type.

    Returns
    -------
    ndarray, (odd, odd)
        Sum 1, point-symmetric.

    Raises
    ------
    OptionError
        ``option.too-small``, ``option.not-a-whole-number``.

    Examples
    --------
    >>> motion_blur(4)
    array([[0.125, 0.25 , 0.25 , 0.25 , 0.125]])
    >>> motion_blur(3, 90).shape
    (3, 1)
    """
    count = whole_number("length", length, 1)
    steps = np.arange(count) - (count - 1) / 2
    # Rounding keeps the sine of 180 degrees from adding empty rows.
    rows = np.round(-steps * math.sin(math.radians(angle)), 12)
    columns = np.round(steps * math.cos(math.radians(angle)), 12)
    reach = [math.ceil(np.abs(way).max()) for way in (rows, columns)]
    kernel = np.zeros([2 * r + 1 for r in reach])
    for row, column in zip(rows + reach[0], columns + reach[1], strict=True):
        top, left = int(row), int(column)
        for i, down in ((top, 1 - (row - top)), (top + 1, row - top)):
            for j, across in ((left, 1 - (column - left)), (left + 1, column - left)):
                if down * across > 0:
                    kernel[i, j] += down * across
    return build.typed(kernel / count, dtype)
