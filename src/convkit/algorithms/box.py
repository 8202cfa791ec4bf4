"""Boxes: kernels that are constant along an axis, by running sums that are formed by doubling."""

from __future__ import annotations

import math

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import one_kernel
from convkit.algorithms.support.pass_programs import alone_by_passes, run_passes
from convkit.algorithms.support.passes import Passes, can_be_compiled, kernels_of, scratch, seconds_of, stored_type
from convkit.codegen.boxes import additions
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import Machine
from convkit.planner.problem import Problem
from convkit.planner.structure import factors_of

LEAST = 6
"""Elements along an axis from which a running sum may take less than a multiply-add for each."""


class Box:
    """``out = w_0 along axis 0 of ... w_n along axis n of v``, where some ``w`` are constant.

    The sum of ``k`` neighbours is formed from sums of ``1, 2, 4, ...`` of them, as the binary digits of ``k`` say; see
    `convkit.codegen.boxes`. Its error grows with ``log(k)``, nothing drifts, and every output is formed in the same
    order wherever it stands. Axes along which the kernel varies are done element by element, as in ``separable``.
    """

    name = "box"

    def applies(self, problem: Problem) -> Reason | None:
        reason = one_kernel.why_not(problem)
        if reason is not None:
            return reason
        if not problem.uniform or (len(problem.windows) > 1 and problem.structure != "separable"):
            return Reason("not-uniform")
        if not _axes(problem):
            return Reason("short-boxes", limit=LEAST)
        if problem.outputs * problem.taps == 0:
            return Reason("nothing-to-do")
        if not can_be_compiled(problem):
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        passes = _passes(problem)
        work, seconds = seconds_of(problem, passes, machine)
        moved = np.dtype(problem.input_dtype).itemsize * math.prod(problem.input_shape)
        moved += np.dtype(problem.compute_dtype).itemsize * math.prod(problem.output_shape)
        return Cost(work, moved, seconds, scratch(problem, passes) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        axes = _axes(problem)
        terms = sum(
            additions(window.kernel) if axis in axes else window.kernel for axis, window in enumerate(problem.windows)
        )
        return summation_bound(problem, terms + 4 * len(problem.windows) + 8)

    def describe(self, problem: Problem) -> str:
        """The loop nests."""
        return ", ".join(kernel.name for kernel in kernels_of(problem, _passes(problem)))

    def stores(self, problem: Problem) -> str:
        """What `run` writes."""
        return stored_type(problem)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        return _passes(problem).weights(problem, factors_of(kernel[0, 0, 0]))

    def alone(self, problem: Problem, prepared: Array) -> Alone | None:
        """One sample, all else worked out before."""
        return alone_by_passes(problem, _passes(problem), prepared)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        run_passes(problem, _passes(problem), prepared, x, out)


def _axes(problem: Problem) -> tuple[int, ...]:
    """The axes along which sums run."""
    windows = problem.windows
    return tuple(axis for axis in problem.uniform if windows[axis].kernel >= LEAST and windows[axis].stride == 1)


def _passes(problem: Problem) -> Passes:
    return Passes.along(problem, 1, _axes(problem))


registry.register(Box())
