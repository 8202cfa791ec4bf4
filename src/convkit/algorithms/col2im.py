"""Col2im: layers of few output channels, as products of every pixel with every kernel element, added up afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import col2im_tiles, dense_weights
from convkit.algorithms.support.gradients import READABLE
from convkit.algorithms.support.planes import with_rows
from convkit.codegen import col2im, pool
from convkit.codegen.memory import address, type_name
from convkit.planner import registry
from convkit.planner.algorithm import Array, Call, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, layer_on_two_threads, width
from convkit.planner.problem import Problem

LEAST_PRODUCTS = 1 << 12
"""Products of one sample below which neither loading the compiler nor its kernels would be paid back."""

MOST_SUMS = 1 << 9
"""Output channels times kernel elements at most."""

MOST_BYTES = 1 << 19
"""Bytes of a row of samples, and of the products that are kept, at most."""

SHARING = 3
"""How many samples share weights that are put in order for one call: it is of one or of several."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Rows of weights, in order."""

    weights: Array
    order: col2im_tiles.Order


class Col2im:
    """``out[o, i] = sum_j p[o, j, (i + start + j*dilation) / up]`` with ``p[o, j, q] = sum_c w[o, c, j] * x[c, q]``.

    A sample meets all its weights in one register, where a register tile of outputs would read it again, displaced, for
    every kernel element; that is worth its while where output channels are too few to share what is read. Products of
    a few rows of samples at a time are kept in scratch memory.
    """

    name = "col2im"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.batch_of == "channels":
            return Reason("gradient")
        if problem.multiply_adds == 0 or not all(window.size for window in problem.windows):
            return Reason("nothing-to-do")
        if len(problem.windows) > 2:
            return Reason("more-than-two-axes")
        if problem.compute_dtype not in ("float32", "float64") or problem.input_dtype not in READABLE:
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        columns = with_rows(problem.windows)[1]
        plain = all(window.stride == 1 and window.sides == ("zero", "zero") for window in problem.windows)
        if not plain or columns.up not in col2im.PHASES:
            return Reason("not-single-steps", phases=", ".join(map(str, col2im.PHASES)))
        sums = problem.out_channels * problem.taps
        if problem.taps == 1 and not problem.upsampled:
            return Reason("one-element")
        if sums > MOST_SUMS:
            return Reason("many-products", sums=sums, limit=MOST_SUMS)
        if problem.multiply_adds < LEAST_PRODUCTS:
            return Reason("too-small", products=problem.multiply_adds, limit=LEAST_PRODUCTS)
        missing = codegen.why_not()
        if missing is not None:
            return Reason(missing)
        row = problem.in_channels * columns.size * np.dtype(problem.compute_dtype).itemsize
        kept = col2im_tiles.kept(problem)
        return (
            Reason("long-pixel-rows", bytes=max(row, kept), limit=MOST_BYTES) if max(row, kept) > MOST_BYTES else None
        )

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size, slow = np.dtype(problem.compute_dtype).itemsize, width(problem.compute_dtype)
        cut = col2im_tiles.blocking(problem)
        inputs, outputs = math.prod(problem.input_shape), math.prod(problem.output_shape)
        products = _products(problem)
        work = 2.0 * products * problem.in_channels
        # Each product is stored, and read and added, most of them across a line of the cache.
        seconds = work / (1.1 * machine.fused * cut.share) + 0.35 * products / machine.elementwise
        tasks = cut.blocks * problem.batch * problem.groups
        seconds = layer_on_two_threads(seconds * slow, tasks, problem.batch_of)
        weights = math.prod(problem.kernel_shape)
        if problem.kernel_is == "fresh":
            seconds += problem.batch * weights * dense_weights.SECONDS / SHARING
        moved = size * (inputs + outputs + weights)
        seconds = max(seconds, moved / machine.bandwidth) + 1e-5 + 2e-7 * tasks
        return Cost(work, moved, seconds, col2im_tiles.scratch(problem) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Kernel:
        rows, order = col2im_tiles.rows_of(np.asarray(kernel, problem.compute_dtype))
        one = col2im_tiles.products(problem)
        return Kernel(dense_weights.pack_weights(one, col2im_tiles.blocks(problem), rows[..., None, None]), order)

    def run(self, problem: Problem, prepared: Kernel, x: Array, out: Array) -> None:
        for call in self.calls(problem, prepared, x, out):
            pool.run(call.program, call.bases, threads.num_threads(), call.seconds)

    def calls(
        self, problem: Problem, prepared: Kernel, x: Array, out: Array, operands: object = None
    ) -> list[Call]:  # fmt: skip
        """All of it: epilogues are left to others."""
        samples = col2im_tiles.samples_at_once(problem)
        seconds = 2 * _products(problem) * problem.in_channels * width(problem.compute_dtype) / DEFAULT.fused
        found: list[Call] = []
        for first in range(0, problem.batch, samples):
            count = min(samples, problem.batch - first)
            part = problem if count == problem.batch else problem.derive(batch=count)
            program = col2im_tiles.program(part, x.strides, out.strides, type_name(out.dtype), prepared.order)
            bases = (
                address(out) + first * out.strides[0], address(x) + first * x.strides[0], address(prepared.weights), 0,
            )  # fmt: skip
            found.append(Call(program, bases, seconds * count / problem.batch, held=(prepared.weights,)))
        return found


def _products(problem: Problem) -> int:
    """Products of samples, summed over channels."""
    return math.prod(problem.input_shape) // problem.in_channels * problem.out_channels * problem.taps


registry.register(Col2im())
