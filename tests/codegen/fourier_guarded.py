"""Transform blocks, and convolve through them, between pages that may not be touched. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

import convkit as ck
from convkit.codegen.fourier import Fourier, lanes_of
from tests.codegen.fourier_run import transform
from tests.codegen.guarded import Guarded


def main(reach_out: bool) -> None:
    real, imaginary, spectrum, table = Guarded(40), Guarded(40), Guarded(80), Guarded(80)
    for dtype, side in product(("float32", "float64"), ("start", "end")):
        unit = 4 * lanes_of(dtype)
        for lengths in ((unit,), (6 * unit,), (32 * unit,), (12, unit), (8, 3 * unit), (2, 3, 2 * unit)):
            f = Fourier.of(lengths, dtype)
            size = f.plane_bytes // f.item_bytes - (f.pitch - lengths[-1])  # what follows the last row is not used
            places = [memory.array((size,), dtype, side) for memory in (real, imaginary)]
            places += [spectrum.array((f.spectrum_size,), dtype, side), table.array(f.table.shape, dtype, side)]
            places[3][...] = f.table
            for task in ("spectrum", "convolve"):
                for place in places[:2]:
                    place[...] = 0
                places[0][0] = 1
                if reach_out:
                    places[1] = places[1][f.lanes :]
                transform(f, *places, task)
            if abs(places[0][0] - np.prod(lengths)) > 1e-3:
                raise ValueError(f"{dtype} {lengths}: {places[0][0]}")
    for dtype, side in product(("float32", "float64"), ("start", "end")):
        x, k = real.array((37, 131), dtype, side), np.ones((5, 4), dtype)
        out = imaginary.array((33, 128), dtype, side)
        x[...] = 1
        ck.convolve(x, k, "valid", method="overlap-save", out=out)
        if not np.allclose(out, 20, atol=1e-3):
            raise ValueError(f"{dtype} {side}")
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
