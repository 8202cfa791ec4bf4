"""Winograd's weight gradients of arrays that end, and begin, at forbidden pages. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

import convkit as ck
from convkit.algorithms.support import gradients
from convkit.planner.plan import plan_for
from convkit.planner.problem import Problem
from convkit.spec.window import Window
from tests.codegen.guarded import Guarded

CHANNELS = (1, 5), (3, 17), (16, 16), (7, 1), (20, 33)
SIZES = (3, 3), (7, 9), (16, 18), (5, 35)


def main(reach_out: bool) -> None:
    gradients.LEAST_PRODUCTS = 0
    inputs, outputs, upstreams = (Guarded(60) for _ in range(3))
    ck.set_num_threads(1)
    for dtype, side, layout, (c, o), size, outside in product(
        ("float32", "float64"), ("start", "end"), ("first", "last"), CHANNELS, SIZES, (0, 1)
    ):
        counts = tuple(n - 2 + 2 * outside for n in size)
        windows = tuple(Window(n, 3, count, -outside).kernel_adjoint() for n, count in zip(size, counts, strict=True))
        problem = Problem(
            windows, batch=c, out_channels=o, input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype,
            batch_of="channels",
        )  # fmt: skip
        x = inputs.array(problem.input_shape, dtype, side)
        g = upstreams.array(problem.kernel_shape, dtype, side)
        out = outputs.array(problem.output_shape, dtype, side)
        for seed, array in enumerate((x, g)):
            array[...] = np.random.default_rng(seed).integers(0, 3, array.shape)
        if layout == "last":
            x = np.moveaxis(x.reshape(1, 1, *size, c), -1, 0)
            g = np.moveaxis(g.reshape(1, 1, *counts, o), -1, 1)
        else:  # the order of a layer's weights, where results are stored at once
            out = np.moveaxis(out.reshape(1, o, c, 3, 3), 2, 0)
        expected = np.empty(out.shape, dtype)
        plan = plan_for(problem, "direct")
        plan.run(plan.prepare(g), x, expected)
        for name in ("winograd-gradient-2", "winograd-gradient-4"):
            plan, out[...] = plan_for(problem, name), -1
            ready = plan.prepare(g)
            if reach_out:
                x = np.lib.stride_tricks.as_strided(x, x.shape, (*x.strides[:-2], 1 << 17, x.strides[-1]))
            plan.run(ready, x, out)
            if not np.abs(out - expected).max() <= 1e-5 * (1 + np.abs(expected).max()):
                raise ValueError(f"{name} {dtype} {side} {layout} {c}->{o} {size}")
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
