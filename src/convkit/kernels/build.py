"""What every named kernel is built with: checked sizes and numbers, sums, orientation and type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from convkit.errors import DTypeError, OptionError, choose
from convkit.spec.options import OPERATIONS, per_axis, whole_number

Normalize = Literal["sum", "none"]
Orientation = Literal["correlation", "convolution"]


def sizes(size: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One size for each axis: a single number stands for ``rank`` of them."""
    if isinstance(size, Sequence):
        return per_axis("size", size, len(size), 1)
    return (whole_number("size", size, 1),) * whole_number("rank", rank, 1)


def odd(option: str, size: object, least: int) -> int:
    """``size`` as an odd whole number of at least ``least``."""
    number = whole_number(option, size, least)
    if number % 2 == 0:
        raise OptionError("kernel-not-odd", option=option, value=number, below=number - 1, above=number + 1)
    return number


def positive(option: str, value: object) -> float:
    """``value`` as a finite number above 0."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or not 0 < float(value) < float("inf"):
        raise OptionError("kernel-not-positive", option=option, value=repr(value))
    return float(value)


def positives(option: str, value: object, rank: int) -> tuple[float, ...]:
    """One positive number for each axis."""
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str):
        if len(value) != rank:
            raise OptionError("wrong-length", option=option, value=tuple(value), length=len(value), rank=rank)
        return tuple(positive(option, item) for item in value)
    return (positive(option, value),) * rank


def along(axis: int, rank: int) -> int:
    """``axis`` counted from the front; negative numbers count from the back."""
    count = whole_number("rank", rank, 1)
    number = whole_number("axis", axis, -count)
    if number >= count:
        raise OptionError("kernel-axis", axis=number, rank=count, last=count - 1)
    return number % count


def outer(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """The outer product of one vector an axis."""
    return reduce(np.multiply.outer, vectors)


def normalized(kernel: np.ndarray, normalize: str) -> np.ndarray:
    """``kernel`` divided by its sum, or as it is."""
    return kernel / kernel.sum() if choose("normalize", normalize, ("sum", "none")) == "sum" else kernel


def turned(kernel: np.ndarray, operation: str) -> np.ndarray:
    """A kernel written for correlation, reversed along every axis if it is for convolution."""
    return kernel if choose("operation", operation, OPERATIONS) == "correlation" else np.flip(kernel)


def typed(kernel: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """``kernel`` as a fresh array of ``dtype``; an integer type takes only whole numbers that fit it."""
    target = np.dtype(dtype)
    if target.kind not in "iufc":
        raise DTypeError("kernel-type", dtype=target.name)
    if target.kind in "iu":
        limits = np.iinfo(target.name)
        whole = np.array_equal(kernel, np.rint(kernel))
        if not whole or kernel.min() < limits.min or kernel.max() > limits.max:
            raise DTypeError("kernel-not-whole", dtype=target.name, least=f"{kernel.min():g}", most=f"{kernel.max():g}")
    return np.array(kernel, dtype=target, order="C")
