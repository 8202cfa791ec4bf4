"""Short signals by NumPy's own loop: one inner product an output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convkit.planner.algorithm import Array, Reason
from convkit.planner.problem import Problem

SHORT = 1 << 15
"""Products of one row up to which the overhead of a call, not its arithmetic, is what counts."""


def why_not(problem: Problem) -> Reason | None:
    """Why a problem is not a short signal with zeros beyond its ends, and one kernel; None if it is."""
    if len(problem.windows) != 1 or not problem.single:
        return Reason("several-axes")
    window = problem.windows[0]
    if (window.stride, window.dilation, window.up) != (1, 1, 1) or window.sides != ("zero", "zero"):
        return Reason("not-plain")
    if window.start < 1 - window.kernel or window.start + window.count > window.size:
        return Reason("not-plain")  # windows that touch no sample at all
    if window.size == 0 or window.count == 0:
        return Reason("nothing-to-do")
    if window.size * window.kernel > SHORT:
        return Reason("long-row", products=window.size * window.kernel, limit=SHORT)
    return None


def row_sum(problem: Problem) -> Callable[[Array, Array], Array]:
    """The outputs of one row, from the row and the kernel reversed, as NumPy's ``convolve`` takes them."""
    window = problem.windows[0]
    skip = window.start + window.kernel - 1
    if window.inside:
        first = slice(window.start, window.start + window.count)
        if skip == window.kernel - 1 and window.count == window.size - window.kernel + 1:
            return lambda row, kernel: np.convolve(row, kernel, "valid")
        return lambda row, kernel: np.convolve(row, kernel, "valid")[first]
    if skip == 0 and window.count == window.size + window.kernel - 1:
        return np.convolve
    return lambda row, kernel: np.convolve(row, kernel)[skip : skip + window.count]
