"""``numpy.convolve`` and ``numpy.correlate`` on convkit's verbs: the same arguments, dtypes and results.

Integers wrap as NumPy's do, booleans give booleans, and the exceptions are those that NumPy raises.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from convkit import verbs
from convkit.compat.refusal import refusal
from convkit.compat.ways import SMALL, sums_as_defined

__all__ = ["convolve", "correlate"]

Array = np.ndarray[Any, np.dtype[Any]]
_MODES = ("valid", "same", "full")


def convolve(a: Any, v: Any, mode: str = "full") -> Array:
    """Convolve two one-dimensional sequences; the shorter one is the kernel, whichever comes first.

    ``full[n] = sum_j a[n-j] v[j]``, n = 0..N+K-2; ``same`` keeps the max(N, K) samples from ``(min(N, K)-1)//2`` on,
    ``valid`` the ``max(N, K) - min(N, K) + 1`` in which the shorter lies wholly inside the longer.

    Parameters
    ----------
    a, v : array_like
        Sequences of N and K samples; a scalar counts as one sample.
    mode : {"full", "same", "valid"}
        Extent of the result; NumPy's 2, 1 and 0 mean the same.

    Returns
    -------
    ndarray
        Of NumPy's common dtype. Integers that do not fit wrap around, as in NumPy.

    Raises
    ------
    ValueError
        An empty sequence, one with more than one axis, or an unknown mode.
    TypeError
        A mode that is neither a word nor a number.

    Examples
    --------
    >>> convolve([1, 2, 3], [0, 1, 0.5]).tolist()
    [0.0, 1.0, 2.5, 4.0, 1.5]

    Equivalent to ``numpy.convolve(a, v, mode)``.
    """
    long, short = np.array(a, copy=None, ndmin=1), np.array(v, copy=None, ndmin=1)
    if long.shape[0] == 0:
        raise refusal(ValueError, "numpy.empty", name="a")
    if short.shape[0] == 0:
        raise refusal(ValueError, "numpy.empty", name="v")
    if short.shape[0] > long.shape[0]:
        long, short = short, long
    if long.ndim > 1 or short.ndim > 1:
        raise refusal(ValueError, "numpy.too-deep")
    return wrapped(verbs.convolve, long, short, _mode(mode), **sums_as_defined(long.shape, short.shape, SMALL))


def correlate(a: Any, v: Any, mode: str = "valid") -> Array:
    """Correlate two one-dimensional sequences; the second is conjugated.

    ``full[n] = sum_j a[j+n-K+1] conj(v[j])``, n = 0..N+K-2. If ``v`` is the longer, the result is that of
    ``correlate(v, a)``, reversed and conjugated.

    Parameters
    ----------
    a, v : array_like
        Sequences of N and K samples.
    mode : {"valid", "same", "full"}
        Extent of the result; NumPy's 0, 1 and 2 mean the same.

    Returns
    -------
    ndarray
        Of NumPy's common dtype. Integers that do not fit wrap around, as in NumPy.

    Raises
    ------
    ValueError
        An empty sequence, one that does not have exactly one axis, or an unknown mode.
    TypeError
        A mode that is neither a word nor a number.

    Examples
    --------
    >>> correlate([1, 2, 3], [0, 1, 0.5]).tolist()
    [3.5]
    >>> correlate([1, 2, 3], [0, 1, 0.5], "same").tolist()
    [2.0, 3.5, 3.0]

    Equivalent to ``numpy.correlate(a, v, mode)``.
    """
    first, second = np.asarray(a), np.asarray(v)
    for array in (first, second):
        if array.ndim != 1:
            raise refusal(ValueError, "numpy.too-deep" if array.ndim else "numpy.too-small-depth")
    if first.size == 0:
        raise refusal(ValueError, "numpy.empty-argument", which="first")
    if second.size == 0:
        raise refusal(ValueError, "numpy.empty-argument", which="second")
    extent = _mode(mode)
    options = sums_as_defined(first.shape, second.shape, SMALL)
    if first.size < second.size:
        return wrapped(verbs.correlate, second, first, extent, **options)[::-1].conj()
    return wrapped(verbs.correlate, first, second, extent, **options)


def wrapped(verb: Callable[..., Array], x: Array, k: Array, mode: str, **options: Any) -> Array:
    """Run ``verb`` with NumPy's dtypes: NumPy's common type, integers that wrap, booleans that stay booleans.

    Parameters
    ----------
    verb : callable
        ``ck.convolve`` or ``ck.correlate``.
    x, k : ndarray
        Input and kernel of the same rank.
    mode : {"full", "same", "valid"}
        Extent of the result.
    **options
        Further options of the verb; those that say how sums of floats are formed are left out for exact integers.

    Raises
    ------
    ValueError
        Strings and other elements that cannot be multiplied.
    """
    dtype = np.result_type(x.dtype, k.dtype)
    if dtype.kind in "biu":
        exact = {name: value for name, value in options.items() if name not in ("method", "accuracy")}
        if dtype.kind == "b":
            # The sum of products of truth values is not zero exactly where one of the products is true.
            return verb(x, k, mode, **exact) != 0
        return verb(x, k, mode, dtype=dtype, overflow="wrap", **exact)
    if dtype.kind not in "fcO":
        raise refusal(ValueError, "numpy.not-a-number", dtype=dtype)
    if x.dtype.kind in "biu" and k.dtype.kind in "biu":
        # Signed beside uint64: NumPy has no common integer type and goes on in double precision.
        x = x.astype(dtype)
    return verb(x, k, mode, **options)


def _mode(mode: object) -> str:
    """The word for ``mode``, which NumPy also takes as a number."""
    if isinstance(mode, str):
        if mode in _MODES:
            return mode
        raise refusal(ValueError, "numpy.mode", mode=repr(mode))
    try:
        number = operator.index(mode)  # type: ignore[arg-type]
    except TypeError:
        raise refusal(TypeError, "numpy.mode-not-understood") from None
    if 0 <= number < len(_MODES):
        return _MODES[number]
    raise refusal(ValueError, "numpy.mode-number", mode=number)
