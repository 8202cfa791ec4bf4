"""Run exact integer convolution on arrays between pages which may not be touched. Prints ``untouched``."""

from __future__ import annotations

from itertools import product

import numpy as np

import convkit as ck
from convkit.algorithms import compiled_integer
from tests.codegen.guarded import Guarded


def main() -> None:
    compiled_integer.LEAST_PRODUCTS = compiled_integer.LEAST_OF_A_ROW = 0
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
