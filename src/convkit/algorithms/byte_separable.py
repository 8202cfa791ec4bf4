"""Short separable kernels over images of bytes, in one pass: sums down the columns stay in the cache, by phases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import byte_tiles, one_kernel
from convkit.algorithms.support.byte_tiles import Filter
from convkit.codegen.byte_rows import Limits
from convkit.codegen.byte_taps import ByteTaps, Sums
from convkit.codegen.library import Kernel, this_machine
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine
from convkit.planner.problem import Problem
from convkit.planner.structure import factors_of

LONGEST = 25
"""Elements along an axis at most: the rows that a result meets stay in registers."""

REGISTERS = 32
"""Fewer would not hold them."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The factors of a kernel, and how they are summed.

    Attributes
    ----------
    weights : ndarray of float32
        Those down the columns, then those along the rows.
    down, along : {"each", "pairs"}
        Whether elements of each are multiplied one by one or in pairs, see `ByteTaps`.
    limits : {"saturated", "inside"}
        Whether results may leave the range of bytes.
    """

    weights: Array
    down: Sums
    along: Sums
    limits: Limits

    def filter(self, problem: Problem) -> Filter:
        """The loop nest for such factors."""
        return _filter(problem, self.down, self.along, self.limits)


class ByteSeparable:
    """``out[i, j] = round(sum_b w_b sum_a u_a v[i + a, j + b])`` of bytes.

    Where a factor is its own mirror image, samples that meet the same weight are added first: of bytes the sum is
    exact, and of sums down the columns it is one addition of those that the error bound counts.
    """

    name = "byte-separable"

    def applies(self, problem: Problem) -> Reason | None:
        reason = one_kernel.why_not(problem)
        if reason is not None:
            return reason
        if problem.structure != "separable":
            return Reason("not-separable")
        if problem.outputs * problem.taps == 0:
            return Reason("nothing-to-do")
        if not byte_tiles.fits(problem):
            return Reason("not-bytes")
        if max(window.kernel for window in problem.windows) > LONGEST:
            return Reason("long-kernel", limit=LONGEST)
        why_not = codegen.why_not()
        if why_not is None and this_machine().registers < REGISTERS:
            return Reason("no-compiled-kernel", dtype="uint8")
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        found = _filter(problem)
        work = 2.0 * sum(window.kernel for window in problem.windows) * problem.batch * problem.outputs
        moved = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        workspace = byte_tiles.scratch(problem) * threads.num_threads()
        return Cost(work, moved, byte_tiles.seconds_of(problem, found, machine), workspace)

    def bound(self, problem: Problem) -> ErrorBound:
        """As of any passes; factors are rounded, and their product may miss the kernel by a few units."""
        return summation_bound(problem, sum(window.kernel for window in problem.windows) + 16)

    def describe(self, problem: Problem) -> str:
        """The loop nest."""
        return _filter(problem).kernel.name

    def kernels(self, problem: Problem) -> tuple[Kernel, ...]:
        """For any kernel, and for a mean that is its own mirror image along both axes."""
        return _filter(problem).kernel, _filter(problem, "pairs", "pairs", "inside").kernel

    def stores(self, problem: Problem) -> str:
        """Bytes."""
        return "uint8"

    def prepare(self, problem: Problem, kernel: Array) -> Prepared:
        """Its factors."""
        factors = [vector.astype(np.float32) for vector in factors_of(kernel[0, 0, 0])[0]]
        weights = np.concatenate(factors)
        down, along = map(_sums, factors)
        # No result of a mean exceeds 255, but for what roundings add: far less than the half that would round it up.
        largest = 255 * math.prod(float(factor.sum(dtype=np.float64)) for factor in factors)
        inside = all((factor >= 0).all() for factor in factors) and largest < 255.25
        return Prepared(weights, down, along, "inside" if inside else "saturated")

    def alone(self, problem: Problem, prepared: Prepared) -> Alone:
        """One sample, all else worked out before."""
        return byte_tiles.one_array(problem, prepared.filter, prepared.weights, _seconds(problem))

    def run(self, problem: Problem, prepared: Prepared, x: Array, out: Array) -> None:
        byte_tiles.run(problem, prepared.filter, prepared.weights, x, out, _seconds(problem))


def _sums(factor: Array) -> Sums:
    return "pairs" if len(factor) > 1 and bool((factor == factor[::-1]).all()) else "each"


def _filter(
    problem: Problem, down_sums: Sums = "each", along_sums: Sums = "each", limits: Limits = "saturated"
) -> Filter:
    down, along = problem.windows
    lanes = this_machine().vector_bytes
    kernel = ByteTaps(lanes, down.kernel, along.kernel, along.dilation, down_sums, along_sums, limits)
    return Filter(kernel, 3.2 + 0.76 * (down.kernel + along.kernel))


def _seconds(problem: Problem) -> float:
    return byte_tiles.one_thread(problem, _filter(problem), DEFAULT)


registry.register(ByteSeparable())
