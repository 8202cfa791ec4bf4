"""Layers on half-size numbers that end, and begin, at pages which may not be touched. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np

import convkit as ck
from convkit.algorithms import depthwise, implicit_gemm, winograd
from convkit.algorithms.support import gradients
from tests.codegen.guarded import Guarded

LAYERS: tuple[tuple[str, int, int, tuple[int, ...], dict[str, Any]], ...] = (
    ("winograd-4", 17, 18, (3, 3), {"padding": 1}),
    ("winograd-2", 3, 33, (3, 3), {"padding": 1}),
    ("implicit-gemm", 20, 7, (3, 2), {"stride": 2}),
    ("implicit-gemm", 33, 40, (1, 1), {}),
    ("implicit-gemm", 3, 17, (5, 5), {"stride": 2, "padding": 2}),
    ("depthwise", 19, 19, (3, 3), {"padding": 1, "groups": 19}),
    ("depthwise", 33, 66, (3, 5), {"stride": 2, "groups": 33}),
)
KINDS = {"float16": np.dtype("float16"), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def laid(memory: Guarded, shape: tuple[int, ...], dtype: str, side: str, layout: str) -> np.ndarray:
    """An array in guarded memory, with its channels side by side or in planes."""
    if layout == "first":
        return memory.array(shape, "bfloat16" if dtype == "bfloat16" else dtype, side).view(KINDS.get(dtype, dtype))
    batch, channels, *space = shape
    array = memory.array((batch, *space, channels), "bfloat16" if dtype == "bfloat16" else dtype, side)
    return np.moveaxis(array.view(KINDS.get(dtype, dtype)), -1, 1)


def main(reach_out: bool) -> None:
    for module in (implicit_gemm, gradients, winograd, depthwise):
        module.LEAST_PRODUCTS = 0  # type: ignore[attr-defined]
    memories = [Guarded(60) for _ in range(5)]
    ck.set_num_threads(1)
    for dtype, side, layout, (method, channels, outputs, kernel, options) in product(
        KINDS, ("start", "end"), ("first", "last"), LAYERS
    ):
        source = np.random.default_rng(len(method))
        groups = options.get("groups", 1)

        def filled(number: int, shape: tuple[int, ...], kind: str) -> np.ndarray:
            array = laid(memories[number], shape, kind, side, layout)  # noqa: B023
            array[...] = source.integers(-3, 4, shape)  # noqa: B023
            return array

        x = filled(0, (1, channels, 19, 21), dtype)
        w = source.integers(-2, 3, (outputs, channels // groups, *kernel)).astype(KINDS[dtype])
        plain = ck.conv(x.copy(), w, method=method, **options)
        out, bias = filled(1, plain.shape, dtype), np.arange(outputs, dtype="float32")
        # A depthwise layer leaves an addition to others.
        for kind in (dtype, "float32") if method != "depthwise" else ("",):
            add = filled(2, plain.shape, kind) if kind else None
            expected = ck.conv(x.copy(), w, bias, add=None if add is None else add.copy(), method=method, **options)
            if reach_out:
                x = np.lib.stride_tricks.as_strided(x, x.shape, (*x.strides[:-2], 1 << 14, x.strides[-1]))
            ck.conv(x, w, bias, add=add, out=out, method=method, **options)
            same(out, expected, method)
        g, to = filled(3, plain.shape, dtype), filled(4, x.shape, dtype)
        expected = ck.conv_input_gradient(g.copy(), w, x.shape, **options)
        same(ck.conv_input_gradient(g, w, x.shape, out=to, **options), expected, "input")
        expected = ck.conv_weight_gradient(g.copy(), x.copy(), w.shape, **options)
        same(ck.conv_weight_gradient(g, x, w.shape, **options), expected, "weights")
    print("untouched")


def same(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Raise unless two arrays are equal, bit by bit."""
    if not np.array_equal(found.view("uint16"), expected.view("uint16")):
        raise ValueError(what)


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
