"""Layers on arrays that end, and begin, at pages which may not be touched. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

import convkit as ck
from convkit.algorithms import implicit_gemm
from convkit.algorithms.support import gradients
from convkit.planner.finishing import Operands
from convkit.planner.plan import Plan, plan_for
from convkit.planner.problem import Problem
from convkit.spec.epilogue import Epilogue
from convkit.spec.window import Window
from tests.codegen.guarded import Guarded

CHANNELS = (1, 5), (3, 17), (16, 16), (7, 1), (20, 33)
SHAPES = ((7, 7), (1, 1), 0, 1), ((9, 20), (1, 1), 0, 1), ((9, 20), (3, 2), 1, 1), ((12, 17), (3, 3), 1, 2)


def main(reach_out: bool) -> None:
    implicit_gemm.LEAST_PRODUCTS = gradients.LEAST_PRODUCTS = 0
    inputs, outputs, kernels, addends, biases = (Guarded(40) for _ in range(5))
    ck.set_num_threads(1)
    for dtype, side, layout, (c, o), (size, kernel, pad, stride) in product(
        ("float32", "float64"), ("start", "end"), ("first", "last"), CHANNELS, SHAPES
    ):
        counts = [(n + 2 * pad - k) // stride + 1 for n, k in zip(size, kernel)]
        windows = tuple(Window(n, k, count, -pad, stride) for n, k, count in zip(size, kernel, counts))
        forward = Problem(
            windows, in_channels=c, out_channels=o, input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype
        )
        gradient = forward.derive(
            windows=tuple(window.kernel_adjoint() for window in windows), batch=c, in_channels=1, batch_of="channels"
        )
        for problem, name in ((forward, "implicit-gemm"), (gradient, "kernel-gradient")):
            x = inputs.array(problem.input_shape, dtype, side)
            w = kernels.array(problem.kernel_shape, dtype, side)
            out = outputs.array(problem.output_shape, dtype, side)
            x[...] = np.random.default_rng(1).integers(0, 3, x.shape)
            w[...] = np.random.default_rng(2).integers(0, 3, w.shape)
            add, bias = addends.array(out.shape, dtype, side), biases.array((1, o), dtype, side)
            if layout == "last" and name == "implicit-gemm":
                x = np.moveaxis(x.reshape(1, 1, *size, c), -1, 2)
                out = np.moveaxis(out.reshape(1, 1, *counts, o), -1, 2)
                add = np.moveaxis(add.reshape(1, 1, *counts, o), -1, 2)
                w = np.moveaxis(w.reshape(1, c, *kernel, o), -1, 1)  # for one call, they may be read so
                problem = problem.derive(kernel_is="fresh")
            elif layout == "last":  # channels of the samples, of the upstream gradient and of the weights
                x = np.moveaxis(x.reshape(1, 1, *size, c), -1, 0)
                w = np.moveaxis(w.reshape(1, 1, *counts, o), -1, 1)
                out = np.moveaxis(out.reshape(1, o, *kernel, c), -1, 0)
            ended = problem
            if name == "implicit-gemm":
                ended = problem.derive(epilogue=Epilogue(True, True, "relu"))
                add[...], bias[...] = 1, 2
            expected = np.empty(out.shape, dtype)
            for method, target in ((name, out), ("direct", expected)):
                plan: Plan = plan_for(ended, method)
                ready = plan.prepare(w)
                if reach_out:
                    x = np.lib.stride_tricks.as_strided(x, x.shape, (*x.strides[:-2], 1 << 14, x.strides[-1]))
                plan.run(ready, x, target, Operands(bias, add))
            if not np.array_equal(out, expected):
                raise ValueError(f"{name} {dtype} {side} {c}->{o} {size} {kernel}")
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
