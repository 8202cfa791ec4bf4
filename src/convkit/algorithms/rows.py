"""Rows: kernels of one row, along contiguous samples, with most vectors shifted in registers."""

from __future__ import annotations

import math

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support.pass_programs import alone_by_passes, run_passes
from convkit.algorithms.support.passes import Passes, can_be_compiled, kernels_of, scratch, seconds_of, stored_type
from convkit.codegen.library import Kernel
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import Machine
from convkit.planner.problem import Problem

LEAST_PRODUCTS = 1 << 12
"""Products of one sample below which neither loading the compiler nor its kernels would be paid back."""


class Rows:
    """``out[.., i] = sum_j v[.., i + j*dilation] * w[j]``: every kernel axis but the last has one element.

    Each output is formed by the same sequence of fused multiply-adds; see `convkit.codegen.row`.
    """

    name = "rows"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if problem.exact:
            return Reason("not-exact")
        if any(window.kernel > 1 for window in problem.windows[:-1]):
            return Reason("several-rows")
        if not problem.single:
            return Reason("several-kernels")
        products = problem.taps * problem.outputs
        if products < LEAST_PRODUCTS:
            return Reason("too-small", products=products, limit=LEAST_PRODUCTS)
        if problem.windows[-1].stride > 1:
            return Reason("strided")
        if not can_be_compiled(problem):
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        passes = Passes.along(problem)
        work, seconds = seconds_of(problem, passes, machine)
        moved = np.dtype(problem.input_dtype).itemsize * math.prod(problem.input_shape)
        moved += np.dtype(problem.compute_dtype).itemsize * math.prod(problem.output_shape)
        return Cost(work, moved, seconds, scratch(problem, passes) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def kernels(self, problem: Problem) -> tuple[Kernel, ...]:
        """Those of its passes."""
        return kernels_of(problem, Passes.along(problem))

    def describe(self, problem: Problem) -> str:
        """The loop nests."""
        return ", ".join(kernel.name for kernel in self.kernels(problem))

    def stores(self, problem: Problem) -> str:
        """What `run` writes."""
        return stored_type(problem)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        first = [np.ones(1) for _ in problem.windows[:-1]]
        return Passes.along(problem).weights(problem, [[*first, kernel.reshape(-1)]])

    def alone(self, problem: Problem, prepared: Array) -> Alone | None:
        """One sample, all else worked out before."""
        return alone_by_passes(problem, Passes.along(problem), prepared)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        run_passes(problem, Passes.along(problem), prepared, x, out)


registry.register(Rows())
