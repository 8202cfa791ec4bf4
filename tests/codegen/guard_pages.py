"""Memory between two pages that may not be touched."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)


class Guarded:
    """So many pages, and a forbidden one on either side."""

    def __init__(self, pages: int) -> None:
        self.memory = mmap.mmap(-1, (pages + 2) * PAGE)
        self.size = pages * PAGE
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for at in (start, start + PAGE + self.size):
            if libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, shape: tuple[int, ...], dtype: str, side: str) -> np.ndarray:
        """An array that touches the forbidden page at its ``start`` or ``end``."""
        count = int(np.prod(shape))
        at = PAGE if side == "start" else PAGE + self.size - count * np.dtype(dtype).itemsize
        return np.frombuffer(self.memory, dtype, count, at).reshape(shape)
