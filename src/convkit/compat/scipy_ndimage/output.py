"""Where a filter's result goes, and how a sum in double precision becomes an element of an image.

ndimage computes in double precision and then truncates towards zero; what does not fit an integer type keeps its lowest
bits, so that ``-1.5`` becomes ``255`` in uint8.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from convkit.compat.numpy import Array
from convkit.compat.refusal import refusal

_REAL = frozenset("?bBhHiIlLqQfd")
_COMPLEX = frozenset("FD")


def prepare(output: Any, x: Array, complex_result: bool = False) -> Array:
    """The array that the result is written to: a new one, or the caller's.

    Parameters
    ----------
    output : ndarray, dtype, str or None
        What the caller passed: an array to fill, the type of a new one, or None for the input's type.
    x : ndarray
        The input.
    complex_result : bool
        Whether the result is complex, which a new array's type has to be then.

    Raises
    ------
    RuntimeError
        An array of another shape, or a type that cannot hold the result.
    TypeError
        A name that is no type.
    """
    if output is None:
        dtype = np.promote_types(x.dtype, np.complex64) if complex_result else np.dtype(x.dtype.name)
        return np.zeros(x.shape, dtype)
    if isinstance(output, (type, np.dtype)):
        dtype = np.dtype(output)
        if complex_result and dtype.kind != "c":
            warnings.warn(refusal(UserWarning, "scipy_ndimage.promoted"), stacklevel=4)
            dtype = np.promote_types(dtype, np.complex64)
        return np.zeros(x.shape, dtype)
    if isinstance(output, str):
        dtype = np.dtype(output)
        if complex_result and dtype.kind != "c":
            raise refusal(RuntimeError, "scipy_ndimage.output-complex")
        if not issubclass(dtype.type, np.number):
            raise refusal(RuntimeError, "scipy_ndimage.output-numeric")
        return np.zeros(x.shape, dtype)
    array = np.asarray(output)
    if array.shape != x.shape:
        raise refusal(RuntimeError, "scipy_ndimage.output-shape")
    if complex_result and array.dtype.kind != "c":
        raise refusal(RuntimeError, "scipy_ndimage.output-complex")
    return array


def check_types(x: Array, target: Array, complex_result: bool) -> None:
    """Raise unless ndimage filters arrays of these types.

    Raises
    ------
    RuntimeError
        float16, longdouble, objects, strings, or a complex output for a real result.
    """
    allowed = _COMPLEX if complex_result else _REAL
    if x.dtype.char not in _REAL | _COMPLEX:
        raise refusal(RuntimeError, "scipy_ndimage.type", dtype=repr(x.dtype))
    if target.dtype.char not in allowed:
        raise refusal(RuntimeError, "scipy_ndimage.type", dtype=repr(target.dtype))


def between_axes(target: Array) -> Array:
    """The array that holds the image between one axis and the next: ``target``, or its bytes if it is a mask.

    ndimage keeps whole bytes in a mask until it is done, and its next pass reads them as numbers.
    """
    return target.view(np.uint8) if target.dtype.kind == "b" else target


def finished(target: Array, stage: Array) -> Array:
    """``target``, with bytes turned into truth values where ``stage`` holds a mask's bytes."""
    if stage is not target:
        np.not_equal(stage, 0, out=target)
    return target


def store(result: Array, target: Array) -> Array:
    """Write ``result`` into ``target`` as ndimage does, and return ``target``.

    Examples
    --------
    >>> store(np.array([1.9, -0.5, -1.5, 300.0]), np.zeros(4, np.uint8)).tolist()
    [1, 0, 255, 44]
    """
    kind = target.dtype.kind
    with np.errstate(invalid="ignore", over="ignore"):
        if kind == "u" and target.itemsize < 8:
            np.copyto(target, result.astype(np.int64), casting="unsafe")
        elif kind == "u":
            # A negative double has no unsigned value: the sign is put back after the conversion.
            magnitude = np.abs(result).astype(np.uint64)
            negative = result < 0
            np.copyto(target, np.where(negative, np.uint64(0) - magnitude, magnitude), casting="unsafe")
        elif kind == "b":
            np.copyto(target, np.trunc(result) != 0)
        else:
            np.copyto(target, result, casting="unsafe")
    return target
