"""``scipy.signal.convolve`` and ``correlate``: arrays of any rank, all axes at once."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from convkit import verbs
from convkit.compat.numpy import Array, wrapped
from convkit.compat.refusal import refusal
from convkit.compat.scipy_signal.shapes import EXTENDED, MODES, swap_needed, transformed_type
from convkit.compat.ways import SMALL, sums_as_defined

Method = Literal["auto", "direct", "fft"]


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Convolve two arrays of the same rank over all their axes.

    ``full[n] = sum_j in1[n-j] in2[j]`` along every axis; ``same`` keeps the part centred on ``full`` that has the shape
    of ``in1``, ``valid`` the part in which one array lies wholly inside the other.

    Parameters
    ----------
    in1, in2 : array_like
        Arrays of the same rank; two scalars are simply multiplied.
    mode : {"full", "same", "valid"}
        Extent of the result.
    method : {"auto", "direct", "fft"}
        ``direct`` bounds the error output by output, ``fft`` uses Fourier transforms, ``auto`` takes the cheapest way.
        Integers are exact (modulo the size of their type) under every one of them.

    Returns
    -------
    ndarray
        Of NumPy's common dtype. Integers that do not fit wrap around, as in SciPy.

    Raises
    ------
    ValueError
        Unequal ranks, an unknown mode or method, an empty array, or in mode ``valid`` two arrays of which neither
        holds the other.

    Examples
    --------
    >>> convolve([[1, 2], [3, 4]], [[1, 10]], "same").tolist()
    [[1, 12], [3, 34]]

    Equivalent to ``scipy.signal.convolve(in1, in2, mode, method)``.
    """
    x, k = np.asarray(in1), np.asarray(in2)
    if x.ndim == k.ndim == 0:
        return x * k
    if x.ndim != k.ndim:
        raise refusal(ValueError, "scipy_signal.ranks", first="volume", second="kernel")
    _check(mode, method)
    if mode == "valid" and swap_needed(x.shape, k.shape, range(x.ndim)):
        x, k = k, x
    return _run(verbs.convolve, x, k, mode, method)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Correlate two arrays of the same rank over all their axes; the second is conjugated.

    ``full[n] = sum_j in1[j+n-K+1] conj(in2[j])`` along every axis.

    Parameters
    ----------
    in1, in2 : array_like
        Arrays of the same rank; two scalars are simply multiplied, the second conjugated.
    mode : {"full", "same", "valid"}
        Extent of the result.
    method : {"auto", "direct", "fft"}
        As in `convolve`.

    Returns
    -------
    ndarray
        Of NumPy's common dtype. Integers that do not fit wrap around, as in SciPy.

    Raises
    ------
    ValueError
        As in `convolve`.

    Examples
    --------
    >>> correlate([1, 2, 3], [4, 5], mode="same").tolist()
    [5, 14, 23]

    Equivalent to ``scipy.signal.correlate(in1, in2, mode, method)``.
    """
    x, k = np.asarray(in1), np.asarray(in2)
    if x.ndim == k.ndim == 0:
        return x * k.conj()
    if x.ndim != k.ndim:
        raise refusal(ValueError, "scipy_signal.ranks", first="in1", second="in2")
    _check(mode, method)
    if mode == "valid" and swap_needed(x.shape, k.shape, range(x.ndim)):
        return np.flip(_run(verbs.correlate, k, x, mode, method)).conj()
    return _run(verbs.correlate, x, k, mode, method)


def _check(mode: object, method: object) -> None:
    """Raise unless ``mode`` and ``method`` are among SciPy's words."""
    if mode not in MODES:
        raise refusal(ValueError, "scipy_signal.mode")
    if method not in ("auto", "direct", "fft"):
        raise refusal(ValueError, "scipy_signal.method")


def _run(verb: Any, x: Array, k: Array, mode: str, method: str) -> Array:
    """Run ``verb`` on inputs whose order is settled; SciPy refuses empty sequences, but not empty arrays of rank 2."""
    if x.size == 0 or k.size == 0:
        return _nothing(x, k, mode)
    dtype = np.result_type(x.dtype, k.dtype)
    if method == "fft" and dtype.kind in "fc" and dtype.char not in EXTENDED:
        # As in SciPy, whole numbers beside single precision are transformed in double precision.
        wide = np.result_type(transformed_type(x.dtype), transformed_type(k.dtype))
        x, k = x.astype(wide, copy=False), k.astype(wide, copy=False)
        return verb(x, k, mode, method="fft").astype(dtype, copy=False)
    options = sums_as_defined(x.shape, k.shape, SMALL)
    if method == "direct":
        options = options or {"accuracy": "elementwise"}
    return wrapped(verb, x, k, mode, **options)


def _nothing(x: Array, k: Array, mode: str) -> Array:
    """The result of an empty input or kernel: sums without a term, or SciPy's refusal of an empty sequence."""
    if x.ndim == 1 and (mode != "same" or k.size == 0):
        raise refusal(ValueError, "numpy.empty", name="v" if k.size == 0 else "a")
    shape = x.shape if mode == "same" else tuple(n + s - 1 for n, s in zip(x.shape, k.shape))
    if mode == "valid":
        shape = tuple(n - s + 1 for n, s in zip(x.shape, k.shape))
    return np.zeros(tuple(max(0, n) for n in shape), np.result_type(x.dtype, k.dtype))
