"""Sobel and Laplacian, and the kernels of derivatives."""

from __future__ import annotations

import numpy as np

from convkit.compat.cv2 import arguments
from convkit.compat.cv2.constants import (
    BORDER_DEFAULT,
    CV_8U,
    CV_16S,
    CV_16U,
    CV_32F,
    CV_32S,
    CV_64F,
    DTYPES,
)
from convkit.compat.cv2.errors import error
from convkit.compat.cv2.linear import SEPARABLE_DEPTHS, filter2D, separable, sepFilter2D
from convkit.compat.cv2.results import deliver, saturate

LARGEST = 31
"""The largest Sobel kernel that OpenCV makes."""

_ALL = (CV_8U, CV_16U, CV_16S, CV_32S, CV_32F, CV_64F)
LAPLACIAN_DEPTHS = dict.fromkeys(SEPARABLE_DEPTHS, _ALL)
"""What Laplacian turns each depth into when its kernel is larger than 3."""


def getDerivKernels(
    dx: int,
    dy: int,
    ksize: int,
    kx: np.ndarray | None = None,
    ky: np.ndarray | None = None,
    normalize: bool = False,
    ktype: int = CV_32F,
) -> tuple[np.ndarray, np.ndarray]:
    """The two vectors of a Sobel (or Scharr) derivative, as ``cv2.getDerivKernels`` gives them, as columns.

    Each vector is the ``order``-fold difference ``[-1, 1]`` of a binomial smoothing ``[1, 1]``, ``ksize``
    elements long. A ``ksize`` of 0 or less asks for Scharr's ``[-1, 0, 1]`` and ``[3, 10, 3]``.

    Parameters
    ----------
    dx, dy : int
        Orders of the derivative along x and y.
    ksize : int
        1, 3, 5, ... 31, or ``FILTER_SCHARR``.
    kx, ky : ndarray, optional
        Arrays to write into, if they match.
    normalize : bool
        Divide by the sum of the smoothing.
    ktype : int
        ``CV_32F`` or ``CV_64F``.

    Returns
    -------
    kx, ky : ndarray, (size, 1)
        Along a row and along a column.

    Raises
    ------
    error
        ``cv2.derivative-size``, ``cv2.derivative-order``, ``cv2.scharr-order``, ``cv2.kernel-depth``.

    Examples
    --------
    >>> [vector.ravel().tolist() for vector in getDerivKernels(1, 0, 3)]
    [[-1.0, 0.0, 1.0], [1.0, 2.0, 1.0]]
    """
    if ktype not in (CV_32F, CV_64F):
        raise error("kernel-depth", depth=ktype)
    orders = arguments.integer("dx", dx), arguments.integer("dy", dy)
    size = arguments.integer("ksize", ksize)
    make = _scharr if size <= 0 else _sobel
    vectors: list[np.ndarray] = []
    for weights, kernel_sum, given in zip(*make(orders, size), (kx, ky), strict=True):
        scale = 1.0 / kernel_sum if normalize else 1.0
        column = (np.array(weights, float) * scale).astype(DTYPES[ktype]).reshape(-1, 1)
        vectors.append(deliver(column, given))
    return vectors[0], vectors[1]


def Sobel(
    src: np.ndarray,
    ddepth: int,
    dx: int,
    dy: int,
    dst: np.ndarray | None = None,
    ksize: int = 3,
    scale: float = 1.0,
    delta: float = 0.0,
    borderType: int = BORDER_DEFAULT,
) -> np.ndarray:
    """A derivative of an image, smoothed across, as ``cv2.Sobel`` gives it.

    ``dst = scale * (src correlated with kx along rows and ky along columns) + delta``, with the vectors of
    `getDerivKernels`; signed results need a signed ``ddepth``.

    Parameters
    ----------
    src, ddepth, dst, borderType
        As in `sepFilter2D`.
    dx, dy : int
        Orders of the derivative.
    ksize : int
        1, 3, 5, ... 31, or ``FILTER_SCHARR``.
    scale, delta : float
        Factor and summand of the result.

    Returns
    -------
    ndarray
        The derivative, of the size of ``src``.

    Raises
    ------
    error
        The codes of `sepFilter2D` and `getDerivKernels`.

    Examples
    --------
    >>> import numpy as np
    >>> Sobel(np.array([[0, 0, 9, 9]] * 3, dtype=np.uint8), CV_16S, 1, 0)
    array([[ 0, 36, 36,  0],
           [ 0, 36, 36,  0],
           [ 0, 36, 36,  0]], dtype=int16)
    """
    picture = arguments.image(src, SEPARABLE_DEPTHS)
    depth = arguments.output_depth(arguments.depth_of(picture), ddepth, SEPARABLE_DEPTHS)
    precision = CV_64F if CV_64F in (depth, arguments.depth_of(picture)) else CV_32F
    across, down = getDerivKernels(dx, dy, ksize, ktype=precision)
    factor = arguments.number("scale", scale)
    if factor != 1:
        across, down = (across * factor, down) if dx == 0 else (across, down * factor)
    return sepFilter2D(picture, depth, across, down, dst, (-1, -1), delta, borderType)


def Laplacian(
    src: np.ndarray,
    ddepth: int,
    dst: np.ndarray | None = None,
    ksize: int = 1,
    scale: float = 1.0,
    delta: float = 0.0,
    borderType: int = BORDER_DEFAULT,
) -> np.ndarray:
    """The sum of the second derivatives of an image, as ``cv2.Laplacian`` gives it.

    ``dst = scale * (d2/dx2 + d2/dy2) + delta``: with ``ksize=1`` the kernel ``[[0,1,0],[1,-4,1],[0,1,0]]``,
    with 3 ``[[2,0,2],[0,-8,0],[2,0,2]]``, with more the two Sobel derivatives of second order.

    Parameters
    ----------
    src, ddepth, dst, borderType
        As in `filter2D` (``ksize`` 1 and 3) or `sepFilter2D` (larger, with int32 results as well).
    ksize : int
        1, 3, 5, ... 31.
    scale, delta : float
        Factor and summand of the result.

    Returns
    -------
    ndarray
        The Laplacian, of the size of ``src``.

    Raises
    ------
    error
        The codes of `filter2D` and `getDerivKernels`.

    Examples
    --------
    >>> import numpy as np
    >>> Laplacian(np.array([[0, 0, 9, 0, 0]], dtype=np.uint8), CV_16S)
    array([[  0,   9, -18,   9,   0]], dtype=int16)
    """
    size, factor = arguments.integer("ksize", ksize), arguments.number("scale", scale)
    if size in (1, 3):
        plain = [[0, 1, 0], [1, -4, 1], [0, 1, 0]] if size == 1 else [[2, 0, 2], [0, -8, 0], [2, 0, 2]]
        kernel = np.array(plain, np.float32)
        return filter2D(src, ddepth, kernel * np.float32(factor), dst, (-1, -1), delta, borderType)
    picture = arguments.image(src, LAPLACIAN_DEPTHS)
    source = arguments.depth_of(picture)
    depth = arguments.output_depth(source, ddepth, LAPLACIAN_DEPTHS)
    if size < 1:
        raise error("derivative-size", size=size, largest=LARGEST)
    second, smooth = (vector.ravel() for vector in getDerivKernels(2, 0, size, ktype=CV_64F))
    outside = arguments.boundary(borderType)
    # OpenCV keeps the sum of both in 16 bits for small kernels on bytes, which always fit, in floats
    # otherwise.
    between = CV_64F if source == CV_64F else CV_32F
    middle = (size // 2, size // 2)
    total = separable(picture, second, smooth, between, middle, outside)
    total += separable(picture, smooth, second, between, middle, outside)
    shift = arguments.number("delta", delta)
    if factor != 1 or shift != 0:
        total = total * factor + shift
    return deliver(saturate(total, depth), dst)


def _sobel(orders: tuple[int, int], size: int) -> tuple[list[list[int]], list[int]]:
    if size % 2 == 0 or size > LARGEST:
        raise error("derivative-size", size=size, largest=LARGEST)
    if min(orders) < 0 or sum(orders) == 0:
        raise error("derivative-order", dx=orders[0], dy=orders[1])
    vectors, sums = [], []
    for order in orders:
        length = 3 if size == 1 and order > 0 else size
        if order >= length:
            raise error("derivative-too-high", order=order, size=length, least=order + 1 + order % 2)
        vector = [1]
        for step in [1] * (length - order - 1) + [-1] * order:
            vector = [a * (1 if step > 0 else -1) + b for a, b in zip([*vector, 0], [0, *vector], strict=True)]
        vectors.append(vector)
        sums.append(1 << (length - order - 1))
    return vectors, sums


def _scharr(orders: tuple[int, int], size: int) -> tuple[list[list[int]], list[int]]:
    if sorted(orders) != [0, 1]:
        raise error("scharr-order", dx=orders[0], dy=orders[1], size=size)
    return [[-1, 0, 1] if order else [3, 10, 3] for order in orders], [1 if order else 32 for order in orders]
