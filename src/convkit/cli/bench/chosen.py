"""Which algorithm convkit takes for a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convkit.cli.bench.problems import Problem

if TYPE_CHECKING:
    from convkit.planner.plan import Plan


def plan_of(problem: Problem, method: str = "auto") -> Plan:
    """The plan that a call with this filter's own kernel follows."""
    from convkit.verbs import Convolver

    _, kernel = problem.arrays()
    whole = problem.dtype == "uint8" or problem.result
    convolver = Convolver(
        kernel, "correlation", "same", stride=problem.stride, dilation=problem.dilation, boundary=problem.boundary,
        axes=problem.axes or None, dtype=problem.out_dtype if whole else None, method=method,
    )  # fmt: skip
    return convolver.plan(problem.shape, problem.dtype)


def algorithm_of(problem: Problem) -> str:
    """The name of that plan's algorithm; empty for layers, which are several problems."""
    return plan_of(problem).choice if problem.kind == "filter" else ""
