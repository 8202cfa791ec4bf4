"""Layers done together on arrays and in scratch memory between pages that may not be touched. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import numpy as np

from convkit.algorithms import depthwise, implicit_gemm
from convkit.algorithms.support import bands
from convkit.codegen import pool
from tests.codegen.band_layers import Axis, Layers, beside, inverted
from tests.codegen.guarded import PAGE, Guarded

CHANNELS = (5, 21, 7), (16, 32, 16)
ROWS = Axis(3, 2, pads=(1, 1)), Axis(4, pads=(2, 0)), Axis(2, 1, 3, (0, 3))


class Scratch:
    """Scratch memory that ends where a forbidden page begins."""

    def __init__(self, memory: Guarded, less: int) -> None:
        self.memory, self.less = memory, less

    def take(self, size: int, parts: int) -> Any:
        """So many bytes."""
        size = -(-size // 64) * 64 - self.less
        start = self.memory.array((1,), "uint8", "start").ctypes.data
        self.at, self.bytes = start + self.memory.size - size, size
        return self


def main(reach_out: bool) -> None:
    depthwise.LEAST_PRODUCTS = implicit_gemm.LEAST_PRODUCTS = 0
    bands.MOST_TWICE, bands.STRIP_BYTES = 10.0, 1 << 13
    inputs, outputs, scratch = Guarded(40), Guarded(40), Guarded(80)
    for dtype, side, (narrow, wide, out), rows in product(("float32", "float64"), ("start", "end"), CHANNELS, ROWS):
        layers = Layers(inverted(wide, out, rows, Axis(3, pads=(0, 2))), 2, narrow, (15, 17), dtype)
        x = beside(layers.problems[0], inputs.array((2, 15, 17, narrow), dtype, side))
        x[...] = layers.x
        layers.x = x
        expected = layers.one_by_one()
        shape = (2, *expected.shape[3:], out)
        result = beside(layers.problems[-1], outputs.array(shape, dtype, side))
        pool._alone.scratch = Scratch(scratch, 2 * PAGE if reach_out else 0)
        layers.together(result)
        pool._alone.scratch = pool._Scratch()
        if not np.array_equal(result, expected):
            raise ValueError(f"{dtype} {side} {narrow} {rows}")
    print("untouched")


if __name__ == "__main__":
    main("reach-out" in sys.argv)
