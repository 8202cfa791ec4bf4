"""``scipy.signal.fftconvolve`` and ``oaconvolve``: chosen axes are convolved, the others broadcast."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit import verbs
from convkit.compat.numpy import Array
from convkit.compat.refusal import refusal
from convkit.compat.scipy_signal.shapes import EXTENDED, MODES, chosen_axes, swap_needed, transformed_type


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """Convolve by Fourier transforms over ``axes``; along the others the arrays broadcast.

    ``full[n] = sum_j in1[n-j] in2[j]`` along each of ``axes``. Unlike SciPy's, the result holds a NaN or an infinity
    only where the window of that output holds one.

    Parameters
    ----------
    in1, in2 : array_like
        Arrays of the same rank; two scalars are simply multiplied.
    mode : {"full", "same", "valid"}
        Extent of the result.
    axes : int, sequence of int, or None
        The axes to convolve; all of them by default.

    Returns
    -------
    ndarray
        Of a floating type: float64 for integers, float32 for float16. One empty input gives an empty result.

    Raises
    ------
    ValueError
        Unequal ranks, an unknown mode, unusable ``axes``, shapes that do not broadcast, or in mode ``valid`` two arrays
        of which neither holds the other.

    Examples
    --------
    >>> fftconvolve([1.0, 2, 3], [0, 1, 0.5]).round(12).tolist()
    [0.0, 1.0, 2.5, 4.0, 1.5]

    Equivalent to ``scipy.signal.fftconvolve(in1, in2, mode, axes)``.
    """
    return _convolve(in1, in2, mode, axes, "fft")


def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """Convolve a long array with a short one block by block over ``axes``; along the others the arrays broadcast.

    Parameters
    ----------
    in1, in2 : array_like
        Arrays of the same rank; two scalars are simply multiplied.
    mode : {"full", "same", "valid"}
        Extent of the result.
    axes : int, sequence of int, or None
        The axes to convolve; all of them by default.

    Returns
    -------
    ndarray
        As from `fftconvolve`.

    Raises
    ------
    ValueError
        As in `fftconvolve`.

    Examples
    --------
    >>> oaconvolve([1.0, 2, 3, 4, 5], [1, 10], "valid").round(12).tolist()
    [12.0, 23.0, 34.0, 45.0]

    Equivalent to ``scipy.signal.oaconvolve(in1, in2, mode, axes)``.
    """
    return _convolve(in1, in2, mode, axes, "auto")


def _convolve(in1: Any, in2: Any, mode: str, axes: Any, method: str) -> Any:
    x, k = np.asarray(in1), np.asarray(in2)
    if x.ndim == k.ndim == 0:
        return x * k
    if x.ndim != k.ndim:
        raise refusal(ValueError, "scipy_signal.ranks", first="in1", second="in2")
    if x.size == 0 or k.size == 0:
        return np.array([])
    # Along an axis of length 1 a convolution is a multiplication, which broadcasting does.
    convolved = sorted(axis for axis in chosen_axes(axes, x.ndim) if x.shape[axis] != 1 and k.shape[axis] != 1)
    rest = [axis for axis in range(x.ndim) if axis not in convolved]
    if any(x.shape[axis] != k.shape[axis] and 1 not in (x.shape[axis], k.shape[axis]) for axis in rest):
        raise refusal(ValueError, "scipy_signal.shapes", first=x.shape, second=k.shape)
    if mode not in MODES:
        raise refusal(ValueError, "scipy_signal.mode-lower-case")
    if mode == "valid" and swap_needed(x.shape, k.shape, convolved):
        x, k = k, x
    if mode == "same":
        k = _like_first(k, x.shape, rest)
    if not convolved:
        return x * k
    dtype = np.result_type(transformed_type(x.dtype), transformed_type(k.dtype))
    way = "auto" if dtype.char in EXTENDED else method
    x, k = x.astype(dtype, copy=False), k.astype(dtype, copy=False)
    return verbs.convolve(x, k, mode, axes=tuple(convolved), method=way)


def _like_first(k: Array, shape: tuple[int, ...], rest: list[int]) -> Array:
    """Cut ``k`` to its middle where it would broadcast the result beyond ``in1``: mode ``same`` keeps in1's shape."""
    cut = [slice(None)] * k.ndim
    for axis in rest:
        if k.shape[axis] > shape[axis]:
            first = (k.shape[axis] - shape[axis]) // 2
            cut[axis] = slice(first, first + shape[axis])
    return k[tuple(cut)]
