"""What the gradients of weights have in common: when they can be formed, and how the upstream gradient is read."""

from __future__ import annotations

import numpy as np

from convkit.algorithms.support import halves
from convkit.codegen.memory import type_name
from convkit.planner.algorithm import Array, Reason
from convkit.planner.problem import Problem

LEAST_PRODUCTS = 1 << 12
"""Products below which neither loading the compiler nor its kernels would be paid back."""

READABLE = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16",
    "float32", "float64",
}  # fmt: skip
"""Types of samples that become sums' while they are laid down."""


def readable(problem: Problem) -> Reason | None:
    """Why the compiled gradients cannot take ``problem``, if they cannot."""
    if problem.batch_of != "channels":
        return Reason("no-gradient")
    if problem.upsampled:
        return Reason("upsampled")
    if problem.multiply_adds == 0 or not all(window.size for window in problem.windows):
        return Reason("nothing-to-do")
    if problem.compute_dtype not in ("float32", "float64") or problem.input_dtype not in READABLE:
        return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
    if problem.multiply_adds < LEAST_PRODUCTS:
        return Reason("too-small", products=problem.multiply_adds, limit=LEAST_PRODUCTS)
    return None


def upstream(problem: Problem, kernel: Array) -> Array:
    """The upstream gradient as it lies, if its pixels are neighbours and of a type that is read where it lies."""
    plain = halves.readable(kernel.dtype.name, problem.compute_dtype) and kernel.strides[-1] == kernel.itemsize
    return kernel if plain else np.ascontiguousarray(kernel, problem.compute_dtype)


def typed(problem: Problem, kernel: Array) -> Problem:
    """The problem with the type that the upstream gradient is read in."""
    dtype = type_name(kernel.dtype)
    return problem if problem.kernel_dtype == dtype else problem.derive(kernel_dtype=dtype)
