"""blur and boxFilter: the sum, or the mean, over a window."""

from __future__ import annotations

import numpy as np

from convkit.compat.cv2 import arguments
from convkit.compat.cv2.constants import (
    BORDER_DEFAULT,
    BORDER_ISOLATED,
    CV_8U,
    CV_16S,
    CV_16U,
    CV_32F,
    CV_32S,
    CV_64F,
)
from convkit.compat.cv2.errors import error
from convkit.compat.cv2.results import deliver, saturate
from convkit.verbs import correlate

_FROM_INTEGERS = (CV_8U, CV_16U, CV_16S, CV_32S, CV_32F, CV_64F)
_FROM_FLOATS = (CV_8U, CV_16U, CV_16S, CV_32F, CV_64F)
BOX_DEPTHS = {
    CV_8U: _FROM_INTEGERS,
    CV_16U: _FROM_INTEGERS,
    CV_16S: _FROM_INTEGERS,
    CV_32S: _FROM_INTEGERS,
    CV_32F: _FROM_FLOATS,
    CV_64F: _FROM_FLOATS,
}
"""What boxFilter turns each depth into."""

FRACTION_BITS = 23
"""Bits of the reciprocal with which OpenCV divides byte sums of up to 256 pixels."""


def blur(
    src: np.ndarray,
    ksize: tuple[int, int],
    dst: np.ndarray | None = None,
    anchor: tuple[int, int] | None = (-1, -1),
    borderType: int = BORDER_DEFAULT,
) -> np.ndarray:
    """The mean over a window, as ``cv2.blur`` gives it: `boxFilter` with the depth of ``src``.

    Parameters
    ----------
    src, ksize, dst, anchor, borderType
        As in `boxFilter`.

    Returns
    -------
    ndarray
        The smoothed image, of the size and type of ``src``.

    Raises
    ------
    error
        The codes of `boxFilter`.

    Examples
    --------
    >>> import numpy as np
    >>> blur(np.array([[0, 30, 60, 90]], dtype=np.uint8), (3, 1))
    array([[20, 30, 60, 70]], dtype=uint8)
    """
    return boxFilter(src, -1, ksize, dst, anchor, True, borderType)


def boxFilter(
    src: np.ndarray,
    ddepth: int,
    ksize: tuple[int, int],
    dst: np.ndarray | None = None,
    anchor: tuple[int, int] | None = (-1, -1),
    normalize: bool = True,
    borderType: int = BORDER_DEFAULT,
) -> np.ndarray:
    """The sum, or the mean, of every channel over a window, as ``cv2.boxFilter`` gives it.

    ``dst[r, c] = sum_ij src[r + i - anchor_y, c + j - anchor_x]``, divided by the window's area if
    ``normalize``. Sums of integers are exact. The mean of bytes over up to 256 pixels rounds halves up, and
    whatever is not whole over an area that is a power of two (OpenCV's fixed-point reciprocal, with 23 bits);
    other means round halves to even.

    Parameters
    ----------
    src : ndarray, (rows, columns) or (rows, columns, channels)
        uint8, uint16, int16, int32, float32 or float64.
    ddepth : int
        Depth of the result; negative for that of ``src``.
    ksize : (width, height)
        Size of the window, even sizes included.
    dst : ndarray, optional
        Written and returned if it has the result's shape and type.
    anchor : (x, y)
        Window element that lies on the output pixel; negative is the centre, ``size // 2``.
    normalize : bool
        The mean, or the sum.
    borderType : int
        As in `filter2D`.

    Returns
    -------
    ndarray
        The filtered image, of the size of ``src``.

    Raises
    ------
    error
        ``cv2.not-an-array``, ``cv2.image-type``, ``cv2.image-shape``, ``cv2.empty``, ``cv2.depth``,
        ``cv2.ksize``, ``cv2.anchor``, ``cv2.border``.

    Examples
    --------
    >>> import numpy as np
    >>> boxFilter(np.array([[1, 2, 3, 4]], dtype=np.uint8), CV_32S, (3, 1), normalize=False)
    array([[ 5,  6,  9, 10]], dtype=int32)
    """
    picture = arguments.image(src, BOX_DEPTHS)
    source = arguments.depth_of(picture)
    depth = arguments.output_depth(source, ddepth, BOX_DEPTHS)
    width, height = (0, 0) if ksize is None else arguments.pair("ksize", ksize)
    if width < 1 or height < 1:
        raise error("ksize", width=width, height=height)
    border = arguments.integer("borderType", borderType)
    if normalize and border & BORDER_ISOLATED:
        # An isolated line has no second direction to take a mean over.
        height = 1 if picture.shape[0] == 1 else height
        width = 1 if picture.shape[1] == 1 else width
    row, column = arguments.anchor_axes(anchor, width, height)
    outside = arguments.boundary(border)
    counting = np.dtype(np.int64 if picture.dtype.kind in "iu" else np.float64)
    rows = correlate(picture, np.ones(width, counting), "same", boundary=outside, axes=(1,), anchor=column)
    sums = correlate(rows, np.ones(height, counting), "same", boundary=outside, axes=(0,), anchor=row)
    area = width * height
    if normalize and area > 1:
        sums = _byte_means(sums, area) if source == depth == CV_8U and area <= 256 else sums * (1.0 / area)
    return deliver(saturate(sums, depth), dst)


def _byte_means(sums: np.ndarray, area: int) -> np.ndarray:
    reciprocal, rest = divmod(1 << FRACTION_BITS, area)
    shift = area // 2
    if 2 * rest < area:
        shift += 1
    else:
        reciprocal += 1
    return (sums + shift) * reciprocal >> FRACTION_BITS
