"""What every way that takes a kernel's values apart needs first: one kernel, of numbers that may be rounded."""

from __future__ import annotations

from convkit.planner.algorithm import Reason
from convkit.planner.problem import Problem


def why_not(problem: Problem) -> Reason | None:
    """Why a problem has several kernels, exact sums, or zeros between its samples; None if it has not."""
    if problem.upsampled:
        return Reason("upsampled")
    if problem.exact:
        return Reason("not-exact")
    return None if problem.single else Reason("several-kernels")
