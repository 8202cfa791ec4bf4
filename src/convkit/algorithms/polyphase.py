"""Polyphase: an upsampled input (transposed convolution, strided gradients) without its zeros.

Outputs whose windows meet the same phase of samples form an ordinary problem on every ``up``-th kernel element. Each
phase is planned by itself, so no zero is stored and none is multiplied.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from convkit.algorithms.support.phases import phases
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import Machine
from convkit.planner.plan import Plan, Prepared, plan_for
from convkit.planner.problem import Problem


class Polyphase:
    """``out[r::P]`` from ``w[j0::Q]``: one ordinary convolution for every residue ``r``."""

    name = "polyphase"

    def applies(self, problem: Problem) -> Reason | None:
        return None if problem.upsampled else Reason("not-upsampled")

    def _parts(self, problem: Problem) -> list[tuple[tuple[slice, ...], tuple[slice, ...], Plan | None]]:
        parts: list[tuple[tuple[slice, ...], tuple[slice, ...], Plan | None]] = []
        for choice in product(*(phases(window) for window in problem.windows)):
            targets, elements = tuple(part[0] for part in choice), tuple(part[1] for part in choice)
            windows = tuple(part[2] for part in choice if part[2] is not None)
            plan = plan_for(problem.derive(windows=windows)) if len(windows) == len(choice) else None
            parts.append((targets, elements, plan))
        return parts

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        costs = [plan.algorithm.cost(plan.problem, machine) for _, _, plan in self._parts(problem) if plan is not None]
        return Cost(
            sum(cost.flops for cost in costs),
            sum(cost.bytes for cost in costs),
            sum(cost.seconds for cost in costs),
            max((cost.workspace for cost in costs), default=0),
        )

    def bound(self, problem: Problem) -> ErrorBound:
        bounds = [plan.error_bound for _, _, plan in self._parts(problem) if plan is not None]
        return max(
            bounds,
            key=lambda bound: (bound.kind == "norm", bound.factor),
            default=summation_bound(problem, 1),
        )

    def prepare(self, problem: Problem, kernel: Array) -> list[tuple[tuple[slice, ...], Plan | None, Any]]:
        # The kernel was examined as a whole, so its parts need not be.
        return [
            (targets, plan, None if plan is None else _prepared(plan, kernel[(..., *elements)]))
            for targets, elements, plan in self._parts(problem)
        ]

    def run(self, problem: Problem, prepared: Any, x: Array, out: Array) -> None:
        if any(plan is None for _, plan, _ in prepared):
            out[...] = 0  # all at once: outputs that meet only zeros stand apart
        for targets, plan, ready in prepared:
            if plan is not None:
                plan.run(ready, x, out[(..., *targets)])


def _prepared(plan: Plan, kernel: Array) -> Prepared:
    return Prepared(kernel, plan.algorithm.prepare(plan.problem, kernel), plan)


registry.register(Polyphase())
