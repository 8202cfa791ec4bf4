"""Kernels stored in half as many bytes as sums, which most algorithms are given widened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HALVES = ("float16", "bfloat16")
"""Types that are widened, unless an algorithm reads them as they lie."""


def widened(array: NDArray[Any]) -> NDArray[Any]:
    """As float32. bfloat16 is its upper half; number by number, as NumPy has it done, takes several times as long."""
    if array.dtype.name != "bfloat16":
        return array.astype(np.float32)
    bits = array.view(np.uint16).astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)
