"""Depthwise: groups of few channels, vectors over the groups; each lane is a channel with a kernel of its own."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from convkit import threads
from convkit.algorithms.support import channelwise_tiles, channelwise_ways, channelwise_weights, halves, planar_tiles
from convkit.algorithms.support.channelwise_rows import ChannelwiseRows
from convkit.algorithms.support.packing import LINE
from convkit.algorithms.support.planes import Strides
from convkit.codegen import library, pool, recording
from convkit.codegen.memory import address, type_name
from convkit.codegen.program import Program
from convkit.planner import registry
from convkit.planner.algorithm import Array, Call, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.bands import Part
from convkit.planner.finishing import NOTHING, Operands
from convkit.planner.machine import DEFAULT, Machine, on_two_threads, width
from convkit.planner.problem import Problem

LEAST_PRODUCTS = 1 << 12
"""Products of one sample below which neither loading the compiler nor its kernels would be paid back."""

LEAST_GROUPS = 4
"""Groups, which are the lanes of vectors, at least."""

MOST_CHANNELS = 8
"""Input and output channels of a group at most: with more, vectors hold channels or pixels."""


class Kernel:
    """A kernel made ready: as it is, for planes; for vectors over groups packed when that is first asked for."""

    __slots__ = ("_packed", "plain", "problem")

    def __init__(self, problem: Problem, plain: Array) -> None:
        self.problem, self.plain = problem, plain
        self._packed: Array | None = None

    @property
    def packed(self) -> Array:
        """Vectors over groups, in the order of `channelwise_weights.Weights`."""
        if self._packed is None:
            self._packed = recording.working((channelwise_weights.weights_of(self.problem).bytes,), np.uint8)
            program = channelwise_weights.weights_program(self.problem, self.plain.strides)
            pool.run(program, (address(self._packed), address(self.plain), 0), 1, 0.0)
        return self._packed


class Depthwise:
    """``out[g, o, i] = sum_(c,j) w[g, o, c, j] * v[g, c, i*stride + start + j*dilation]``, vectors over ``g``.

    See `convkit.codegen.channelwise.Channelwise`. Every output is formed by the same sequence of fused multiply-adds
    wherever it stands. Upsampled problems are done phase by phase.
    """

    name = "depthwise"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.outputs * problem.taps == 0 or not all(window.size for window in problem.windows):
            return Reason("nothing-to-do")
        if problem.batch_of == "channels":
            return Reason("gradient")
        if not halves.readable(problem.input_dtype, problem.compute_dtype):
            return Reason("no-compiled-kernel", dtype=problem.input_dtype)
        if problem.groups < LEAST_GROUPS:
            return Reason("few-groups", groups=problem.groups, limit=LEAST_GROUPS)
        channels = max(problem.in_channels, problem.out_channels)
        if channels > MOST_CHANNELS:
            return Reason("many-channels", channels=channels, limit=MOST_CHANNELS)
        products = problem.terms * problem.outputs * problem.out_channels * problem.groups
        if products < LEAST_PRODUCTS:
            return Reason("too-small", products=products, limit=LEAST_PRODUCTS)
        rows = math.prod(window.kernel for window in problem.windows[:-1]) * problem.in_channels
        return channelwise_ways.why_not(rows, channelwise_weights.widest(problem.windows))

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size = np.dtype(problem.compute_dtype).itemsize
        lanes = 64 // size
        padded = -(-problem.groups // lanes) * lanes / problem.groups
        seconds = on_two_threads(padded * _seconds(problem, machine), len(channelwise_ways.boxes(problem, 2)) + 1)
        moved = size * (math.prod(problem.input_shape) + math.prod(problem.output_shape))
        seconds = max(seconds, moved / machine.bandwidth / 3) + 6e-6
        workspace = channelwise_tiles.scratch(problem) * threads.num_threads()
        weights = channelwise_weights.weights_of(problem).bytes
        return Cost(2 * _products(problem), moved, seconds, workspace + weights)

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Kernel:
        one = problem if problem.batch == 1 else problem.derive(batch=1)
        if problem.kernel_is == "fresh" and kernel.dtype == problem.compute_dtype:
            return Kernel(one, kernel)
        # Axes that run backwards do so in the copy: weights are turned around where they are packed, or read.
        lying = tuple(slice(None, None, -1 if stride < 0 else 1) for stride in kernel.strides)
        return Kernel(one, recording.copied(kernel[lying], problem.compute_dtype)[lying])

    def finishes(self, problem: Problem) -> bool:
        """Whether it does the epilogue: a bias for every lane, and an activation."""
        epilogue = problem.epilogue
        return epilogue is not None and not epilogue.add and problem.out_channels == 1

    def stores(self, problem: Problem) -> str:
        """The result's type, if it is one of real numbers."""
        return halves.stored(problem)

    def run(
        self, problem: Problem, prepared: Kernel, x: Array, out: Array, operands: Operands = NOTHING
    ) -> None:  # fmt: skip
        for call in self.calls(problem, prepared, x, out, operands):
            pool.run(call.program, call.bases, threads.num_threads(), call.seconds)

    def calls(
        self, problem: Problem, prepared: Kernel, x: Array, out: Array, operands: Operands = NOTHING
    ) -> list[Call]:  # fmt: skip
        """All of it."""
        at, source = address(out), address(x)
        planar, programs = _programs(
            problem, x.strides, out.strides, prepared.plain.strides, type_name(out.dtype), at % LINE
        )
        kernel = prepared.plain if planar else prepared.packed
        weights = address(kernel)
        bias = None if operands.bias is None else _whole(operands.bias.ravel())
        last = at if bias is None else address(bias)
        found: list[Call] = []
        for program, first, seconds in programs:
            bases = at + first * out.strides[0], source + first * x.strides[0], weights, last
            found.append(Call(program, bases, seconds, held=(kernel, bias)))
        return found

    def in_rows(self, problem: Problem, prepared: Kernel, bias: Array | None) -> Part | None:
        """Layers of one channel a group."""
        same = {problem.input_dtype, problem.compute_dtype, problem.result_dtype or problem.compute_dtype}
        if problem.in_channels * problem.out_channels > 1 or problem.upsampled or len(same) > 1:
            return None
        return Part(ChannelwiseRows(problem), prepared, None if bias is None else _whole(bias.ravel()))


def _products(problem: Problem) -> float:
    """Multiply-adds without those of zeros between samples."""
    return problem.multiply_adds / math.prod(window.up for window in problem.windows)


def _seconds(problem: Problem, machine: Machine) -> float:
    """What one thread takes, lanes without a group aside."""
    numbers = math.prod(problem.input_shape) + math.prod(problem.output_shape)
    # Phases and groups of several channels are laid down pixel by pixel, and their sums turned back.
    lies = problem.in_channels * problem.out_channels == 1 and not problem.upsampled
    work = 1.2 * _products(problem) + (2.5 if lies else 6.0) * numbers
    return work * width(problem.compute_dtype) / machine.fused


def _whole(bias: Array) -> Array:
    """The bias with as many numbers as fill vectors."""
    rest = -len(bias) % (library.this_machine().vector_bytes // bias.itemsize)
    return recording.copied(bias, bias.dtype, rest) if rest else np.ascontiguousarray(bias)


@lru_cache(maxsize=256)
def _programs(
    problem: Problem, x_strides: Strides, out_strides: Strides, w_strides: Strides, stored: str, out_at: int
) -> tuple[bool, list[tuple[Program, int, float]]]:  # fmt: skip
    """Whether planes are done where they lie; the programs of a call, from which sample on, and how long each takes."""
    ways = channelwise_ways.Ways.of(problem, x_strides, out_strides, stored, out_at)
    planar = planar_tiles.fits(problem, x_strides, out_strides, stored)
    samples = problem.batch if planar else channelwise_ways.samples_at_once(problem, ways)
    seconds = _seconds(problem, DEFAULT) / problem.batch
    found: list[tuple[Program, int, float]] = []
    for first in range(0, problem.batch, samples):
        count = min(samples, problem.batch - first)
        part = problem.derive(batch=count)
        if planar:
            program = planar_tiles.program(part, x_strides, out_strides, w_strides, stored)
        else:
            program = channelwise_tiles.program(part, x_strides, out_strides, stored, ways)
        found.append((program, first, seconds * count))
    return planar, found


registry.register(Depthwise())
