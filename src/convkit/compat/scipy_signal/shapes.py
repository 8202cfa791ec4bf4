"""Which of two inputs is the kernel, along which axes, in which type: the rules that SciPy's functions share."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from convkit.compat.refusal import refusal

MODES = ("full", "same", "valid")

EXTENDED = "gG"
"""Codes of the types beyond double precision, for which there is no transform: their sums are formed directly."""


def swap_needed(shape1: Sequence[int], shape2: Sequence[int], axes: Iterable[int]) -> bool:
    """Whether mode ``valid`` has to exchange the inputs, so that the second fits inside the first.

    Raises
    ------
    ValueError
        One input is larger on one axis and smaller on another.
    """
    pairs = [(shape1[axis], shape2[axis]) for axis in axes]
    first_holds = all(n >= k for n, k in pairs)
    if not first_holds and not all(k >= n for n, k in pairs):
        raise refusal(ValueError, "scipy_signal.neither-fits")
    return not first_holds


def chosen_axes(axes: Any, rank: int) -> list[int]:
    """The axes that a caller named, counted from the front; all of them if none was named.

    Raises
    ------
    ValueError
        Axes that are empty, repeated, out of range, or not whole numbers.
    """
    if axes is None:
        return list(range(rank))
    entries = axes if isinstance(axes, Iterable) else (axes,)
    try:
        numbers = [operator.index(entry) for entry in entries]
    except TypeError:
        raise refusal(ValueError, "scipy_signal.axes-not-integers") from None
    if not numbers:
        raise refusal(ValueError, "scipy_signal.axes-empty")
    if any(not -rank <= number < rank for number in numbers):
        raise refusal(ValueError, "scipy_signal.axes-out-of-range", rank=rank)
    counted = [number % rank for number in numbers]
    if len(set(counted)) != len(counted):
        raise refusal(ValueError, "scipy_signal.axes-repeated")
    return counted


def transformed_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that SciPy transforms ``dtype`` in."""
    if dtype.kind not in "fc":
        return np.dtype(np.float64)
    return np.dtype(np.float32) if dtype == np.float16 else dtype
