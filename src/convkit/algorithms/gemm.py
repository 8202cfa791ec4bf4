"""Implicit GEMM: windows laid side by side as a small matrix, tile by tile, times the kernel as a matrix."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from convkit import threads
from convkit.algorithms.support.blocks import Range, extended, needed, sliding_windows, tiles
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, width
from convkit.planner.problem import Problem

PATCH_BYTES = 1 << 22
"""Bytes of the patch matrix at most: the only memory beyond input, output and kernel."""

LONGEST_SUM = 1 << 13
"""Products formed in one matrix multiplication; longer sums are cut, so that a patch matrix keeps some columns."""


SMALL_PRODUCT = 1 << 23
"""Multiply-adds of one sample up to which samples, rather than one product, are shared out among threads."""

UNTHREADED_PRODUCT = 1 << 18
"""Multiply-adds up to which OpenBLAS keeps a product on the caller's thread (its SMP_THRESHOLD_MIN times 4)."""

LAID_DOWN = 1e-9
"""Seconds that a weight takes to be laid down side by side with its neighbours, if three samples share them."""


class ImplicitGemm:
    """``out[o, i] = sum_(c,j) W[o, (c,j)] * P[(c,j), i]`` with ``P[(c,j), i] = v[c, i*stride + start + j*dilation]``.

    ``P`` is never whole: it is gathered for a tile of outputs at a time. One sample is one sequence of products of
    fixed shapes, so a batch does not change a sample's bits.
    """

    name = "gemm"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if problem.compute_dtype not in ("float32", "float64", "complex64", "complex128"):
            return Reason("no-matrix-product", dtype=problem.compute_dtype)
        return None

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size = np.dtype(problem.compute_dtype).itemsize
        slow = width(problem.compute_dtype)
        work = 2.0 * problem.multiply_adds
        gathered = float(problem.batch * problem.groups * problem.in_channels * problem.taps * problem.outputs)
        written = math.prod(problem.output_shape)
        # Tiles are smaller than the matrices that BLAS is measured with; and
        # a matrix with few rows is read once for little work: then reading, not multiplying, takes the time.
        # So it is where a gradient has few columns, of which each is a sum over images.
        few = problem.out_channels
        if problem.batch_of == "channels":
            few = min(few, problem.batch * problem.outputs)
        rate = 0.8 * machine.matrix / slow * min(1.0, few / 32 + 0.02)
        columns, samples = _tile_sizes(problem, size)
        chunks = problem.groups * -(-problem.outputs // max(1, columns)) * -(-problem.batch // max(1, samples))
        seconds = (
            (gathered + 2 * written) * slow / (1.1 * machine.elementwise) + work / rate + 85 * chunks * machine.call
        )
        if problem.kernel_is == "fresh":
            seconds += problem.batch * math.prod(problem.kernel_shape) * LAID_DOWN
        moved = size * (math.prod(problem.input_shape) + written + 2 * gathered)
        block = math.prod(window.span for window in problem.windows) * problem.in_channels
        one = size * samples * (min(problem.terms, LONGEST_SUM) * columns + block + 2 * columns * problem.out_channels)
        return Cost(work, moved, seconds, one * (threads.num_threads() if _is_small(problem) else 1))

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        shape = (problem.groups, problem.out_channels, problem.terms)
        return np.ascontiguousarray(kernel, problem.compute_dtype).reshape(shape)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        if out.size == 0:
            return
        columns, samples = _tile_sizes(problem, out.itemsize)
        work = [
            partial(_tile, problem, prepared[g], x[b : b + samples, g : g + 1], out[b : b + samples, g], box)
            for box in tiles(problem.windows, columns)
            for g in range(problem.groups)
            for b in range(0, problem.batch, samples)
        ]
        if _is_small(problem):
            threads.run_all(work, 20 * problem.multiply_adds / DEFAULT.matrix)
        else:  # the matrix product has threads of its own
            for tile in work:
                tile()


def _is_small(problem: Problem) -> bool:
    return problem.batch_of == "samples" and problem.out_channels * problem.terms * problem.outputs <= SMALL_PRODUCT


def _tile_sizes(problem: Problem, size: int) -> tuple[int, int]:
    """Output positions and samples of one patch matrix; neither depends on the number of threads."""
    if 0 in (problem.outputs, problem.terms, problem.out_channels):
        return 0, 0
    columns = max(1, PATCH_BYTES // (size * min(problem.terms, LONGEST_SUM)))
    if _is_small(problem):
        columns = min(columns, max(16, UNTHREADED_PRODUCT // (problem.out_channels * problem.terms)))
    columns = min(columns, problem.outputs)
    samples = max(1, PATCH_BYTES // (size * columns * min(problem.terms, LONGEST_SUM)))
    return columns, min(samples, max(1, -(-problem.batch // 8))) if _is_small(problem) else samples


def _tile(problem: Problem, kernel: Array, x: Array, out: Array, box: tuple[Range, ...]) -> None:
    counts = [hi - lo for lo, hi in box]
    spans = [needed(window, outputs) for window, outputs in zip(problem.windows, box, strict=True)]
    rank, batch, positions = len(box), len(x), math.prod(counts)
    block = extended(x, problem.windows, spans, problem.fill, out.dtype)
    view = sliding_windows(block, problem.windows, counts)[:, 0]  # (batch, C, *counts, *kernel)
    kernel_axes, count_axes = range(rank + 2, 2 * rank + 2), range(2, rank + 2)
    target = out[(slice(None), slice(None), *(slice(*outputs) for outputs in box))]
    if problem.batch_of == "samples" and problem.terms <= LONGEST_SUM:
        # One product of the same shape for each sample, whatever the batch: its bits are its own.
        # Laid out in memory for every batch alike: a view of other strides would be multiplied in another order.
        patches = np.ascontiguousarray(view.transpose(0, 1, *kernel_axes, *count_axes))
        target[...] = (kernel @ patches.reshape(batch, problem.terms, positions)).reshape(target.shape)
        return
    for part in [slice(b, b + 1) for b in range(batch)] if problem.batch_of == "samples" else [slice(None)]:
        patch = view[part].transpose(1, *kernel_axes, 0, *count_axes)
        columns = len(view[part]) * positions
        if problem.terms <= LONGEST_SUM:
            sums = kernel @ patch.reshape(problem.terms, columns)
        else:
            sums = _long_sum(problem, kernel, patch, columns)
        target[part] = np.moveaxis(sums.reshape(problem.out_channels, -1, *counts), 0, 1)


def _long_sum(problem: Problem, kernel: Array, view: Array, columns: int) -> Array:
    """Sums longer than a patch matrix should be: a slab of channels and first-axis kernel rows at a time."""
    rest = math.prod(window.kernel for window in problem.windows[1:])
    first = problem.windows[0].kernel
    rows = max(1, LONGEST_SUM // max(1, rest))
    weights = kernel.reshape(problem.out_channels, problem.in_channels, first, rest)
    sums = np.zeros((problem.out_channels, columns), kernel.dtype)
    for channel in range(problem.in_channels):
        for lo in range(0, first, rows):
            hi = min(first, lo + rows)
            patch = view[channel, lo:hi].reshape((hi - lo) * rest, columns)
            sums += weights[:, channel, lo:hi].reshape(problem.out_channels, -1) @ patch
    return sums


registry.register(ImplicitGemm())
