"""Polyphase: an upsampled input (transposed convolution, strided gradients) without its zeros.

Outputs whose windows meet the same phase of samples form an ordinary problem on every ``up``-th kernel element. Each
phase is planned by itself, so no zero is stored and none is multiplied.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

from convkit.algorithms.support.phases import phases
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.finishing import NOTHING, Operands, finish_in_place
from convkit.planner.machine import Machine
from convkit.planner.plan import Plan, Prepared, plan_for
from convkit.planner.problem import Problem


class Polyphase:
    """``out[r::P]`` from ``w[j0::Q]``: one ordinary convolution for every residue ``r``."""

    name = "polyphase"

    def applies(self, problem: Problem) -> Reason | None:
        return None if problem.upsampled else Reason("not-upsampled")

    def _parts(self, problem: Problem) -> list[tuple[tuple[slice, ...], tuple[slice, ...], Plan | None]]:
        return [
            (targets, elements, None if part is None else plan_for(part)) for targets, elements, part in _parts(problem)
        ]

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        costs = [plan.algorithm.cost(plan.given, machine) for _, _, plan in self._parts(problem) if plan is not None]
        return Cost(
            sum(cost.flops for cost in costs),
            sum(cost.bytes for cost in costs),
            sum(cost.seconds for cost in costs),
            max((cost.workspace for cost in costs), default=0),
        )

    def bound(self, problem: Problem) -> ErrorBound:
        parts = (plan for _, _, plan in self._parts(problem) if plan is not None)
        bounds = [plan.algorithm.bound(plan.given) for plan in parts]  # the whole plan counts the epilogue
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

    def finishes(self, problem: Problem) -> bool:
        """Always: each phase is a problem with the same epilogue."""
        return True

    def stores(self, problem: Problem) -> str:
        """What every phase stores; outputs that meet nothing are ended, and so rounded, apart from the others."""
        plans = [plan for _, _, plan in self._parts(problem)]
        found = {plan.stored for plan in plans if plan is not None}
        ended = None in plans and problem.epilogue is not None
        return found.pop() if len(found) == 1 and not ended else problem.compute_dtype

    def run(self, problem: Problem, prepared: Any, x: Array, out: Array, operands: Operands = NOTHING) -> None:
        if any(plan is None for _, plan, _ in prepared):
            out[...] = 0  # outputs that meet only zeros lie between the others: all at once are filled sooner
        for targets, plan, ready in prepared:
            at = (..., *targets)
            ends = replace(operands, add=None if operands.add is None else operands.add[at])
            if plan is not None:
                plan.run(ready, x, out[at], ends)
            elif problem.epilogue is not None:
                finish_in_place(problem.epilogue, out[at], ends)


@lru_cache(maxsize=256)
def _parts(problem: Problem) -> list[tuple[tuple[slice, ...], tuple[slice, ...], Problem | None]]:
    """For each phase its outputs, its kernel elements, and the problem that it is, if it meets any."""
    parts: list[tuple[tuple[slice, ...], tuple[slice, ...], Problem | None]] = []
    for choice in product(*(phases(window) for window in problem.windows)):
        targets, elements = tuple(part[0] for part in choice), tuple(part[1] for part in choice)
        windows = tuple(part[2] for part in choice if part[2] is not None)
        parts.append((targets, elements, problem.derive(windows=windows) if len(windows) == len(choice) else None))
    return parts


def _prepared(plan: Plan, kernel: Array) -> Prepared:
    return Prepared(kernel, plan.algorithm.prepare(plan.given, kernel), plan)


registry.register(Polyphase())
