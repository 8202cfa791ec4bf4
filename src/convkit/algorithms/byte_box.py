"""Small boxes over images of bytes, in one pass: exact sums of 16 bits, scaled and rounded as they are stored."""

from __future__ import annotations

import math

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import byte_tiles, one_kernel
from convkit.algorithms.support.byte_tiles import Filter
from convkit.codegen.byte_boxes import byte_box_for
from convkit.codegen.byte_rounding import LARGEST, rounding
from convkit.codegen.library import Kernel, this_machine
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine
from convkit.planner.problem import Problem

WIDEST = 1 << 14
"""Samples of a row at most: rows are not cut, and their sums stay in the cache."""


class ByteBox:
    """``out[i, j] = round(w * sum v[i + a, j + b])`` over a box of at most 257 bytes.

    Rows of sums slide down the image; along a row neighbouring windows share the sums of their common columns. Where
    columns are neighbours in memory nothing is packed: boundaries are tables of rows, and columns of sums are copied.
    """

    name = "byte-box"

    def applies(self, problem: Problem) -> Reason | None:
        reason = one_kernel.why_not(problem)
        if reason is not None:
            return reason
        if problem.structure != "separable" or not problem.uniform:
            return Reason("not-uniform")
        if any(window.kernel > 1 and axis not in problem.uniform for axis, window in enumerate(problem.windows)):
            return Reason("not-uniform")
        if problem.outputs * problem.taps == 0:
            return Reason("nothing-to-do")
        if not byte_tiles.fits(problem):
            return Reason("not-bytes")
        if _largest(problem) > LARGEST:
            return Reason("large-sums")
        along = problem.windows[1]
        if max(along.size, along.span) > WIDEST:
            return Reason("long-rows", limit=WIDEST)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        found = _filter(problem)
        work = float(problem.windows[1].kernel + 2) * problem.batch * problem.outputs
        moved = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        workspace = 12 * WIDEST * threads.num_threads()
        return Cost(work, moved, byte_tiles.seconds_of(problem, found, machine), workspace)

    def bound(self, problem: Problem) -> ErrorBound:
        """Sums are exact; what they are multiplied by is an element of the kernel, and the product is rounded."""
        return summation_bound(problem, 1)

    def describe(self, problem: Problem) -> str:
        """The loop nest."""
        return _filter(problem).kernel.name

    def kernels(self, problem: Problem) -> tuple[Kernel, ...]:
        """It alone."""
        return (_filter(problem).kernel,)

    def stores(self, problem: Problem) -> str:
        """Bytes."""
        return "uint8"

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        """How sums of 16 bits are scaled."""
        return np.frombuffer(rounding(float(kernel.flat[0]), _largest(problem)), np.uint8)

    def alone(self, problem: Problem, prepared: Array) -> Alone:
        """One sample, all else worked out before."""
        return byte_tiles.one_array(problem, _filter, prepared, _seconds(problem))

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        byte_tiles.run(problem, _filter, prepared, x, out, _seconds(problem))


def _largest(problem: Problem) -> int:
    """The largest sum."""
    return 255 * problem.taps


def _filter(problem: Problem) -> Filter:
    along = problem.windows[1]
    cycles = 2.4 + (0.42 if along.dilation == 1 else 0.8) * along.kernel
    return Filter(byte_box_for(this_machine(), along.dilation), cycles)


def _seconds(problem: Problem) -> float:
    return byte_tiles.one_thread(problem, _filter(problem), DEFAULT)


registry.register(ByteBox())
