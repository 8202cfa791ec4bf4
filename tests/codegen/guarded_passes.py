"""Filter arrays that end, and begin, at pages which may not be touched, by passes. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

import convkit as ck
from convkit.algorithms import box, rows
from convkit.algorithms.support import passes
from tests.codegen.guarded import Guarded

KERNELS = {
    "separable": [(3, 3), (5, 16), (9, 31), (2, 40)],
    "box": [(6, 6), (13, 31), (7, 40)],
    "sliding-box": [(6, 6), (13, 31), (7, 40)],
    "rows": [(1, 3), (1, 16), (1, 33)],
}


def main(reach_out: bool) -> None:
    box.LEAST, rows.LEAST_PRODUCTS, passes.SMALL_IMAGE = 2, 0, 0
    inputs, outputs = Guarded(64), Guarded(64)
    types = ("float32", "float32"), ("float64", "float64"), ("uint8", "uint8"), ("int16", "float32")
    for (source, stored), side, method in product(types, ("start", "end"), KERNELS):
        if method == "sliding-box" and source != "float32":
            continue
        for size, kernel in product(((20, 1), (41, 17), (45, 64), (44, 130), (50, 201)), KERNELS[method]):
            k = np.ones(kernel, "float64" if source == "float64" else "float32")
            for mode in ("same", "valid"):
                if mode == "valid" and any(n < m for n, m in zip(size, kernel)):
                    continue
                x = inputs.array(size, source, side)
                x[...] = np.random.default_rng(1).integers(0, 2, size)
                expected = ck.correlate(x.astype(float), k.astype(float), mode, method="direct")
                out = outputs.array(expected.shape, stored, side)
                if reach_out:
                    x = np.lib.stride_tricks.as_strided(x, (size[0] + inputs.size // x.strides[0], size[1]), x.strides)
                    ck.correlate(x, k, mode, method=method, dtype=stored)
                out[...] = 0
                ck.correlate(x, k, mode, method=method, dtype=stored, out=out)
                if not np.array_equal(out, np.clip(expected, 0, 255) if stored == "uint8" else expected):
                    raise ValueError(f"{source} {method} {kernel} {size} {mode}")
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
