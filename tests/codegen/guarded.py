"""Run kernels on arrays that end, and begin, at pages which may not be touched. Prints ``untouched``.

``python -m tests.codegen.guarded direct|pack|unpack|look|parts [reach-out]``; the last word lets them touch one number
too many.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from itertools import product

import numpy as np

from convkit.codegen import look, pack, parts, unpack
from convkit.codegen.numbers import STORED
from convkit.codegen.target import Target
from tests.codegen.kernel_calls import call, convolve, numpy_type, runnable

PAGE = mmap.PAGESIZE
SIZES = (1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130)
SIDES = ("start", "end")
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
        held = numpy_type(dtype)
        size = int(np.prod(shape)) * held.itemsize
        at = PAGE if side == "start" else PAGE + self.size - size
        return np.frombuffer(self.memory, held, int(np.prod(shape)), at).reshape(shape)


INPUTS, OUTPUTS = Guarded(8), Guarded(8)


def check_direct(machine: Target, beyond: int) -> None:
    for dtype, side, kernel in product(("float32", "float64"), SIDES, ((1, 5), (3, 3), (9, 2))):
        w = np.ones(kernel, dtype)
        for rows, columns, results in product((1, 4, 5, 6), SIZES, ("cached", "streamed")):
            x = INPUTS.array((rows + kernel[0] - 1, columns + kernel[1] - 1), dtype, side)
            out = OUTPUTS.array((rows, columns), dtype, side)
            x[...], out[...] = 1, 0
            if results == "streamed" and out.strides[0] % 64:
                continue
            convolve(x[beyond:], w, out, machine, results)
            assert (out == w.size).all(), (dtype, side, kernel, rows, columns)


def check_pack(machine: Target, beyond: int) -> None:
    table, fill = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for source, target in product(STORED, ("float32", "float64")):
        for apart, side, columns in product((0, 1, -1, 2), SIDES, SIZES):
            step = {0: 3, 1: 1, -1: -1, 2: 2}[apart]
            x = INPUTS.array((abs(step) * (columns - 1) + 1,), source, side)
            to = OUTPUTS.array((columns,), target, side)
            x[...], to[...] = np.arange(len(x)) % 2, 9
            wanted = x[::step].astype(target) if source != "bfloat16" else np.zeros(columns)
            if source == "bfloat16":
                x[...] = 0
            first = (len(x) - 1) * x.itemsize if step < 0 else 0
            call(
                pack.Pack(source, target, apart), pack.ARGUMENTS, machine, to=to, x=x, rows_at=table, left_at=table,
                right_at=table, fill=fill, planes=1, to_plane=0, x_plane=0, rows=1, to_row=0, x_step=step * x.itemsize,
                left=0, begin=first, middle=columns + beyond * 8000, right=0,
            )  # fmt: skip
            assert np.array_equal(to, wanted), (source, target, apart, side, columns)


def check_unpack(machine: Target, beyond: int) -> None:
    for source, target in product(("float32", "float64"), STORED):
        if (source, target) == ("float64", "bfloat16"):
            continue
        for layout, side, columns in product(("contiguous", "strided", "complex", "strided-complex"), SIDES, SIZES):
            width, apart = 1 + layout.endswith("complex"), 3 if layout.startswith("strided") else 1
            sums = INPUTS.array((columns,), source, side)
            out = OUTPUTS.array((columns * width * apart - (apart - 1) * width,), target, side)
            sums[...], out[...] = 1, 0
            call(
                unpack.Unpack(source, target, layout), unpack.ARGUMENTS, machine, out=out, sums=sums, imaginary=sums,
                planes=1, out_plane=0, sums_plane=0, rows=1, out_row=0, sums_row=0, columns=columns + beyond * 8000,
                out_step=apart * width * out.itemsize,
            )  # fmt: skip
            wanted = 0x3F80 if target == "bfloat16" else 1
            assert (out.reshape(-1, width)[::apart] == wanted).all(), (source, target, layout, side, columns)


def check_look(machine: Target, beyond: int) -> None:
    for dtype, side, count in product(("float32", "float64"), SIDES, SIZES):
        x, status = INPUTS.array((count,), dtype, side), np.zeros(1, np.int64)
        x[...] = 1
        call(look.Look(dtype), look.ARGUMENTS, machine, x=x, status=status, numbers=count + beyond * 8000)
        assert not status[0]


def check_parts(machine: Target, beyond: int) -> None:
    for dtype, side, count in product(("float32", "float64"), SIDES, SIZES):
        x, out = INPUTS.array((3, count), dtype, side), OUTPUTS.array((count,), dtype, side)
        x[...], out[...] = 1, 0
        call(
            parts.Parts(dtype), parts.ARGUMENTS, machine, out=out, x=x, numbers=count + beyond * 8000, parts=3,
            x_part=count * x.itemsize,
        )  # fmt: skip
        assert (out == 3).all()


CHECKS = {
    "direct": check_direct, "pack": check_pack, "unpack": check_unpack, "look": check_look, "parts": check_parts,
}  # fmt: skip

if __name__ == "__main__":
    check = CHECKS[sys.argv[1]]
    for each in runnable():
        check(each, int("reach-out" in sys.argv))
    print("untouched")
