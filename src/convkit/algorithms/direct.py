"""Direct: the definition, one shifted multiply-and-add for each kernel element, a cache-sized tile at a time."""

from __future__ import annotations

import math
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from convkit import threads
from convkit.algorithms.support.blocks import (
    SPACE,
    Range,
    block_size,
    clipped,
    extended,
    needed,
    tap_slices,
    taps,
    tile_lengths,
    tiles,
)
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, width
from convkit.planner.problem import Problem

TILE_BYTES = 1 << 17
"""Bytes of one output tile: it, its product and its input stay in the second-level cache."""


class Direct:
    """``out[i] += w[j] * v[i*stride + start + j*dilation]``, j outermost.

    Every output is formed by the same operations in the same order wherever it stands: its bits depend neither on
    tiles, nor on the batch, nor on the block of a stream. Positions outside under boundary ``zero`` take no part.
    Complex sums are formed from real and imaginary parts: NumPy fuses the parts of a complex product or not, as
    the array's length and strides happen to be.
    """

    name = "direct"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if problem.exact and problem.overflow != "wrap":
            return Reason("unchecked")
        return None

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size = np.dtype(problem.compute_dtype).itemsize
        work = float(problem.multiply_adds)
        cuts = max(1, problem.outputs * problem.batch * problem.groups * problem.out_channels * size // TILE_BYTES)
        steps = cuts * min(problem.terms, max(1, problem.outputs) * problem.in_channels)
        # Tiles of several axes are walked row by row.
        rows = 1.7 if len(problem.windows) == 1 else 3.0
        seconds = rows * work * width(problem.compute_dtype) / machine.elementwise + (40 + 14 * steps) * machine.call
        moved = size * (math.prod(problem.input_shape) + math.prod(problem.output_shape))
        lengths = tile_lengths(problem.windows, _per_tile(problem, size))
        sums = 2 * problem.groups * problem.out_channels * math.prod(lengths)
        samples = 2 * problem.groups * problem.in_channels * block_size(problem.windows, lengths)
        return Cost(2 * work, moved, seconds, size * problem.batch * (sums + samples) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        return np.ascontiguousarray(kernel, problem.compute_dtype)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        per_tile = _per_tile(problem, out.itemsize)
        by_output = problem.outputs < problem.taps
        one_tile = _by_output if by_output else _by_tap
        work = [partial(one_tile, problem, prepared, x, out, box) for box in tiles(problem.windows, per_tile)]
        threads.run_all(work, problem.multiply_adds / DEFAULT.elementwise)


def _per_tile(problem: Problem, size: int) -> int:
    """Output positions of one tile."""
    rows = problem.batch * problem.groups * problem.out_channels
    return max(64, TILE_BYTES // (size * max(1, rows)))


def _block(problem: Problem, x: Array, box: tuple[Range, ...], dtype: np.dtype[Any]) -> tuple[Array, list[Range]]:
    spans = [needed(window, outputs) for window, outputs in zip(problem.windows, box, strict=True)]
    if not problem.fill or len(box) == 1:  # a fill along a later axis would show beyond the zeros of an earlier one
        spans = [clipped(window, span) for window, span in zip(problem.windows, spans, strict=True)]
    return extended(x, problem.windows, spans, problem.fill, dtype), spans


_REAL = ((0, 0, 0, np.add),)
_COMPLEX = ((0, 0, 0, np.add), (0, 1, 1, np.subtract), (1, 0, 1, np.add), (1, 1, 0, np.add))
"""Which part of a sum takes the product of which parts of sample and weight: real 0, imaginary 1."""


def _parts(array: Array) -> tuple[Array, ...]:
    """The real and the imaginary part, one beside the other in memory; a real array as it is."""
    if array.dtype.kind != "c":
        return (array,)
    return np.ascontiguousarray(np.real(array)), np.ascontiguousarray(np.imag(array))


def _by_tap(problem: Problem, kernel: Array, x: Array, out: Array, box: tuple[Range, ...]) -> None:
    target = out[(slice(None),) * SPACE + tuple(slice(*outputs) for outputs in box)]
    block, spans = _block(problem, x, box, out.dtype)
    target[...] = 0
    weights, samples, sums = _parts(kernel), _parts(block), _parts(target)
    steps = _COMPLEX if len(sums) == 2 else _REAL
    product_of = np.empty(target.shape, sums[0].dtype)
    lift = (...,) + (None,) * len(box)
    for tap in taps(problem.windows):
        slices = tap_slices(problem.windows, box, spans, tap)
        if slices is None:
            continue
        at, source = ((slice(None),) * SPACE + part for part in slices)
        scratch = product_of[at]
        for into, of, by, join in steps:
            element, taken, total = weights[by][(...,) + tap], samples[of][source], sums[into][at]
            for channel in range(problem.in_channels):
                np.multiply(taken[:, :, channel, None], element[:, :, channel][lift], out=scratch)
                join(total, scratch, out=total)
    if steps is _COMPLEX:
        target.real, target.imag = sums


def _by_output(problem: Problem, kernel: Array, x: Array, out: Array, box: tuple[Range, ...]) -> None:
    """For kernels with more elements than there are outputs: one sum of products an output."""
    for at in product(*(range(lo, hi) for lo, hi in box)):
        one = tuple((i, i + 1) for i in at)
        block, spans = _block(problem, x, one, out.dtype)
        inside = []
        for window, i, (lo, hi) in zip(problem.windows, at, spans, strict=True):
            first = window.start + i * window.stride
            begin = -(-(lo - first) // window.dilation) if hi > lo else 0
            end = (hi - 1 - first) // window.dilation + 1 if hi > lo else 0
            inside.append((begin, max(begin, end), first + begin * window.dilation - lo, window.dilation))
        weights = kernel[(...,) + tuple(slice(begin, end) for begin, end, _, _ in inside)]
        samples = block[(...,) + tuple(slice(offset, None, step) for _, _, offset, step in inside)]
        samples = samples[(...,) + tuple(slice(0, end - begin) for begin, end, _, _ in inside)]
        # (group, out, element, channel), as `_by_tap` has them.
        weights = np.moveaxis(weights, 2, -1).reshape(*weights.shape[:2], -1)
        target = out[(slice(None),) * SPACE + at]
        if weights.shape[-1] == 0:
            target[...] = 0
            continue
        for b in range(problem.batch):
            row = np.moveaxis(samples[b], 1, -1).reshape(samples.shape[1], 1, -1)
            target[b] = _row_sum(row, weights, problem.in_channels)


def _row_sum(row: Array, weights: Array, channels: int) -> Array:
    """The sum along the last axis, terms taken one after another in the order of `_by_tap`, so that the bits agree."""
    if row.dtype.kind != "c":
        return np.add.accumulate(row * weights, axis=-1)[..., -1] + 0
    samples, factors = _parts(row), _parts(weights)
    terms: list[list[Array]] = [[], []]
    for into, of, by, join in _COMPLEX:
        product_of = samples[of] * factors[by]
        terms[into].append(product_of if join is np.add else -product_of)
    sums: list[Array] = []
    for pair in terms:  # for each element, all channels of the first product, then all of the second
        split = [part.reshape(*part.shape[:-1], -1, 1, channels) for part in pair]
        both = np.concatenate(split, axis=-2).reshape(*pair[0].shape[:-1], -1)
        sums.append(np.add.accumulate(both, axis=-1)[..., -1] + 0)
    total = np.empty(sums[0].shape, row.dtype)
    total.real, total.imag = sums
    return total


registry.register(Direct())
