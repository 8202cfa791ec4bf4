"""Memory for large results: it begins at a line of the cache, and is used again once nobody holds what stood in it.

Memory that comes fresh from the system costs more than most layers compute: every page of it is cleared when it is
first written. NumPy begins large arrays 16 bytes behind a page, so that every vector would be stored to two lines.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64
"""Bytes of a cache line."""

LARGE = 1 << 20
"""Bytes from which a result is large; memory for smaller ones the C library uses again by itself."""

KEPT = 1 << 28
"""Bytes that are kept for further results at most."""

MOST_BLOCKS = 16
"""Pieces of memory that are kept at most."""

_FREE = 2
"""References to a block that nobody holds: the one that looks at it, and the count's own argument."""


class Blocks:
    """Pieces of memory in use and free: an array over one holds it, and so does every view of that array.

    A block is taken off the list while it is looked at, so that two threads cannot both find it free; losing one to an
    interruption does no harm.
    """

    def __init__(self) -> None:
        self._blocks: deque[NDArray[np.uint8]] = deque()

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """An array in memory order whose numbers are not set yet, as of `numpy.empty`."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        return np.empty(shape, kind) if size < LARGE or kind.hasobject else self.aligned(shape, kind)

    def aligned(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """The same, begun at a line of the cache however small it is."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        block = None if size < LARGE else self._free(size + LINE)
        if block is None:
            block = np.empty(size + LINE, np.uint8)
        array: NDArray[Any] = np.ndarray(shape, kind, block, -block.ctypes.data % LINE)  # type: ignore[arg-type]
        if LARGE <= size <= KEPT:
            self._blocks.append(block)
        return array

    def _free(self, size: int) -> NDArray[np.uint8] | None:
        """A block of ``size`` bytes at least, of which at most half is too much; room for one if there is none."""
        kept = size
        for _ in range(len(self._blocks)):
            block = self._next()
            if block is None:
                break
            fits = size <= len(block) <= 2 * size
            if fits and sys.getrefcount(block) == _FREE:
                return block
            kept += len(block)
            self._blocks.append(block)
        while self._blocks and (kept > KEPT or len(self._blocks) >= MOST_BLOCKS):
            oldest = self._next()
            kept -= 0 if oldest is None else len(oldest)
        return None

    def _next(self) -> NDArray[np.uint8] | None:
        try:
            return self._blocks.popleft()
        except IndexError:  # another thread looks at the last one
            return None

    def clear(self) -> None:
        """Give back what nobody holds."""
        self._blocks.clear()


RESULTS = Blocks()
empty, aligned = RESULTS.empty, RESULTS.aligned
