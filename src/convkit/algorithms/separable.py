"""Separable and low-rank: a kernel that is a sum of few outer products, done as short passes along each axis."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support.blocks import Range, block_size, extended, needed, tap_slices, tile_lengths, tiles
from convkit.algorithms.support.pass_programs import alone_by_passes, run_passes
from convkit.algorithms.support.passes import Passes, can_be_compiled, kernels_of, scratch, seconds_of, stored_type
from convkit.codegen.library import Kernel
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason, summation_bound, unit_roundoff
from convkit.planner.machine import DEFAULT, Machine, width
from convkit.planner.problem import Problem
from convkit.planner.structure import Factors, factors_of, svd_factors
from convkit.spec.window import Window

TILE_BYTES = 1 << 17
"""Bytes of one tile of outputs; it and its passes stay in the second-level cache."""


class Separable:
    """``out = sum_r (w_r0 along axis 0) of ... (w_rn along axis n) of v``, with ``kernel = sum_r w_r0 x ... x w_rn``.

    ``separable`` is the case of one term found exactly element by element, so its error is bounded output by output;
    ``low-rank`` takes the terms of a singular value decomposition, whose error is bounded by norms.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if problem.exact:
            return Reason("not-exact")
        if len(problem.windows) < 2:
            return Reason("one-axis")
        if not problem.single:
            return Reason("several-kernels")
        if problem.structure != self.name:
            return Reason(f"not-{self.name}")
        return None

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        if _native(problem):
            passes = self._passes(problem)
            work, seconds = seconds_of(problem, passes, machine)
            moved = np.dtype(problem.input_dtype).itemsize * math.prod(problem.input_shape)
            moved += np.dtype(problem.compute_dtype).itemsize * math.prod(problem.output_shape)
            return Cost(work, moved, seconds, scratch(problem, passes) * threads.num_threads())
        size = np.dtype(problem.compute_dtype).itemsize
        passes = 0.0
        for axis, window in enumerate(problem.windows):
            before = math.prod(other.span for other in problem.windows[:axis])
            passes += window.kernel * before * math.prod(other.count for other in problem.windows[axis:])
        work = problem.batch * problem.rank * passes
        per_tile = TILE_BYTES // size
        cuts = max(1, problem.outputs * problem.batch // per_tile)
        steps = cuts * problem.rank * sum(window.kernel for window in problem.windows)
        seconds = work * width(problem.compute_dtype) / machine.elementwise * 2.2 + 14 * steps * machine.call
        moved = size * (math.prod(problem.input_shape) + math.prod(problem.output_shape))
        lengths = tile_lengths(problem.windows, _per_tile(problem, size))
        block = block_size(problem.windows, lengths)
        return Cost(2 * work, moved, seconds, 4 * size * problem.batch * block * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        terms = sum(window.kernel for window in problem.windows) + 4 * len(problem.windows) + 8 + problem.rank
        one = summation_bound(problem, terms)
        if self.name == "separable":
            return one
        # The factors reproduce the kernel within a few u of its norm; each term is bounded by norms.
        u = unit_roundoff(problem.compute_dtype)
        return ErrorBound("norm", one.factor * max(1, problem.rank) ** 0.5 + 8 * math.sqrt(problem.taps) * u)

    def kernels(self, problem: Problem) -> tuple[Kernel, ...]:
        """Those of its passes; none where they are NumPy's."""
        return kernels_of(problem, self._passes(problem)) if _native(problem) else ()

    def describe(self, problem: Problem) -> str | None:
        """The loop nests."""
        return ", ".join(kernel.name for kernel in self.kernels(problem)) or None

    def stores(self, problem: Problem) -> str:
        """What `run` writes."""
        return stored_type(problem) if _native(problem) else problem.compute_dtype

    def _passes(self, problem: Problem) -> Passes:
        return Passes.along(problem, max(1, problem.rank))

    def prepare(self, problem: Problem, kernel: Array) -> Factors | Array:
        plain = kernel[0, 0, 0]
        found = factors_of(plain) if self.name == "separable" else svd_factors(plain)
        dtype = problem.compute_dtype
        if _native(problem):
            return self._passes(problem).weights(problem, found)
        return [[vector.astype(dtype) for vector in term] for term in found]

    def alone(self, problem: Problem, prepared: Factors | Array) -> Alone | None:
        """One sample, all else worked out before; not where the passes are NumPy's."""
        if not isinstance(prepared, np.ndarray):
            return None
        return alone_by_passes(problem, self._passes(problem), prepared)

    def run(self, problem: Problem, prepared: Factors | Array, x: Array, out: Array) -> None:
        if isinstance(prepared, np.ndarray):
            run_passes(problem, self._passes(problem), prepared, x, out)
            return
        per_tile = _per_tile(problem, out.itemsize)
        boxes = tiles(problem.windows, per_tile)
        products = problem.batch * problem.outputs * problem.rank * sum(window.kernel for window in problem.windows)
        threads.run_all(
            [partial(_tile, problem, prepared, x, out, box) for box in boxes], products / DEFAULT.elementwise
        )


def _native(problem: Problem) -> bool:
    """Whether the passes are compiled; otherwise they are NumPy's."""
    return can_be_compiled(problem) and codegen.why_not() is None


def _per_tile(problem: Problem, size: int) -> int:
    """Output positions of one tile."""
    return max(256, TILE_BYTES // (size * max(1, problem.batch)))


def _tile(problem: Problem, factors: Factors, x: Array, out: Array, box: tuple[Range, ...]) -> None:
    spans = [needed(window, outputs) for window, outputs in zip(problem.windows, box, strict=True)]
    block = extended(x, problem.windows, spans, problem.fill, out.dtype)
    total: Array | None = None
    for term in factors:
        current = block
        for axis in range(len(box) - 1, -1, -1):
            current = _pass(current, 3 + axis, problem.windows[axis], box[axis], spans[axis], term[axis])
        total = current if total is None else total + current
    assert total is not None
    out[(..., *(slice(*outputs) for outputs in box))] = total


def _pass(block: Array, axis: int, window: Window, outputs: Range, span: Range, weights: Array) -> Array:
    """One axis: a shifted multiply-and-add for each element of its factor."""
    shape = list(block.shape)
    shape[axis] = outputs[1] - outputs[0]
    sums, scratch = np.zeros(shape, block.dtype), np.empty(shape, block.dtype)
    at: list[slice] = [slice(None)] * block.ndim
    for tap in range(window.kernel):
        slices = tap_slices((window,), (outputs,), (span,), (tap,))
        assert slices is not None
        at[axis] = slices[1][0]
        np.multiply(block[tuple(at)], weights[tap], out=scratch)
        np.add(sums, scratch, out=sums)
    return sums


registry.register(Separable("separable"))
registry.register(Separable("low-rank"))
