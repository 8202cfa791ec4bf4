"""GaussianBlur and its kernel, bytes and 16-bit pixels in OpenCV's fixed point, bit for bit."""

from __future__ import annotations

import numpy as np

from convkit.compat.cv2 import arguments
from convkit.compat.cv2.constants import (
    BORDER_CONSTANT,
    BORDER_DEFAULT,
    BORDER_ISOLATED,
    CV_8U,
    CV_16S,
    CV_16U,
    CV_32F,
    CV_64F,
    DTYPES,
)
from convkit.compat.cv2.errors import error
from convkit.compat.cv2.linear import separable
from convkit.compat.cv2.results import deliver, saturate
from convkit.verbs import correlate

GAUSSIAN_DEPTHS = (CV_8U, CV_16U, CV_16S, CV_32F, CV_64F)
"""What GaussianBlur takes."""

FRACTION_BITS = {CV_8U: 8, CV_16U: 16}
"""Fraction bits of the kernel weights with which OpenCV blurs integer images."""

SMALL = {
    1: (1,),
    3: (1 / 4, 1 / 2, 1 / 4),
    5: (1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16),
    7: (1 / 32, 7 / 64, 7 / 32, 9 / 32, 7 / 32, 7 / 64, 1 / 32),
    9: (4 / 256, 13 / 256, 30 / 256, 51 / 256, 60 / 256, 51 / 256, 30 / 256, 13 / 256, 4 / 256),
}
"""The kernels of these sizes when no sigma is given."""

ALGO_HINT_DEFAULT = 0


def getGaussianKernel(ksize: int, sigma: float, ktype: int = CV_64F) -> np.ndarray:
    """The normalised Gaussian of ``cv2.getGaussianKernel``, as a column.

    ``k[i] = exp(-(i - (ksize-1)/2)^2 / (2 sigma^2)) / sum``; without a positive ``sigma``,
    ``sigma = 0.3*((ksize-1)*0.5 - 1) + 0.8``, and fixed binary fractions for the sizes 1, 3, 5, 7 and 9.

    Parameters
    ----------
    ksize : int
        Number of elements.
    sigma : float
        Standard deviation in pixels.
    ktype : int
        ``CV_32F`` or ``CV_64F``.

    Returns
    -------
    ndarray, (ksize, 1)
        The kernel; its sum is 1.

    Raises
    ------
    error
        ``cv2.kernel-size`` or ``cv2.kernel-depth``.

    Examples
    --------
    >>> getGaussianKernel(5, 0).ravel()
    array([0.0625, 0.25  , 0.375 , 0.25  , 0.0625])
    """
    size, width = arguments.integer("ksize", ksize), arguments.number("sigma", sigma)
    if size < 1:
        raise error("kernel-size", size=size)
    if ktype not in (CV_32F, CV_64F):
        raise error("kernel-depth", depth=ktype)
    if width <= 0 and size in SMALL:
        return np.array(SMALL[size], DTYPES[ktype]).reshape(-1, 1)
    if width <= 0:
        width = size * 0.15 + 0.35
    # Half the exponents are computed and mirrored, so that the kernel is symmetric to the last bit. An even
    # size has two middle elements, half a pixel off; OpenCV gives both the weight of the very middle.
    offsets = np.arange(1 - size, 1, 2)
    offsets[-1] = 0
    half = np.exp(offsets.astype(float) ** 2 * (-0.125 / (width * width)))
    kernel = np.concatenate([half, half[::-1][size % 2 :]])
    return (kernel * (1.0 / kernel.sum())).astype(DTYPES[ktype]).reshape(-1, 1)


def GaussianBlur(
    src: np.ndarray,
    ksize: tuple[int, int],
    sigmaX: float,
    dst: np.ndarray | None = None,
    sigmaY: float = 0.0,
    borderType: int = BORDER_DEFAULT,
    hint: int = ALGO_HINT_DEFAULT,
) -> np.ndarray:
    """Smooth an image with a Gaussian, as ``cv2.GaussianBlur`` does.

    uint8 and uint16 images are weighted by whole multiples of 2^-8 and 2^-16 that sum to exactly 1 and
    rounded once, halves up; the result is OpenCV's bit for bit. Other types are correlated with
    `getGaussianKernel` along rows and columns.

    Parameters
    ----------
    src : ndarray, (rows, columns) or (rows, columns, channels)
        uint8, uint16, int16, float32 or float64.
    ksize : (width, height)
        Odd sizes; a size of 0 or less is taken from its sigma: ``round(6 sigma + 1)``, made odd, for uint8,
        and ``round(8 sigma + 1)`` for the other types.
    sigmaX, sigmaY : float
        Standard deviations in pixels. A ``sigmaY`` of 0 is ``sigmaX``; a ``sigmaX`` of 0 is taken from the
        size.
    dst : ndarray, optional
        Written and returned if it has the result's shape and type.
    borderType : int
        As in `filter2D`; ``BORDER_WRAP`` too for uint8 and uint16.
    hint : int
        OpenCV's choice between a fast and an accurate way. Both are the accurate one here.

    Returns
    -------
    ndarray
        The smoothed image, of the size and type of ``src``.

    Raises
    ------
    error
        ``cv2.not-an-array``, ``cv2.image-type``, ``cv2.image-shape``, ``cv2.empty``, ``cv2.gaussian-size``,
        ``cv2.border``.

    Examples
    --------
    >>> import numpy as np
    >>> dot = np.zeros((3, 5), np.uint8)
    >>> dot[1, 2] = 160
    >>> GaussianBlur(dot, (3, 3), 0)
    array([[ 0, 20, 40, 20,  0],
           [ 0, 20, 40, 20,  0],
           [ 0, 20, 40, 20,  0]], dtype=uint8)
    """
    picture = arguments.image(src, GAUSSIAN_DEPTHS)
    depth = arguments.depth_of(picture)
    width, height = (0, 0) if ksize is None else arguments.pair("ksize", ksize)
    sigma_x, sigma_y = arguments.number("sigmaX", sigmaX), arguments.number("sigmaY", sigmaY)
    arguments.integer("hint", hint)
    border = arguments.integer("borderType", borderType)
    if border & ~BORDER_ISOLATED != BORDER_CONSTANT:
        # Every boundary but zeros repeats the one line there is, so a mean over it changes nothing.
        height = 1 if picture.shape[0] == 1 else height
        width = 1 if picture.shape[1] == 1 else width
    if (width, height) == (1, 1):
        return deliver(picture.copy(), dst)
    if sigma_y <= 0:
        sigma_y = sigma_x
    width, height = (_size(size, sigma, depth) for size, sigma in ((width, sigma_x), (height, sigma_y)))
    if width < 1 or height < 1 or width % 2 == 0 or height % 2 == 0:
        raise error("gaussian-size", width=width, height=height)
    if depth in FRACTION_BITS:
        outside = arguments.boundary(border, wrap="taken")
        return deliver(_fixed_point(picture, depth, (width, sigma_x), (height, sigma_y), outside), dst)
    outside = arguments.boundary(border)
    precision = max(depth, CV_32F)
    across = getGaussianKernel(width, sigma_x, precision).ravel()
    down = getGaussianKernel(height, sigma_y, precision).ravel()
    values = separable(picture, across, down, depth, (height // 2, width // 2), outside)
    return deliver(saturate(values, depth), dst)


def _size(size: int, sigma: float, depth: int) -> int:
    reach = 3 if depth == CV_8U else 4
    return round(sigma * reach * 2 + 1) | 1 if size <= 0 and sigma > 0 else size


def _fixed_point(
    picture: np.ndarray, depth: int, across: tuple[int, float], down: tuple[int, float], outside: str
) -> np.ndarray:
    bits = FRACTION_BITS[depth]
    rows = correlate(picture, _fixed_kernel(*across, bits), "same", boundary=outside, axes=(1,))
    both = correlate(rows, _fixed_kernel(*down, bits), "same", boundary=outside, axes=(0,))
    return saturate(both + (1 << (2 * bits - 1)) >> (2 * bits), depth)


def _fixed_kernel(size: int, sigma: float, bits: int) -> np.ndarray:
    """The kernel in multiples of 2^-bits; rounding errors are handed on, the middle makes the sum 1."""
    weights = getGaussianKernel(size, sigma).ravel() * float(1 << bits)
    fixed = np.zeros(size, np.int64)
    left = 0.0
    for i in range(size // 2):
        wished = weights[i] + left
        fixed[i] = fixed[size - 1 - i] = round(wished)
        left = wished - float(fixed[i])
    fixed[size // 2] = (1 << bits) - fixed.sum()
    return fixed
