"""``scipy.signal.convolve2d`` and ``correlate2d``: two axes, with a boundary."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit import verbs
from convkit.compat.numpy import Array, wrapped
from convkit.compat.refusal import refusal
from convkit.compat.scipy_signal.shapes import MODES, swap_needed
from convkit.compat.ways import LARGE, sums_as_defined

_BOUNDARIES = {
    "fill": "constant",
    "pad": "constant",
    "wrap": "wrap",
    "circular": "wrap",
    "symm": "symmetric",
    "symmetric": "symmetric",
}


def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Array:
    """Convolve two matrices.

    ``full[m, n] = sum_ij in1[m-i, n-j] in2[i, j]``; ``same`` keeps the rows and columns of in1, from
    ``(K-1)//2`` of ``full`` on.

    Parameters
    ----------
    in1, in2 : array_like
        Matrices.
    mode : {"full", "same", "valid"}
        Extent of the result.
    boundary : {"fill", "wrap", "symm"}
        What stands outside ``in1``: ``fillvalue``, the matrix again, or its mirror image with the edge repeated.
    fillvalue : scalar
        Value outside under ``fill``; it is cast to the type of the result.

    Returns
    -------
    ndarray
        Of NumPy's common dtype; no float16, no booleans. Integers that do not fit wrap around.

    Raises
    ------
    ValueError
        Not two matrices, an unknown mode or boundary, a fill value that is not one number of the result's type, a
        dtype that SciPy's own function does not take, or in mode ``valid`` two matrices of which neither holds the
        other.

    Examples
    --------
    >>> convolve2d([[1, 2, 3]], [[1, 10]], "same", "wrap").tolist()
    [[31, 12, 23]]

    Equivalent to ``scipy.signal.convolve2d(in1, in2, mode, boundary, fillvalue)``.
    """
    x, k = _matrices(in1, in2, "convolve2d")
    if _swaps(x, k, mode):
        x, k = k, x
    return _run(verbs.convolve, x, k, mode, boundary, fillvalue)


def correlate2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Array:
    """Correlate two matrices; the second is conjugated.

    ``full[m, n] = sum_ij in1[m+i-K+1, n+j-L+1] conj(in2[i, j])``; ``same`` lays element ``((K-1)//2, (L-1)//2)`` on
    the output sample, one before that of `scipy_ndimage.correlate` for even sizes.

    Parameters
    ----------
    in1, in2, mode, boundary, fillvalue
        As in `convolve2d`.

    Returns
    -------
    ndarray
        Of NumPy's common dtype; no float16, no booleans. Integers that do not fit wrap around.

    Raises
    ------
    ValueError
        As in `convolve2d`.

    Examples
    --------
    >>> correlate2d([[1, 2, 3]], [[1, 10]], "same").tolist()
    [[21, 32, 3]]

    Equivalent to ``scipy.signal.correlate2d(in1, in2, mode, boundary, fillvalue)``.
    """
    x, k = _matrices(in1, in2, "correlate2d")
    if _swaps(x, k, mode):
        # SciPy undoes the exchange by reversing alone, so that the first matrix is the one conjugated here.
        return np.flip(_run(verbs.correlate, k, x, mode, boundary, fillvalue))
    return _run(verbs.correlate, x, k, mode, boundary, fillvalue)


def _matrices(in1: Any, in2: Any, name: str) -> tuple[Array, Array]:
    x, k = np.asarray(in1), np.asarray(in2)
    if not x.ndim == k.ndim == 2:
        raise refusal(ValueError, "scipy_signal.not-matrices", name=name)
    return x, k


def _swaps(x: Array, k: Array, mode: object) -> bool:
    return mode == "valid" and swap_needed(x.shape, k.shape, (0, 1))


def _run(verb: Any, x: Array, k: Array, mode: str, boundary: str, fillvalue: Any) -> Array:
    if mode not in MODES:
        raise refusal(ValueError, "scipy_signal.mode")
    if boundary not in _BOUNDARIES:
        raise refusal(ValueError, "scipy_signal.boundary")
    dtype = np.result_type(x.dtype, k.dtype)
    if dtype.kind not in "iufc" or dtype == np.float16:
        raise refusal(ValueError, "scipy_signal.no-such-type", dtype=dtype)
    fill = _fill(fillvalue, dtype)
    if x.size == 0 or k.size == 0:
        return _nothing(x, k, mode, dtype)
    options = sums_as_defined(x.shape, k.shape, LARGE)
    name = _BOUNDARIES[boundary]
    if name != "constant":
        options["boundary"] = name
    elif fill != 0:
        options |= {"boundary": "constant", "fill": fill}
    if mode == "same" and verb is verbs.correlate:
        options["anchor"] = tuple((size - 1) // 2 for size in k.shape)
    return wrapped(verb, x, k, mode, **options)


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """``value`` as one number of the result's type, cast as SciPy casts it: through complex, safely or not at all."""
    array = np.asarray(value)
    if array.size != 1:
        raise refusal(ValueError, "scipy_signal.fill-empty" if array.size == 0 else "scipy_signal.fill-not-scalar")
    number = array.reshape(()).astype(np.clongdouble if dtype.char in "gG" else np.complex128)[()]
    if dtype.kind == "c":
        return dtype.type(number)
    if number.imag != 0 or (dtype.kind in "iu" and not _fits(number.real, dtype)):
        raise refusal(ValueError, "scipy_signal.fill-cast", dtype=dtype)
    return dtype.type(number.real)


def _fits(number: Any, dtype: np.dtype[Any]) -> bool:
    return bool(np.isfinite(number)) and np.iinfo(dtype).min <= int(number) <= np.iinfo(dtype).max


def _nothing(x: Array, k: Array, mode: str, dtype: np.dtype[Any]) -> Array:
    """The result of an empty matrix: sums without a term."""
    shape = {
        "full": tuple(n + s - 1 for n, s in zip(x.shape, k.shape)),
        "same": x.shape,
        "valid": tuple(n - s + 1 for n, s in zip(x.shape, k.shape)),
    }[mode]
    return np.zeros(shape, dtype)
