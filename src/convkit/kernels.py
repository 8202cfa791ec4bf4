"""Named kernels: what a filter is called, and the numbers it stands for.

Kernels are written as they are laid on the picture, for ``ck.correlate``: a Sobel kernel along the columns answers
positively where brightness rises to the right. ``ck.convolve`` flips them, which changes the sign of an odd kernel
and nothing of an even one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convkit.errors import OptionError, choose

__all__ = [
    "NAMES",
    "binomial",
    "box",
    "emboss",
    "gaussian",
    "identity",
    "laplace",
    "named",
    "prewitt",
    "scharr",
    "sharpen",
    "sobel",
    "unsharp",
]

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


def box(size: int = 3, rank: int = 2) -> Numbers:
    """The sliding mean: ``size**rank`` equal weights that add up to 1.

    Examples
    --------
    >>> box(3, rank=1)
    array([0.33333333, 0.33333333, 0.33333333])
    """
    _check_size(size)
    return np.full((size,) * rank, 1 / size**rank)


def gaussian(sigma: float = 1.0, size: int | None = None, rank: int = 2) -> Numbers:
    """A sampled Gaussian, ``exp(-i**2 / (2*sigma**2))``, scaled to add up to 1.

    Parameters
    ----------
    sigma : float
        Standard deviation in samples.
    size : int, optional
        Number of samples along each axis; by default ``2*ceil(4*sigma) + 1``.
    rank : int
        Number of axes.

    Examples
    --------
    >>> float(gaussian(1.5).sum().round(12)), gaussian(1.5).shape
    (1.0, (13, 13))
    """
    if not (math.isfinite(sigma) and sigma > 0):
        raise OptionError("sigma-not-positive", value=sigma)
    length = 2 * math.ceil(4 * sigma) + 1 if size is None else size
    _check_size(length)
    place = np.arange(length) - (length - 1) / 2
    line = np.exp(-(place**2) / (2 * sigma**2))
    return _outer(line / line.sum(), rank)


def binomial(size: int = 3, rank: int = 2) -> Numbers:
    """Pascal's triangle, scaled to add up to 1: the whole-number cousin of the Gaussian.

    Examples
    --------
    >>> binomial(3, rank=1)
    array([0.25, 0.5 , 0.25])
    """
    _check_size(size)
    line = np.array([math.comb(size - 1, i) for i in range(size)], dtype=np.float64)
    return _outer(line / line.sum(), rank)


def sobel(axis: int = 1) -> Integers:
    """The slope along ``axis``, smoothed by 1 2 1 across it.

    Examples
    --------
    >>> sobel(axis=1)
    array([[-1,  0,  1],
           [-2,  0,  2],
           [-1,  0,  1]])
    """
    return _slope([1, 2, 1], axis)


def prewitt(axis: int = 1) -> Integers:
    """The slope along ``axis``, smoothed by 1 1 1 across it."""
    return _slope([1, 1, 1], axis)


def scharr(axis: int = 1) -> Integers:
    """The slope along ``axis``, smoothed by 3 10 3 across it: nearly the same in every direction."""
    return _slope([3, 10, 3], axis)


def laplace() -> Integers:
    """The sum of the two second differences."""
    return np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


def sharpen() -> Integers:
    """The picture minus its Laplacian; the weights add up to 1, so the mean stays."""
    return np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])


def unsharp(sigma: float = 1.0, size: int | None = None, amount: float = 1.0) -> Numbers:
    """Unsharp masking in one kernel: the picture plus ``amount`` times what a Gaussian takes away."""
    blur = gaussian(sigma, size)
    if blur.shape[0] % 2 == 0:
        raise OptionError("even-size", value=blur.shape[0])
    kernel = -amount * blur
    kernel[blur.shape[0] // 2, blur.shape[1] // 2] += 1 + amount
    return kernel


def emboss() -> Integers:
    """The picture lit from the upper left; the weights add up to 1."""
    return np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def identity() -> Integers:
    """The kernel that leaves a picture as it is."""
    return np.array([[1]])


_MADE: dict[str, Callable[[int | None, float | None], NDArray[np.generic]]] = {
    "box": lambda size, sigma: box(size or 3),
    "gaussian": lambda size, sigma: gaussian(sigma or 1.0, size),
    "binomial": lambda size, sigma: binomial(size or 3),
    "sobel-x": lambda size, sigma: sobel(1),
    "sobel-y": lambda size, sigma: sobel(0),
    "prewitt-x": lambda size, sigma: prewitt(1),
    "prewitt-y": lambda size, sigma: prewitt(0),
    "scharr-x": lambda size, sigma: scharr(1),
    "scharr-y": lambda size, sigma: scharr(0),
    "laplace": lambda size, sigma: laplace(),
    "sharpen": lambda size, sigma: sharpen(),
    "unsharp": lambda size, sigma: unsharp(sigma or 1.0, size),
    "emboss": lambda size, sigma: emboss(),
    "identity": lambda size, sigma: identity(),
}
NAMES = tuple(_MADE)
_SIZED = ("box", "gaussian", "binomial", "unsharp")
_WITH_SIGMA = ("gaussian", "unsharp")


def named(name: str, *, size: int | None = None, sigma: float | None = None) -> NDArray[np.generic]:
    """The 2-D kernel of that name.

    Raises
    ------
    OptionError
        ``option.unknown-value``, ``option.not-for-this-kernel``, ``option.sigma-not-positive``, ``option.even-size``,
        ``option.too-small``.

    Examples
    --------
    >>> named("box", size=2)
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    choose("kernel", name, NAMES)
    for option, value, takers in (("size", size, _SIZED), ("sigma", sigma, _WITH_SIGMA)):
        if value is not None and name not in takers:
            raise OptionError("not-for-this-kernel", option=option, kernel=name, takers=", ".join(takers))
    if sigma is not None and sigma <= 0:
        raise OptionError("sigma-not-positive", value=sigma)
    if size is not None:
        _check_size(size)
    return _MADE[name](size, sigma)


def _check_size(size: int) -> None:
    if size < 1:
        raise OptionError("too-small", option="size", value=size, least=1)


def _slope(across: list[int], axis: int) -> Integers:
    along_columns = np.outer(across, [-1, 0, 1])
    return along_columns if axis % 2 == 1 else along_columns.T.copy()


def _outer(line: Numbers, rank: int) -> Numbers:
    kernel = line
    for _ in range(rank - 1):
        kernel = np.multiply.outer(kernel, line)
    return kernel
