"""Swapped: a kernel longer than the input takes its place, since a convolution does not care which is which."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason
from convkit.planner.machine import Machine
from convkit.planner.plan import Plan, plan_for
from convkit.planner.problem import Problem
from convkit.spec.window import Window


class Swapped:
    """``sum_j x[i+start+j] w[j] = sum_m u[i+K-N+start+m] y[m]``, where ``u[q] = w[K-1-q]`` and ``y[m] = x[N-1-m]``.

    Outside both there are zeros, so that every product of one is a product of the other.
    """

    name = "swapped"

    def applies(self, problem: Problem) -> Reason | None:
        if not problem.single or problem.batch > 1:
            return Reason("several-kernels")
        if any((w.stride, w.dilation, w.up, w.sides) != (1, 1, 1, ("zero", "zero")) for w in problem.windows):
            return Reason("not-plain")
        sizes, taps = math.prod(window.size for window in problem.windows), problem.taps
        if not 0 < sizes < taps:
            return Reason("kernel-is-smaller", taps=taps, samples=sizes)
        return None

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        other = _other(problem)
        cost = other.algorithm.cost(other.problem, machine)
        return Cost(
            cost.flops, cost.bytes, cost.seconds + 20 * machine.call, cost.workspace + _item(problem) * problem.taps
        )

    def bound(self, problem: Problem) -> ErrorBound:
        return _other(problem).error_bound

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        return _reversed(problem, kernel)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        other = _other(problem.derive(batch=1))
        for sample in range(problem.batch):  # each takes the place of a kernel
            one = x[sample : sample + 1].astype(problem.compute_dtype, copy=False)
            other.run(other.prepare(_reversed(problem, one)), prepared, out[sample : sample + 1])


@lru_cache(maxsize=256)
def _other(problem: Problem) -> Plan:
    """The plan with input and kernel in each other's place."""
    windows = tuple(
        Window(size=w.kernel, kernel=w.size, count=w.count, start=w.kernel - w.size + w.start) for w in problem.windows
    )
    return plan_for(
        problem.derive(
            windows=windows, input_dtype=problem.kernel_dtype, kernel_dtype=problem.compute_dtype, result_dtype="",
            structure="dense", rank=0, uniform=(),
        )
    )  # fmt: skip


def _reversed(problem: Problem, array: Array) -> Array:
    return array[(..., *(slice(None, None, -1),) * len(problem.windows))]


def _item(problem: Problem) -> int:
    return np.dtype(problem.compute_dtype).itemsize


registry.register(Swapped())
