"""Dot: short rows, one inner product an output, by NumPy's own loop; it has the least overhead on tiny problems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convkit.algorithms.support import inner_products
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import Machine, width
from convkit.planner.problem import Problem

UNROLLED, EACH = 11, 1e-8
"""Elements up to which NumPy's loop runs over all outputs at once; beyond, each is a call that takes so many seconds
more."""


class Dot:
    """``out[i] = dot(v[i+start : i+start+K], w)``, a row at a time."""

    name = "dot"

    def applies(self, problem: Problem) -> Reason | None:
        reason = inner_products.why_not(problem)
        return Reason("not-exact") if reason is None and problem.exact else reason

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        work = float(problem.multiply_adds)
        single = problem.taps > UNROLLED or problem.compute_dtype.startswith("c")
        calls = 20 if problem.compute_dtype != problem.input_dtype else 9
        products = work * width(problem.compute_dtype) / machine.elementwise
        seconds = calls * problem.batch * machine.call + (0.35 if single else 0.7) * products
        if single:
            seconds += EACH * problem.batch * problem.outputs
        size = np.dtype(problem.compute_dtype).itemsize
        return Cost(
            2 * work,
            size * problem.batch * 2 * problem.outputs,
            seconds,
            size * (problem.outputs + problem.taps),
        )

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        # NumPy's convolve flips its kernel back into the order in which ours is laid down.
        return np.ascontiguousarray(kernel[0, 0, 0, ::-1], problem.compute_dtype)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        row_sum = inner_products.row_sum(problem)
        for b in range(problem.batch):
            out[b, 0, 0] = row_sum(x[b, 0, 0].astype(out.dtype, copy=False), prepared)

    def quick(self, problem: Problem, order: str) -> Callable[[Array, Array, Array | None], Array | None]:
        """The arithmetic of one row alone."""
        row_sum = inner_products.row_sum(problem)
        if order == "convolution":
            return lambda row, kernel, out: None if out is not None else row_sum(row, kernel)
        return lambda row, kernel, out: None if out is not None else row_sum(row, kernel[::-1])

    def alone(self, problem: Problem, prepared: Array) -> Alone:
        """The same with a kernel made ready."""
        row_sum = inner_products.row_sum(problem)
        return lambda row, out: None if out is not None else row_sum(row, prepared)


registry.register(Dot())
