"""Channelwise gradient: the weights of many groups of few channels, vectors over the groups."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from convkit import threads
from convkit.algorithms.support import channelwise_gradients, channelwise_ways, halves
from convkit.algorithms.support.channelwise_ways import Ways
from convkit.algorithms.support.gradients import readable, typed
from convkit.algorithms.support.planes import Strides
from convkit.codegen import pool
from convkit.codegen.memory import address
from convkit.codegen.numbers import HALVES
from convkit.codegen.program import Program
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, on_two_threads, width
from convkit.planner.problem import Problem

LEAST_GROUPS = 8
"""Groups, which are the lanes of vectors, at least."""

MOST_PAIRS = 64
"""Pairs of an input and an output channel of one group at most."""


class ChannelwiseGradient:
    """``out[c, g, o, j] = sum_(b,i) u[g, o, b, i] * v[c, g, b, i*stride + start + j*dilation]``, vectors over ``g``.

    See `convkit.codegen.channelwise_gradient.ChannelwiseGradient`. Samples and tiles are added in order.
    """

    name = "channelwise-gradient"
    kernel_types = HALVES

    def applies(self, problem: Problem) -> Reason | None:
        why_not = readable(problem)
        if why_not is not None:
            return why_not
        if not halves.readable(problem.input_dtype, problem.compute_dtype):
            return Reason("no-compiled-kernel", dtype=problem.input_dtype)
        if problem.groups < LEAST_GROUPS:
            return Reason("few-groups", groups=problem.groups, limit=LEAST_GROUPS)
        pairs = problem.batch * problem.out_channels
        if pairs > MOST_PAIRS:
            return Reason("many-pairs", pairs=pairs, limit=MOST_PAIRS)
        *before, columns = problem.output_shape[3:]
        return channelwise_ways.why_not(math.prod(before), columns)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size = np.dtype(problem.compute_dtype).itemsize
        lanes = 64 // size
        padded = -(-problem.groups // lanes) * lanes / problem.groups
        seconds = on_two_threads(padded * _seconds(problem, machine), problem.groups / lanes)
        moved = size * (math.prod(problem.input_shape) + math.prod(problem.kernel_shape))
        seconds = max(seconds, moved / machine.bandwidth / 3) + 8e-6
        work = channelwise_gradients.scratch(problem) * threads.num_threads()
        return Cost(2.0 * problem.multiply_adds, moved, seconds, work)

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        plain = halves.readable(kernel.dtype.name, problem.compute_dtype)
        return kernel if plain else np.asarray(kernel, problem.compute_dtype)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        problem = typed(problem, prepared)
        parts, moved = _parts(problem, x.strides, prepared.strides), out.transpose(1, 2, 0, *range(3, out.ndim))
        target, aside = out[np.newaxis], parts > 1 or not out[0, 0, 0].flags.c_contiguous
        if aside:
            target = np.moveaxis(np.empty((parts, *moved.shape), out.dtype), 3, 1)
        program, seconds = _program(problem, x.strides, prepared.strides, target.strides)
        pool.run(program, (address(target), address(x), address(prepared)), threads.num_threads(), seconds)
        if aside and moved.flags.c_contiguous:
            program = channelwise_gradients.addition(out.dtype.name, parts, out.size)
            pool.run(program, (address(out), address(target), 0), 1, 0.0)
        elif aside:
            np.add.reduce(target, axis=0, out=out)


def _seconds(problem: Problem, machine: Machine) -> float:
    """What one thread takes, lanes without a group aside: much of it for turning arrays that lie in planes."""
    numbers = math.prod(problem.input_shape) + math.prod(problem.kernel_shape)
    return (1.2 * problem.multiply_adds + 5 * numbers) * width(problem.compute_dtype) / machine.fused


def _lying(problem: Problem, x_strides: Strides, g_strides: Strides) -> tuple[Strides, Strides, Ways]:
    """Strides brought into the forward operator's order, and how samples and gradients are read."""
    x_strides = x_strides[2], x_strides[1], x_strides[0], *x_strides[3:]
    g_strides = g_strides[2], g_strides[0], g_strides[1], *g_strides[3:]
    whole = channelwise_gradients.forward(problem).derive(batch=problem.in_channels)
    return x_strides, g_strides, Ways.of(whole, x_strides, g_strides, problem.kernel_dtype, 1)


@lru_cache(maxsize=256)
def _parts(problem: Problem, x_strides: Strides, g_strides: Strides) -> int:
    """How many sums of parts there are."""
    *_, ways = _lying(problem, x_strides, g_strides)
    return len(channelwise_gradients.parts(problem, ways))


@lru_cache(maxsize=256)
def _program(
    problem: Problem, x_strides: Strides, g_strides: Strides, target_strides: Strides
) -> tuple[Program, float]:  # fmt: skip
    """The program of a call, and how long it takes."""
    part, *strides = target_strides
    out_strides = 0, strides[1], strides[0], *strides[2:]
    x_strides, g_strides, ways = _lying(problem, x_strides, g_strides)
    program = channelwise_gradients.program(problem, x_strides, g_strides, out_strides, ways, part)
    return program, _seconds(problem, DEFAULT)


registry.register(ChannelwiseGradient())
