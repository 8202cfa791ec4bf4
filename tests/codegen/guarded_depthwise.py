"""Depthwise layers and pooling on arrays between pages which may not be touched. Prints ``untouched``."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

import convkit as ck
from convkit.algorithms import channelwise_gradient, depthwise
from convkit.algorithms.support import gradients
from convkit.planner import pooling
from convkit.planner.plan import Plan, plan_for
from convkit.planner.problem import Problem
from convkit.spec.window import Window
from tests.codegen.guarded import Guarded

GROUPS = 3, 16, 21
SHAPES = ((7, 7), (3, 3), 1, 1), ((9, 20), (3, 2), 1, 1), ((12, 17), (3, 3), 1, 2), ((5, 31), (5, 5), 2, 1)


def main(reach_out: bool) -> None:
    depthwise.LEAST_PRODUCTS = gradients.LEAST_PRODUCTS = 0
    depthwise.LEAST_GROUPS = channelwise_gradient.LEAST_GROUPS = 1
    inputs, outputs, kernels = Guarded(40), Guarded(40), Guarded(40)
    ck.set_num_threads(1)
    for dtype, side, layout, groups, (size, kernel, pad, stride) in product(
        ("float32", "float64"), ("start", "end"), ("first", "last"), GROUPS, SHAPES
    ):
        counts = [(n + 2 * pad - k) // stride + 1 for n, k in zip(size, kernel)]
        windows = tuple(Window(n, k, count, -pad, stride) for n, k, count in zip(size, kernel, counts))
        forward = Problem(windows, groups=groups, input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype)
        back = forward.derive(windows=tuple(window.input_adjoint() for window in windows))
        gradient = forward.derive(windows=tuple(window.kernel_adjoint() for window in windows), batch_of="channels")
        for problem, name, other in (
            (forward, "depthwise", "direct"), (back, "depthwise", "polyphase" if stride > 1 else "direct"),
            (gradient, "channelwise-gradient", "direct"),
        ):  # fmt: skip
            x = inputs.array(problem.input_shape, dtype, side)
            w = kernels.array(problem.kernel_shape, dtype, side)
            out = outputs.array(problem.output_shape, dtype, side)
            x[...] = np.random.default_rng(1).integers(0, 3, x.shape)
            w[...] = np.random.default_rng(2).integers(0, 3, w.shape)
            if layout == "last":
                x = np.moveaxis(x.reshape(1, 1, *x.shape[3:], groups), -1, 1)
                if name == "depthwise":
                    out = np.moveaxis(out.reshape(1, 1, *out.shape[3:], groups), -1, 1)
                else:
                    w = np.moveaxis(w.reshape(1, 1, *w.shape[3:], groups), -1, 0)
            expected = np.empty(out.shape, dtype)
            for method, target in ((name, out), (other, expected)):
                plan: Plan = plan_for(problem, method)
                ready = plan.prepare(w)
                if reach_out:
                    x = np.lib.stride_tricks.as_strided(x, x.shape, (*x.strides[:-2], 1 << 14, x.strides[-1]))
                plan.run(ready, x, target)
            if not np.array_equal(out, expected):
                raise ValueError(f"{name} {dtype} {side} {layout} {groups} {size} {kernel}")
        if groups % 3 == 0 and layout == "last":
            three = forward.derive(groups=groups // 3, in_channels=3, out_channels=3)
            x, out = (
                a.array((1, *space, groups // 3, 3), dtype, side) for a, space in ((inputs, size), (outputs, counts))
            )
            w = kernels.array(three.kernel_shape, dtype, side)
            x[...], w[...] = 1, 2
            plan = plan_for(three, "depthwise")
            plan.run(plan.prepare(w), np.moveaxis(x, (-2, -1), (1, 2)), np.moveaxis(out, (-2, -1), (1, 2)))
        x = inputs.array((1, groups, *size), dtype, side)
        x[...] = np.random.default_rng(1).integers(0, 9, x.shape)
        if layout == "last":
            x = np.moveaxis(x.reshape(1, *size, groups), -1, 1)
        for kind in ("max", "mean"):
            found = pooling.pool(kind, x, windows, tuple(size))  # type: ignore[arg-type]
            if found is None or not np.isfinite(found).all():
                raise ValueError(f"{kind} {dtype} {side} {layout} {groups} {size} {kernel}")
            pooling.largest_gradient(x, found, windows)
    print("untouched")


if __name__ == "__main__":
    main(reach_out="reach-out" in sys.argv)
