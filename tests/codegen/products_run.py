"""Runs the kernel that sums products of spectra over channels, on arrays in its order."""

from __future__ import annotations

import numpy as np

from convkit.algorithms.support.register_tiles import shared
from convkit.codegen import fourier_products, pool
from convkit.codegen.fourier_products import Products
from convkit.codegen.library import address_of
from convkit.codegen.program import join
from convkit.codegen.step import KERNEL, OUT, TABLES, X

SCALE = TABLES + 1
"""The first base that is free for others."""


def summed(
    products: Products, sums: np.ndarray, x: np.ndarray, w: np.ndarray, scale: np.ndarray, outputs: int
) -> None:  # fmt: skip
    """``sums`` (vectors, outputs, tiles, 2, lanes), ``x`` (vectors, depth, tiles, 2, lanes), ``w`` (vectors, bytes)."""
    vectors, depth, tiles = x.shape[:3]
    (at_once, panels), (_, last_panels) = shared(outputs, products.outputs)
    (together, boxes), (_, last_boxes) = shared(tiles, products.tiles)
    assert (at_once, together) == (products.outputs, products.tiles)
    step = fourier_products.ARGUMENTS.steps(
        address_of(products), 1, sums=(OUT, 0), x=(X, 0), w=(KERNEL, 0), scale=(SCALE, 0), vectors=vectors, depth=depth,
        panels=panels, last_panels=last_panels, boxes=boxes, last_boxes=last_boxes, row=x.strides[1],
        sums_vector=sums.strides[0], x_vector=x.strides[0], w_vector=w.strides[0],
    )  # fmt: skip
    places = [array.ctypes.data for array in (sums, x, w, scale)]
    pool.run(join([[step]], np.zeros(1, np.int64), 64), places)


def ordered(w: np.ndarray, products: Products) -> np.ndarray:
    """Weights (vectors, outputs, depth, 2, lanes), panel by panel, there by channel and output."""
    parts, begin = [], 0
    for size, count in shared(w.shape[1], products.outputs):
        for _ in range(count):
            panel = w[:, begin : begin + size].transpose(0, 2, 1, 3, 4)
            parts.append(panel.reshape(len(w), -1))
            begin += size
    return np.ascontiguousarray(np.concatenate(parts, axis=1))
