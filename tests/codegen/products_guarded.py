"""Sum products of spectra between pages that may not be touched. Prints ``untouched``; with ``reach-out`` it faults."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

from convkit.algorithms.support.register_tiles import largest
from convkit.codegen.fourier import Fourier, lanes_of
from convkit.codegen.fourier_products import Products
from convkit.codegen.library import this_machine
from tests.codegen.fourier_run import transform
from tests.codegen.guarded import Guarded
from tests.codegen.products_run import summed


def main(reach_out: bool) -> None:
    sums, x, w, scale = Guarded(80), Guarded(80), Guarded(80), Guarded(1)
    most = 4 if this_machine().registers >= 32 else 2
    for dtype, side in product(("float32", "float64"), ("start", "end")):
        lanes = lanes_of(dtype)
        one = scale.array((1,), dtype, side)
        one[0] = 1
        for outputs, tiles, depth, vectors in product((1, 2, 3), (1, 2, 5), (1, 4), (1, 3)):
            kernel = Products(dtype, largest(outputs, 2), largest(tiles, most))
            places = [
                sums.array((vectors, outputs, tiles, 2, lanes), dtype, side),
                x.array((vectors, depth, tiles, 2, lanes), dtype, side),
                w.array((vectors, outputs * depth * 2 * lanes), dtype, side),
            ]
            for place in places[1:]:
                place[...] = 1
            if reach_out:
                places[0] = places[0][:, :, :, 1:]
            summed(kernel, *places, one, outputs)
            if not np.allclose(places[0][..., 0, :], 2 * depth):
                raise ValueError(f"{dtype} {outputs} {tiles} {depth}")
        f = Fourier.of((6, 4 * lanes), dtype, "i")
        planes = [memory.array((f.plane_bytes // f.item_bytes - f.lanes,), dtype, side) for memory in (sums, x)]
        spectrum = w.array((f.spectrum_size,), dtype, side)
        table = Guarded(8).array(f.table.shape, dtype, side)
        table[...] = f.table
        planes[0][...], planes[1][...] = 0, 0
        planes[0][0] = 1
        for task in ("spectrum", "inverse"):
            transform(f, *planes, spectrum, table, task)
        if abs(planes[0][0] - np.prod(f.lengths)) > 1e-3:
            raise ValueError(f"{dtype}: {planes[0][0]}")
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
