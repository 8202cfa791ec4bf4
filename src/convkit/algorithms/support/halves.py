"""Numbers stored in half as many bytes as sums: which of them a layer reads and writes where they lie."""

from __future__ import annotations

from convkit.codegen.numbers import HALVES, REAL
from convkit.planner.problem import Problem


def readable(stored: str, compute: str) -> bool:
    """Whether numbers stored so are read as they are, or widened as they are read."""
    return compute in REAL and (stored == compute or stored in HALVES)


def stored(problem: Problem) -> str:
    """The type that results are stored in: their own, if sums become it by one rounding."""
    made = {"float16": REAL, "bfloat16": ("float32",)}.get(problem.result_dtype, ())
    return problem.result_dtype if problem.compute_dtype in made else problem.compute_dtype
