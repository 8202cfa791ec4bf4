"""Run exact integer convolution on arrays between pages which may not be touched. Prints ``untouched``."""

from __future__ import annotations

import ctypes
import mmap
from itertools import product

import numpy as np

import convkit as ck
from convkit.algorithms import compiled_integer

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)


class Guarded:
    """Memory between two forbidden pages."""

    def __init__(self, pages: int) -> None:
        self.memory = mmap.mmap(-1, (pages + 2) * PAGE)
        self.size = pages * PAGE
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for at in (start, start + PAGE + self.size):
            if libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, shape: tuple[int, ...], dtype: str, side: str) -> np.ndarray:
        """An array that touches the forbidden page at its ``start`` or ``end``."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        at = PAGE if side == "start" else PAGE + self.size - size
        return np.frombuffer(self.memory, dtype, int(np.prod(shape)), at).reshape(shape)


def main() -> None:
    compiled_integer.LEAST_PRODUCTS = 0
    inputs, outputs = Guarded(16), Guarded(32)
    for dtype, side, kernel in product(
        ("uint8", "int8", "int16", "uint16", "int64"), ("start", "end"), ((1, 5), (3, 3), (9, 2))
    ):
        k = np.ones(kernel, np.int8)
        for rows, columns in product((1, 4, 6), (1, 3, 7, 9, 15, 16, 17, 31, 33, 63, 65, 127, 130, 257)):
            x = inputs.array((rows, columns), dtype, side)
            x[...] = 1
            for target in ("uint8", "int16", "int64"):
                out = outputs.array((rows, columns), target, side)
                out[...] = 0
                ck.convolve(x, k, "same", boundary="edge", dtype=target, method="compiled-exact", out=out)
                if not (out == k.size).all():
                    raise ValueError(f"{dtype} {kernel} {rows}x{columns} {target}")
    print("untouched")


if __name__ == "__main__":
    main()
