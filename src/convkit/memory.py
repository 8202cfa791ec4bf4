"""Memory for large results: it begins at a line of the cache, and is used again once nobody holds what stood in it.

Memory that comes fresh from the system costs more than most layers compute: every page of it is cleared when it is
first written. NumPy begins large arrays 16 bytes behind a page, so that every vector would be stored to two lines.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64
"""Bytes of a cache line."""

LARGE = 1 << 20
"""Bytes from which a result is large; memory for smaller ones the C library uses again by itself."""

KEPT = 1 << 28
"""Bytes that are kept for further results of any size."""

MOST_KEPT = 1 << 32
"""Bytes that are kept at most, beyond `KEPT` for sizes that were asked for again: a network that learns lays down the
results of all its layers in every step before it gives any back."""

PATIENCE = 1024
"""Requests during which memory waits for one of its size."""

STEPS = 8
"""Sizes of blocks between one power of two and the next."""

_NEVER = -PATIENCE, -PATIENCE


class Block:
    """A piece of memory, and how NumPy is told of it from a line of the cache on.

    Attributes
    ----------
    size : int
        Bytes.
    """

    __slots__ = ("_memory", "interface", "size")

    def __init__(self, size: int) -> None:
        self._memory, self.size = np.empty(size, np.uint8), size
        at = self._memory.__array_interface__["data"][0]
        skipped = -at % LINE
        self.interface = {
            "version": 3, "typestr": "|u1", "shape": (size - skipped,), "data": (at + skipped, False),
        }  # fmt: skip


class _Lent:
    """What arrays over a block hold; the block goes back when the last of them is gone."""

    __slots__ = ("__array_interface__", "block", "blocks")

    def __init__(self, blocks: Blocks, block: Block) -> None:
        self.blocks, self.block, self.__array_interface__ = blocks, block, block.interface

    def __del__(self) -> None:
        self.blocks.give_back(self.block)


class Blocks:
    """Pieces of memory that are free: an array over one holds it, and so does every view of that array.

    Who finds the lists in use, another thread or an array that dies in the middle of a request, goes without: losing a
    block does no harm.
    """

    def __init__(self) -> None:
        self._in_use = threading.Lock()
        self._requests = self._bytes = 0
        # By size, in the order in which they came back, with the request before which they did.
        self._free: dict[int, list[tuple[int, Block]]] = {}
        # The requests that last asked for a size, and that did before.
        self._asked: dict[int, tuple[int, int]] = {}

    @property
    def kept(self) -> int:
        """Bytes that wait for further results."""
        return self._bytes

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """An array in memory order whose numbers are not set yet, as of `numpy.empty`."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        return np.empty(shape, kind) if size < LARGE or kind.hasobject else self.aligned(shape, kind)

    def aligned(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """The same, begun at a line of the cache however small it is."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if size < LARGE:
            block = np.empty(size + LINE, np.uint8)
            return np.ndarray(shape, kind, block, -block.ctypes.data % LINE)  # type: ignore[arg-type]
        rounded = _rounded(size + LINE)
        lent = _Lent(self, self._taken(rounded) or Block(rounded))
        return np.ndarray(shape, kind, np.asarray(lent))  # type: ignore[arg-type]

    def give_back(self, block: Block) -> None:
        """Keep a block that nobody holds any more, or let it go."""
        size = block.size
        if not self._in_use.acquire(blocking=False):
            return
        try:
            _, before = self._asked.get(size, _NEVER)
            again = before > self._requests - PATIENCE
            if self._bytes + size <= (MOST_KEPT if again else KEPT):
                self._free.setdefault(size, []).append((self._requests, block))
                self._bytes += size
        finally:
            self._in_use.release()

    def clear(self) -> None:
        """Give back to the system what nobody holds."""
        with self._in_use:
            self._free.clear()
            self._bytes = 0

    def _taken(self, size: int) -> Block | None:
        """A free block, the one that came back last: part of it may still be in the caches."""
        if not self._in_use.acquire(blocking=False):
            return None
        try:
            self._requests += 1
            self._asked[size] = self._requests, self._asked.get(size, _NEVER)[0]
            if self._requests % PATIENCE == 0:
                self._forget()
            free = self._free.get(size)
            if not free:
                return None
            self._bytes -= size
            return free.pop()[1]
        finally:
            self._in_use.release()

    def _forget(self) -> None:
        """Let go what no request has wanted for a while."""
        since = self._requests - PATIENCE
        self._free = {
            size: waiting for size, free in self._free.items() if (waiting := [one for one in free if one[0] > since])
        }
        self._bytes = sum(size * len(waiting) for size, waiting in self._free.items())
        self._asked = {size: asked for size, asked in self._asked.items() if asked[0] > since}


def _rounded(size: int) -> int:
    """The next of `STEPS` sizes a power of two, so that nearly equal results take turns in the same memory."""
    step = 1 << max(0, (size - 1).bit_length() - STEPS.bit_length())
    return -(-size // step) * step


RESULTS = Blocks()
empty, aligned, clear = RESULTS.empty, RESULTS.aligned, RESULTS.clear
