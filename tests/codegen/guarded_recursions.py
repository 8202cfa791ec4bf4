"""Filter arrays that end, and begin, at pages which may not be touched, by recursions. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

import convkit as ck
from tests.codegen.guarded import Guarded

SIZES = ((20, 1), (41, 17), (45, 64), (100, 130), (50, 201), (999,), (5000,))


def kernel_of(rank: int) -> np.ndarray:
    """A bell down the columns, something that falls along the rows."""
    bell, fall = np.exp(-(np.arange(-9, 10) ** 2) / 18), np.exp(-np.arange(12) / 4)
    return fall if rank == 1 else np.outer(bell, fall)


def main(reach_out: bool) -> None:
    inputs, outputs = Guarded(64), Guarded(64)
    types = ("float32", "float32"), ("float64", "float64"), ("uint8", "uint8"), ("int16", "float32")
    for (source, stored), side, size in product(types, ("start", "end"), SIZES):
        k = kernel_of(len(size)).astype("float64" if source == "float64" else "float32")
        for mode, boundary in product(("same", "valid"), ("zero", "reflect")):
            if mode == "valid" and any(n < m for n, m in zip(size, k.shape)):
                continue
            options = {"method": "recursive", "accuracy": 1e-3, "dtype": stored, "boundary": boundary}
            if stored == "uint8":
                options["overflow"] = "saturate"
            x = inputs.array(size, source, side)
            x[...] = np.random.default_rng(1).integers(0, 2, size)
            expected = ck.correlate(x.astype(float), k.astype(float), mode, method="direct", boundary=boundary)
            out = outputs.array(expected.shape, stored, side)
            out[...] = 0
            if reach_out:
                step = x.strides[0]
                x = np.lib.stride_tricks.as_strided(x, (size[0] + inputs.size // step, *size[1:]), x.strides)
                ck.correlate(x, k, mode, **options)
            ck.correlate(x, k, mode, out=out, **options)
            if np.abs(out - expected).max() > (1 if stored == "uint8" else 0.1):
                raise ValueError(f"{source} {size} {mode} {boundary}")
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
