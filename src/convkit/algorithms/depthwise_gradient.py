"""Depthwise gradient: the weights of groups of few channels, by inner products of images, vectors along their rows."""

from __future__ import annotations

import math

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import depthwise_tiles
from convkit.algorithms.support.gradients import readable, typed, upstream
from convkit.codegen import pool
from convkit.codegen.memory import address
from convkit.codegen.numbers import HALVES
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, layer_on_two_threads, width
from convkit.planner.problem import Problem

MOST_PAIRS = 16
"""Pairs of an input and an output channel of one group at most: with more, vectors hold channels."""


class DepthwiseGradient:
    """``out[c, g, o, j] = sum_(b,i) u[g, o, b, i] * v[c, g, b, i*stride + start + j*dilation]``, few ``c`` and ``o``.

    See `convkit.codegen.correlate.Correlate`. Each lane of a vector sums its own columns, samples and tiles in order;
    the lanes are added in the end.
    """

    name = "depthwise-gradient"
    kernel_types = HALVES

    def applies(self, problem: Problem) -> Reason | None:
        why_not = readable(problem)
        if why_not is not None:
            return why_not
        pairs = problem.batch * problem.out_channels
        if pairs > MOST_PAIRS:
            return Reason("many-pairs", pairs=pairs, limit=MOST_PAIRS)
        missing = codegen.why_not()
        return None if missing is None else Reason(missing)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size, slow = np.dtype(problem.compute_dtype).itemsize, width(problem.compute_dtype)
        work = 2.0 * problem.multiply_adds
        row = problem.windows[-1].kernel
        wasted = -(-row // 16) * 16 / row
        inputs, kernel = math.prod(problem.input_shape), math.prod(problem.kernel_shape)
        # Each multiply-add waits for samples of its own, most of them across a cache line.
        seconds = 2.2 * wasted * work / machine.fused + (0.3 + 12 / row) * inputs / machine.elementwise
        seconds = layer_on_two_threads(seconds * slow, problem.groups, problem.batch_of)
        moved = size * (inputs + kernel + math.prod(problem.output_shape))
        seconds = max(seconds, moved / machine.bandwidth) + 1e-5
        return Cost(work, moved, seconds, depthwise_tiles.scratch(problem) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        return upstream(problem, kernel)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        problem = typed(problem, prepared)
        plain = out[0, 0, 0].flags.c_contiguous
        target = out if plain else np.empty(out.shape, out.dtype)
        program = depthwise_tiles.program(problem, x.strides, prepared.strides, target.strides)
        seconds = 2 * problem.multiply_adds * width(problem.compute_dtype) / DEFAULT.fused
        bases = address(target), address(x), address(prepared)
        pool.run(program, bases, threads.num_threads(), seconds)
        if not plain:
            out[...] = target


registry.register(DepthwiseGradient())
