"""Run kernels on arrays that end, and begin, at pages which may not be touched. Prints ``untouched``."""

from __future__ import annotations

import ctypes
import mmap
import sys
from itertools import product

import numpy as np

from convkit.codegen import Direct

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


def main(reach_out: bool) -> None:
    inputs, outputs, kernels = Guarded(8), Guarded(8), Guarded(8)
    for dtype, side, kernel in product(("float32", "float64"), ("start", "end"), ((1, 5), (3, 3), (9, 2))):
        w = kernels.array((1, *kernel), dtype, side)
        w[...] = 1
        direct = Direct.prepare(w, dtype)
        for rows, columns in product((1, 4, 5, 6), (1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130)):
            x = inputs.array((1, 1, rows + kernel[0] - 1, columns + kernel[1] - 1), dtype, side)
            out = outputs.array((1, 1, rows, columns), dtype, side)
            x[...], out[...] = 1, 0
            direct.run(x[:, :, 1:] if reach_out else x, out, (1, 1))
            if not (out == w.size).all():
                raise ValueError(f"{dtype} {kernel} {rows}x{columns}")
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
