"""Layers by Winograd's filtering on arrays that end, and begin, at forbidden pages. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

import convkit as ck
from convkit.algorithms import winograd
from convkit.planner.finishing import Operands
from convkit.planner.plan import plan_for
from convkit.planner.problem import Problem
from convkit.spec.epilogue import Epilogue
from convkit.spec.window import Window
from tests.codegen.guarded import Guarded

CHANNELS = (1, 5), (3, 17), (16, 16), (7, 1), (20, 33)
SIZES = (3, 3), (7, 9), (16, 18), (5, 35)


def main(reach_out: bool) -> None:
    winograd.LEAST_PRODUCTS = 0
    inputs, outputs, kernels, biases, adds = (Guarded(60) for _ in range(5))
    ck.set_num_threads(1)
    for dtype, side, layout, (c, o), size, outside in product(
        ("float32", "float64"), ("start", "end"), ("first", "last"), CHANNELS, SIZES, (0, 1)
    ):
        counts = tuple(n - 2 + 2 * outside for n in size)
        windows = tuple(Window(n, 3, count, -outside) for n, count in zip(size, counts, strict=True))
        problem = Problem(
            windows, in_channels=c, out_channels=o, input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype,
            epilogue=Epilogue(bias=True, add=True, activation="relu"),
        )  # fmt: skip
        x = inputs.array(problem.input_shape, dtype, side)
        w = kernels.array(problem.kernel_shape, dtype, side)
        out = outputs.array(problem.output_shape, dtype, side)
        bias, add = biases.array((1, o), dtype, side), adds.array(problem.output_shape, dtype, side)
        for seed, array in enumerate((x, w, bias, add)):
            array[...] = np.random.default_rng(seed).integers(0, 3, array.shape)
        if layout == "last":
            x = np.moveaxis(x.reshape(1, 1, *size, c), -1, 2)
            out, add = (np.moveaxis(array.reshape(1, 1, *counts, o), -1, 2) for array in (out, add))
        expected = np.empty(out.shape, dtype)
        plan = plan_for(problem, "direct")
        plan.run(plan.prepare(w), x, expected, Operands(bias, add))
        for name in ("winograd-2", "winograd-4"):
            plan, out[...] = plan_for(problem, name), -1
            ready = plan.prepare(w)
            if reach_out:
                x = np.lib.stride_tricks.as_strided(x, x.shape, (*x.strides[:-2], 1 << 17, x.strides[-1]))
            plan.run(ready, x, out, Operands(bias, add))
            if not np.abs(out - expected).max() <= 1e-4 * c:
                raise ValueError(f"{name} {dtype} {side} {layout} {c}->{o} {size}")
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
