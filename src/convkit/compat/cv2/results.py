"""Laying results down: rounding, saturation, and the array given as ``dst``."""

from __future__ import annotations

import numpy as np

from convkit.compat.cv2.constants import DTYPES
from convkit.compat.cv2.errors import error


def saturate(values: np.ndarray, depth: int) -> np.ndarray:
    """``values`` in the element type of ``depth``: halves round to even, the rest stops at the ends.

    A NaN becomes the least value of an integer type, as the conversion of the processor that OpenCV uses has
    it. A value that does not fit 32 bits stops at the end as well (OpenCV sends large positive ones to the
    least value).
    """
    dtype = DTYPES[depth]
    if values.dtype == dtype:
        return values
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    if values.dtype.kind == "f":
        values = np.nan_to_num(np.rint(values), copy=False, nan=limits.min)
    return np.clip(values, limits.min, limits.max).astype(dtype)


def deliver(result: np.ndarray, dst: object) -> np.ndarray:
    """``result``, laid into ``dst`` where that has its shape and type; otherwise ``dst`` is left alone.

    OpenCV does the same: a ``dst`` that does not match is not an error, it is simply not used.
    """
    if dst is None:
        return result
    if not isinstance(dst, np.ndarray):
        raise error("not-an-array", argument="dst", kind=type(dst).__name__)
    if dst.dtype != result.dtype or dst.shape != result.shape:
        return result
    if not dst.flags.writeable:
        raise error("read-only", argument="dst")
    np.copyto(dst, result)
    return dst
