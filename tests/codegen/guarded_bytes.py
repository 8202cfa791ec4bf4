"""Filter images of bytes that end, and begin, at pages which may not be touched. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

import convkit as ck
from convkit import codegen
from convkit.algorithms import byte_separable
from tests.codegen.guarded import Guarded

SIZES = ((20, 1), (41, 17), (9, 63), (45, 64), (44, 130), (8, 128), (50, 201), (70, 193))
KERNELS = ((3, 3), (5, 16), (2, 5), (1, 7))


def main(reach_out: bool) -> None:
    inputs, outputs = Guarded(64), Guarded(64)
    few = codegen.library.this_machine().registers < byte_separable.REGISTERS
    for side, method in product(("start", "end"), ("byte-box",) if few else ("byte-box", "byte-separable")):
        for size, kernel, mode in product(SIZES, KERNELS, ("same", "valid")):
            if mode == "valid" and any(n < m for n, m in zip(size, kernel)):
                continue
            k = np.ones(kernel, "float32")
            x = inputs.array(size, "uint8", side)
            x[...] = np.random.default_rng(1).integers(0, 3, size)
            expected = np.clip(ck.correlate(x.astype(float), k.astype(float), mode, method="direct"), 0, 255)
            out = outputs.array(expected.shape, "uint8", side)
            if reach_out:
                x = np.lib.stride_tricks.as_strided(x, (size[0] + inputs.size // x.strides[0], size[1]), x.strides)
                ck.correlate(x, k, mode, method=method, dtype="uint8")
            for boundary in ("zero", "reflect") if min(size) > 1 and mode == "same" else ("zero",):
                out[...] = 77
                ck.correlate(x, k, mode, method=method, dtype="uint8", boundary=boundary, out=out)
                if boundary == "zero" and not np.array_equal(out, expected):
                    raise ValueError(f"{method} {kernel} {size} {mode}")
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
