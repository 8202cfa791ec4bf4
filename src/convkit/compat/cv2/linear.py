"""filter2D and sepFilter2D: correlation of every channel with one kernel."""

from __future__ import annotations

import numpy as np

from convkit.compat.cv2 import arguments
from convkit.compat.cv2.constants import BORDER_DEFAULT, CV_8U, CV_16S, CV_16U, CV_32F, CV_64F
from convkit.compat.cv2.errors import error
from convkit.compat.cv2.results import deliver, saturate
from convkit.errors import by
from convkit.verbs import correlate

FILTER_DEPTHS = {
    CV_8U: (CV_8U, CV_16U, CV_16S, CV_32F, CV_64F),
    CV_16U: (CV_16U, CV_32F, CV_64F),
    CV_16S: (CV_16S, CV_32F, CV_64F),
    CV_32F: (CV_32F,),
    CV_64F: (CV_64F,),
}
"""What filter2D turns each depth into."""

SEPARABLE_DEPTHS = {
    CV_8U: (CV_8U, CV_16U, CV_16S, CV_32F, CV_64F),
    CV_16U: (CV_8U, CV_16U, CV_16S, CV_32F, CV_64F),
    CV_16S: (CV_8U, CV_16U, CV_16S, CV_32F, CV_64F),
    CV_32F: (CV_8U, CV_16U, CV_16S, CV_32F, CV_64F),
    CV_64F: (CV_8U, CV_16U, CV_16S, CV_64F),
}
"""What sepFilter2D turns each depth into."""


def filter2D(
    src: np.ndarray,
    ddepth: int,
    kernel: np.ndarray,
    dst: np.ndarray | None = None,
    anchor: tuple[int, int] | None = (-1, -1),
    delta: float = 0.0,
    borderType: int = BORDER_DEFAULT,
) -> np.ndarray:
    """Correlate every channel of an image with a kernel, as ``cv2.filter2D`` does.

    ``dst[r, c] = sum_ij src[r + i - anchor_y, c + j - anchor_x] * kernel[i, j] + delta``, rounded (halves to
    even) and saturated where ``dst`` holds integers. The kernel is **not** flipped.

    Parameters
    ----------
    src : ndarray, (rows, columns) or (rows, columns, channels)
        uint8, uint16, int16, float32 or float64. A single channel comes back without its axis.
    ddepth : int
        Depth of the result (``CV_8U`` ...); negative for that of ``src``.
    kernel : ndarray, (kernel rows, kernel columns)
        Real. Used as float32, or as float64 where ``src`` or the result is float64; a kernel of whole numbers
        on an integer image is summed exactly.
    dst : ndarray, optional
        Written and returned if it has the result's shape and type.
    anchor : (x, y)
        Kernel element that lies on the output pixel; -1 is the centre, ``size // 2``.
    delta : float
        Added before rounding.
    borderType : int
        ``BORDER_CONSTANT`` (zeros), ``BORDER_REPLICATE``, ``BORDER_REFLECT`` or ``BORDER_REFLECT_101``.

    Returns
    -------
    ndarray
        The filtered image, of the size of ``src``.

    Raises
    ------
    error
        ``cv2.not-an-array``, ``cv2.image-type``, ``cv2.image-shape``, ``cv2.empty``, ``cv2.kernel-type``,
        ``cv2.kernel-shape``, ``cv2.depth``, ``cv2.anchor``, ``cv2.border``.

    Examples
    --------
    >>> import numpy as np
    >>> picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    >>> filter2D(picture, -1, np.array([[0.0, 0.0, 1.0]]))
    array([[ 1,  2,  3,  2],
           [ 5,  6,  7,  6],
           [ 9, 10, 11, 10]], dtype=uint8)
    """
    picture = arguments.image(src, FILTER_DEPTHS)
    source = arguments.depth_of(picture)
    weights = _kernel("kernel", kernel)
    depth = arguments.output_depth(source, ddepth, FILTER_DEPTHS)
    offset = arguments.anchor_axes(anchor, weights.shape[1], weights.shape[0], centre="-1")
    outside = arguments.boundary(borderType)
    shift = arguments.number("delta", delta)
    values = correlate(
        picture, working_kernel(weights, source, depth), "same", boundary=outside, axes=(0, 1), anchor=offset
    )
    return deliver(saturate(shifted(values, shift), depth), dst)


def sepFilter2D(
    src: np.ndarray,
    ddepth: int,
    kernelX: np.ndarray,
    kernelY: np.ndarray,
    dst: np.ndarray | None = None,
    anchor: tuple[int, int] | None = (-1, -1),
    delta: float = 0.0,
    borderType: int = BORDER_DEFAULT,
) -> np.ndarray:
    """Correlate every row with one kernel and every column with another, as ``cv2.sepFilter2D`` does.

    ``dst[r, c] = sum_ij src[r + i - anchor_y, c + j - anchor_x] * kernelY[i] * kernelX[j] + delta``, rounded
    once, at the end.

    Parameters
    ----------
    src, ddepth, dst, anchor, delta, borderType
        As in `filter2D`; every negative anchor means the centre.
    kernelX, kernelY : ndarray
        Vectors of the same element type, along a row and along a column of the image.

    Returns
    -------
    ndarray
        The filtered image, of the size of ``src``.

    Raises
    ------
    error
        The codes of `filter2D`, and ``cv2.kernel-pair``.

    Examples
    --------
    >>> import numpy as np
    >>> picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    >>> sepFilter2D(picture, CV_16S, np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 1.0]))
    array([[0, 8, 8, 0],
           [0, 8, 8, 0],
           [0, 8, 8, 0]], dtype=int16)
    """
    picture = arguments.image(src, SEPARABLE_DEPTHS)
    source = arguments.depth_of(picture)
    across, down = _kernel("kernelX", kernelX), _kernel("kernelY", kernelY)
    if across.dtype != down.dtype or 1 not in across.shape or 1 not in down.shape:
        raise error(
            "kernel-pair",
            x=by(across.shape),
            y=by(down.shape),
            xtype=across.dtype.name,
            ytype=down.dtype.name,
        )
    depth = arguments.output_depth(source, ddepth, SEPARABLE_DEPTHS)
    across, down = across.reshape(-1), down.reshape(-1)
    offset = arguments.anchor_axes(anchor, across.size, down.size)
    outside = arguments.boundary(borderType)
    shift = arguments.number("delta", delta)
    values = separable(picture, across, down, depth, offset, outside)
    return deliver(saturate(shifted(values, shift), depth), dst)


def separable(
    picture: np.ndarray,
    across: np.ndarray,
    down: np.ndarray,
    depth: int,
    offset: tuple[int, int],
    outside: str,
) -> np.ndarray:
    """Rows with ``across``, then columns with ``down``, not yet rounded: int64 where all is whole."""
    source = arguments.depth_of(picture)
    kernels = [working_kernel(kernel, source, depth) for kernel in (across, down)]
    if any(kernel.dtype.kind == "f" for kernel in kernels):
        kernels = [kernel.astype(working_type(source, depth)) for kernel in kernels]
    rows = correlate(picture, kernels[0], "same", boundary=outside, axes=(1,), anchor=offset[1])
    return correlate(rows, kernels[1], "same", boundary=outside, axes=(0,), anchor=offset[0])


def working_type(source: int, depth: int) -> np.dtype:
    """The type that OpenCV sums in: float32, or float64 as soon as either side is."""
    return np.dtype(np.float64 if CV_64F in (source, depth) else np.float32)


def working_kernel(kernel: np.ndarray, source: int, depth: int) -> np.ndarray:
    """The kernel as OpenCV would round it; int64, for an exact sum, where it and the image are whole."""
    weights = kernel.astype(working_type(source, depth))
    exact = source < CV_32F and np.array_equal(weights, np.rint(weights)) and np.abs(weights).sum() < 2.0**40
    return weights.astype(np.int64) if exact else weights


def shifted(values: np.ndarray, shift: float) -> np.ndarray:
    """``values + shift``, whole numbers staying whole numbers."""
    if shift == 0:
        return values
    if values.dtype.kind == "i" and shift == np.rint(shift):
        return values + int(shift)
    return values + (values.dtype.type(shift) if values.dtype.kind == "f" else shift)


def _kernel(argument: str, kernel: object) -> np.ndarray:
    if not isinstance(kernel, np.ndarray):
        raise error("not-an-array", argument=argument, kind=type(kernel).__name__)
    if kernel.dtype.kind not in "biuf":
        raise error("kernel-type", argument=argument, dtype=kernel.dtype.name)
    if kernel.size == 0:
        raise error("empty", argument=argument, shape=by(kernel.shape))
    weights = kernel[:, :, 0] if kernel.ndim == 3 and kernel.shape[2] == 1 else kernel
    if weights.ndim > 2:
        raise error("kernel-shape", argument=argument, shape=by(kernel.shape))
    # A vector is one row, as OpenCV reads it.
    return weights.reshape(1, -1) if weights.ndim < 2 else weights
