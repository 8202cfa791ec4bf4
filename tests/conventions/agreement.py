"""Calling a drop-in function and its model with the same arguments, and what it means that they agree."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float32", "float64")
COMPLEX = ("complex64", "complex128")


def outcome(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a call gives: its result, or the exception it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*copy.deepcopy(args), **copy.deepcopy(options))
        except Exception as raised:
            return raised


def agree(ours: Callable[..., Any], theirs: Callable[..., Any], *args: Any, scale: float = 0.0, **options: Any) -> Any:
    """Assert that both give the same: equal integers, floats within rounding, or an exception of the same type.

    ``scale`` bounds the sum of |x||k| over one window; rounding may be as large as a few units of roundoff of that.
    """
    want, got = outcome(theirs, *args, **options), outcome(ours, *args, **options)
    if isinstance(want, Exception):
        assert isinstance(got, type(want)), f"{got!r} where the model raises {want!r}"
        return want
    assert not isinstance(got, Exception), f"{got!r} where the model gives {want!r}"
    want, got = np.asarray(want), np.asarray(got)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if want.dtype.kind in "fc":
        np.testing.assert_allclose(
            got, want, rtol=0, atol=64 * float(np.finfo(want.dtype).eps) * max(scale, 1e-300), equal_nan=True
        )
    else:
        np.testing.assert_array_equal(got, want)
    return want


def elements(dtype: str, limit: int = 100) -> st.SearchStrategy[Any]:
    """Small numbers of a type: whole and fractional, both signs where it has them."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return st.booleans()
    if kind.kind == "u":
        return st.integers(0, limit)
    if kind.kind == "i":
        return st.integers(-limit, limit)
    real = st.floats(-limit, limit, width=32, allow_subnormal=False).map(lambda value: round(value, 3))
    if kind.kind == "c":
        return st.builds(complex, real, real)
    return real


@st.composite
def arrays(draw: st.DrawFn, dtypes: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An array that may be reversed, transposed in memory, or every second element of a larger one."""
    dtype = draw(st.sampled_from(dtypes))
    layout = draw(st.sampled_from(["plain", "reversed", "fortran", "strided"]))
    stored = tuple(2 * size for size in shape) if layout == "strided" else shape
    array = draw(hnp.arrays(dtype, stored, elements=elements(dtype)))
    if layout == "strided":
        return array[tuple(slice(None, None, 2) for _ in shape)]
    if layout == "reversed":
        return array[tuple(slice(None, None, -1) for _ in shape)]
    return np.asfortranarray(array) if layout == "fortran" else array


def window_sum(x: Any, k: Any) -> float:
    """An upper bound of the sum of |x||k| over any window."""
    if np.size(x) == 0 or np.size(k) == 0:
        return 0.0
    return float(np.abs(np.asarray(x)).max()) * float(np.abs(np.asarray(k)).sum())
