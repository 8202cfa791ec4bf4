"""Layers by `col2im` on arrays that end, and begin, at pages which may not be touched. Prints ``untouched``."""

from __future__ import annotations

from itertools import product

import numpy as np

import convkit as ck
from convkit.algorithms import col2im
from convkit.planner.plan import plan_for
from convkit.planner.problem import Problem
from convkit.spec.window import Window
from tests.codegen.guarded import Guarded

SHAPES = ((7, 7), (3, 3), 1, 1), ((9, 20), (3, 2), 0, 2), ((12, 33), (5, 4), 2, 4), ((6, 16), (3, 3), 1, 1)


def main() -> None:
    col2im.LEAST_PRODUCTS = 0
    inputs, outputs, kernels = (Guarded(40) for _ in range(3))
    ck.set_num_threads(1)
    for dtype, side, layout, (c, o), (size, kernel, pad, up) in product(
        ("float32", "float64"), ("start", "end"), ("first", "last"), ((5, 1), (16, 3)), SHAPES
    ):
        counts = [(n - 1) * up + k - 2 * pad for n, k in zip(size, kernel)]
        windows = tuple(
            Window(n, k, count, pad - k + 1, 1, 1, up) for n, k, count in zip(size, kernel, counts)
        )  # fmt: skip
        problem = Problem(
            windows, in_channels=c, out_channels=o, input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype
        )
        x, w = inputs.array(problem.input_shape, dtype, side), kernels.array(problem.kernel_shape, dtype, side)
        out = outputs.array(problem.output_shape, dtype, side)
        x[...] = np.random.default_rng(1).integers(0, 3, x.shape)
        w[...] = np.random.default_rng(2).integers(0, 3, w.shape)
        if layout == "last":
            x = np.moveaxis(x.reshape(1, 1, *size, c), -1, 2)
            out = np.moveaxis(out.reshape(1, 1, *counts, o), -1, 2)
        expected = np.empty(out.shape, dtype)
        for method, target in (("col2im", out), ("polyphase" if up > 1 else "direct", expected)):
            plan = plan_for(problem, method)
            plan.run(plan.prepare(w), x, target)
        if not np.array_equal(out, expected):
            raise ValueError(f"{dtype} {side} {layout} {c}->{o} {size} {kernel}")
    print("untouched")


if __name__ == "__main__":
    main()
