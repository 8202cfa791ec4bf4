"""Exact integer sums in the type that the caller asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit.errors import IntegerOverflowError
from convkit.planner.algorithm import Array
from convkit.spec.options import Overflow


def narrowed(sums: Array, target: np.dtype[Any], overflow: Overflow) -> Array:
    """Integer ``sums`` as integers of type ``target``.

    Raises
    ------
    IntegerOverflowError
        ``integer.does-not-fit`` under ``overflow="raise"``.
    """
    limits = np.iinfo(target)
    own = np.iinfo(sums.dtype)
    if overflow != "wrap" and sums.size and (own.min < limits.min or own.max > limits.max):
        low, high = int(sums.min()), int(sums.max())
        if low < limits.min or high > limits.max:
            if overflow == "raise":
                floor, ceiling = max(limits.min, own.min), min(limits.max, own.max)
                outside = int(((sums < floor) | (sums > ceiling)).sum())
                raise IntegerOverflowError(
                    "does-not-fit", dtype=target.name, count=outside, least=limits.min, largest=limits.max,
                    worst=high if high > limits.max else low,
                )  # fmt: skip
            sums = np.clip(sums, max(limits.min, own.min), min(limits.max, own.max))
    return sums.astype(target)
