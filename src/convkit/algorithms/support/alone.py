"""One array alone, all its axes convolved: what a call costs beyond its arithmetic is a few looks and one native call.

Programs are worked out from sizes and strides, kernels are prepared; what is left are the addresses of three arrays.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from convkit import threads
from convkit.algorithms.support.direct_tiles import contiguous
from convkit.codegen import pool
from convkit.codegen.memory import address
from convkit.codegen.program import Program
from convkit.planner.algorithm import Alone, Array
from convkit.planner.problem import Problem

KEPT = 16
"""Ways of lying in memory for which the program is kept at hand."""

Strides = tuple[int, ...]


def place(out: Array | None, x: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
    """Where the result is written in memory order: ``out``, a new array without it, nowhere if ``out`` does not do."""
    if out is None:
        return np.empty(shape, dtype)
    fits = out.shape == shape and out.dtype == dtype and out.flags.c_contiguous and out.flags.writeable
    return out if fits and not np.may_share_memory(out, x) else None


class Programs(dict[Strides, Program]):
    """Programs by the strides of an input whose axes are all convolved; the last few of them."""

    def __init__(self, make: Callable[[Strides], Program]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, strides: Strides) -> Program:
        if len(self) >= KEPT:
            self.clear()
        made = self[strides] = self.make((0, 0, 0, *strides))
        return made


def alone(
    problem: Problem, dtype: str, program: Callable[[Strides, Strides], Program], weights: Array, seconds: float,
    told: Literal["nothing", "not-finite"] = "nothing",
) -> Alone:  # fmt: skip
    """The run for one array.

    Parameters
    ----------
    problem : Problem
        One sample, one group, one channel.
    dtype : str
        The type of the result.
    program : callable
        From strides of the input and of the result, as `Problem` has their axes, to what is done.
    weights : ndarray
        The kernel as its steps read it.
    seconds : float
        What it takes one thread, roughly.
    told : {"nothing", "not-finite"}
        What the program says in its status. Where some output is not finite, the call gives nothing.
    """
    shape, kind = problem.output_shape[3:], np.dtype(dtype)
    out_strides = contiguous(problem.output_shape, kind)
    programs = Programs(lambda strides: program(strides, out_strides))
    kernel = address(weights), weights  # as long as its place is known, it stays there

    def call(x: Array, out: Array | None) -> Array | None:
        out = place(out, x, shape, kind)
        if out is not None:
            pool.run(programs[x.strides], (address(out), address(x), kernel[0]), threads.num_threads(), seconds)
        return out

    def looking(x: Array, out: Array | None) -> Array | None:
        out = place(out, x, shape, kind)
        if out is None:
            return None
        found = ctypes.c_int64(0)
        bases = address(out), address(x), kernel[0], ctypes.addressof(found)
        pool.run(programs[x.strides], bases, threads.num_threads(), seconds)
        return None if found.value else out

    return call if told == "nothing" else looking
