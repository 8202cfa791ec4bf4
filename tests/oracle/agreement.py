"""When an answer agrees with the oracle's: bit for bit for integers, within a stated bound for floats."""

from __future__ import annotations

from typing import Any

import numpy as np

import convkit as ck
from convkit.oracle import adapters
from convkit.spec import ConvSpec, Window, index_map
from tests.oracle.strategies import Case

VERBS = {"convolution": "convolve", "correlation": "correlate"}


def verb(case: Case, **more: Any) -> np.ndarray:
    """The library's answer."""
    return getattr(ck, VERBS[case.operation])(case.x, case.k, case.mode, **{**case.options, **more})


def truth(case: Case, **more: Any) -> np.ndarray:
    """The oracle's answer."""
    name = f"oracle_{VERBS[case.operation]}"
    return getattr(adapters, name)(case.x, case.k, case.mode, **{**case.options, **more})


def magnitudes(case: Case) -> np.ndarray:
    """For each output, ``sum |x||k|`` over its terms: what elementwise bounds are multiples of."""
    sizes = Case(_size(case.x), _size(case.k), case.operation, case.mode, dict(case.options))
    sizes.options["fill"] = abs(case.options.get("fill", 0))
    return truth(sizes)


def _size(array: np.ndarray) -> np.ndarray:
    wide = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    return np.abs(wide)


def geometry(case: Case) -> tuple[tuple[int, ...], tuple[Window, ...]]:
    """The convolved axes and their windows."""
    axes = case.options.get("axes", tuple(range(case.x.ndim)))
    options = {name: value for name, value in case.spec.items() if name != "axes"}
    spec = ConvSpec.of_arrays(len(axes), case.operation, case.mode, **options)
    along = range(case.k.ndim) if case.k.ndim == len(axes) else axes
    return axes, spec.windows([case.x.shape[a] for a in axes], [case.k.shape[a] for a in along])


def extended(case: Case) -> np.ndarray:
    """The part of the boundary-extended input that any window touches, in extended precision."""
    out = case.x.astype(np.clongdouble if case.x.dtype.kind == "c" else np.longdouble)
    for axis, window in zip(*geometry(case)):
        indices = np.array(index_map(window.first, window.span, window.size, window.sides), int)
        taken = np.take(out, np.maximum(indices, 0), axis) if window.size else np.zeros(_resized(out, axis, indices))
        fills = [case.options.get("fill", 0) if name == "constant" else 0 for name in window.sides]
        values = np.where(np.arange(window.first, window.first + window.span) < 0, *fills)
        shape = [1] * out.ndim
        shape[axis] = -1
        out = np.where((indices < 0).reshape(shape), values.reshape(shape), taken)
    return out


def products(case: Case) -> list[np.ndarray]:
    """One array of products for each element of a kernel shared by all rows; their sum is the result."""
    axes, windows = geometry(case)
    whole = extended(case)
    kernel = np.conj(case.k) if case.operation == "correlation" else np.flip(case.k)
    terms = []
    for index in np.ndindex(kernel.shape):
        cut = [slice(None)] * whole.ndim
        for axis, window, j in zip(axes, windows, index):
            first = j * window.dilation
            cut[axis] = slice(first, first + (window.count - 1) * window.stride + 1, window.stride)
        terms.append(whole[tuple(cut)] * kernel[index])
    return terms


def _resized(array: np.ndarray, axis: int, indices: np.ndarray) -> list[int]:
    shape = list(array.shape)
    shape[axis] = len(indices)
    return shape


def roundoff(dtype: np.dtype) -> float:
    """Half the distance from 1 to the next number of the dtype in which sums are formed."""
    return float(np.finfo(np.float32 if dtype == np.float16 else dtype).eps) / 2


def assert_agrees(ours: np.ndarray, expected: np.ndarray, scale: Any, terms: int) -> None:
    """Equal shape, dtype and values; floats within ``8 (terms + 8)`` roundoffs of ``scale``."""
    assert isinstance(ours, np.ndarray)
    assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
    if expected.dtype.kind in "iubO":
        assert np.array_equal(ours, expected)
        return
    allowed = 8 * (terms + 8) * roundoff(expected.dtype) * np.asarray(scale, np.float64)
    if expected.dtype == np.float16:
        allowed = allowed + 2.0**-10 * np.abs(expected.astype(np.float64))
    error = np.abs(ours.astype(np.complex128) - expected.astype(np.complex128))
    assert np.all(error <= allowed), f"error {error.max()} where {allowed} is allowed"
