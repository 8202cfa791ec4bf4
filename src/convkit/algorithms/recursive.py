"""Recursive: smooth kernels, whose cost does not grow with their length, within an error that is asked for."""

from __future__ import annotations

from typing import Literal

from convkit import codegen, threads
from convkit.algorithms.support import one_kernel
from convkit.algorithms.support.passes import READABLE
from convkit.algorithms.support.recursion_program import alone_by_recursions, run_recursions
from convkit.algorithms.support.recursions import (
    LONGEST,
    error_of,
    kernels_of,
    read_in_place,
    seconds_of,
    stored_type,
    weights_of,
    workspace_of,
)
from convkit.codegen.recursive import Recursion
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason
from convkit.planner.machine import Machine
from convkit.planner.problem import Problem
from convkit.planner.structure import factors_of


class Recursive:
    """``out = w_0 along axis 0 of w_1 along axis 1 of v``, where each ``w`` is a sum of few damped oscillations.

    Every oscillation is summed over its window by a recursion: two sums before it, the sample that enters, the one
    that leaves (see `convkit.codegen.recursive`). A Gaussian takes four of them for an error of 1e-4, whatever its
    width. How far the sum of oscillations is from the kernel is computed and part of the bound; it is a bound by norms
    that says more than a few units of roundoff, so this way is taken only where ``accuracy`` is a number that it meets.
    """

    name = "recursive"

    def applies(self, problem: Problem) -> Reason | None:
        reason = one_kernel.why_not(problem)
        if reason is not None:
            return reason
        if len(problem.windows) > 2:
            return Reason("more-than-two-axes")
        if any(window.stride > 1 for window in problem.windows):
            return Reason("strided")
        if any(window.reach > LONGEST for window in problem.windows):
            return Reason("long-recursion", limit=LONGEST)
        if not isinstance(problem.accuracy, float):
            return Reason("no-tolerance")
        if not problem.smooth:
            return Reason("not-smooth")
        if problem.outputs * problem.taps == 0 or not all(window.size for window in problem.windows):
            return Reason("nothing-to-do")
        if problem.compute_dtype not in ("float32", "float64") or problem.input_dtype not in READABLE:
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        why_not = codegen.why_not()
        if why_not is not None:
            return Reason(why_not)
        return None if kernels_of(problem) else Reason("few-registers")

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        work, moved, seconds = seconds_of(problem, machine)
        return Cost(work, moved, seconds, workspace_of(problem) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return ErrorBound("norm", error_of(problem))

    def kernels(self, problem: Problem) -> tuple[Recursion, ...]:
        """The compiled kernels of the axes."""
        return tuple(dict.fromkeys(kernels_of(problem, read_in_place(problem))))

    def describe(self, problem: Problem) -> str:
        """The loop nests."""
        return ", ".join(kernel.name for kernel in self.kernels(problem))

    def stores(self, problem: Problem) -> str:
        """What `run` writes."""
        return stored_type(problem)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        return weights_of(problem, factors_of(kernel[0, 0, 0])[0])

    def alone(self, problem: Problem, prepared: Array) -> Alone | None:
        """One sample, all else worked out before; nothing where some output is not finite."""
        return alone_by_recursions(problem, prepared)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> Literal["finite"] | None:
        return run_recursions(problem, prepared, x, out)


registry.register(Recursive())
