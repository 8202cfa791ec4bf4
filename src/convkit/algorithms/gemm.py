"""Implicit GEMM: windows laid side by side as a small matrix, tile by tile, times the kernel as a matrix."""

from __future__ import annotations

import math

import numpy as np

from convkit.algorithms.support.blocks import Range, extended, needed, sliding_windows, tiles
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import Machine, width
from convkit.planner.problem import Problem

PATCH_BYTES = 1 << 22
"""Bytes of the patch matrix at most: the only memory beyond input, output and kernel."""

LONGEST_SUM = 1 << 13
"""Products formed in one matrix multiplication; longer sums are cut, so that a patch matrix keeps some columns."""


class ImplicitGemm:
    """``out[o, i] = sum_(c,j) W[o, (c,j)] * P[(c,j), i]`` with ``P[(c,j), i] = v[c, i*stride + start + j*dilation]``.

    ``P`` is never whole: it is gathered for a tile of outputs at a time. One sample is one sequence of products of
    fixed shapes, so a batch does not change a sample's bits.
    """

    name = "gemm"

    def applies(self, problem: Problem) -> Reason | None:
        if any(window.up > 1 for window in problem.windows):
            return Reason("upsampled")
        if problem.compute_dtype not in ("float32", "float64", "complex64", "complex128"):
            return Reason("no-matrix-product", dtype=problem.compute_dtype)
        return None

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size = np.dtype(problem.compute_dtype).itemsize
        slow = width(problem.compute_dtype)
        work = 2.0 * problem.multiply_adds
        pairs = problem.batch * problem.groups
        gathered = float(pairs * problem.in_channels * problem.taps * problem.outputs)
        # A matrix with few rows is read once for little work: then reading, not multiplying, takes the time.
        rate = machine.matrix / slow * min(1.0, problem.out_channels / 32 + 0.02)
        pieces = gathered * size / PATCH_BYTES
        chunks = max(problem.groups, pieces) if problem.batch_of == "channels" else max(pairs, pieces)
        seconds = gathered * slow / (0.35 * machine.elementwise) + work / rate + 12 * chunks * machine.call
        moved = size * (math.prod(problem.input_shape) + math.prod(problem.output_shape) + 2 * gathered)
        columns = min(problem.outputs, PATCH_BYTES // (size * min(problem.terms, LONGEST_SUM)) + 1)
        workspace = 2 * PATCH_BYTES + size * columns * problem.out_channels * 2
        return Cost(work, moved, seconds, workspace)

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        shape = (problem.groups, problem.out_channels, problem.terms)
        return np.ascontiguousarray(kernel, problem.compute_dtype).reshape(shape)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        if problem.outputs == 0:
            return
        size = out.itemsize
        per_tile = max(1, PATCH_BYTES // (size * min(problem.terms, LONGEST_SUM)))
        boxes = tiles(problem.windows, per_tile)
        together = 1 if problem.batch_of == "samples" else max(1, per_tile // problem.outputs)
        for b in range(0, problem.batch, together):
            part = slice(b, b + together)
            for g in range(problem.groups):
                for box in boxes:
                    _tile(problem, prepared[g], x[part, g : g + 1], out[part, g], box)


def _tile(problem: Problem, kernel: Array, x: Array, out: Array, box: tuple[Range, ...]) -> None:
    counts = [hi - lo for lo, hi in box]
    spans = [needed(window, outputs) for window, outputs in zip(problem.windows, box, strict=True)]
    rank, batch = len(box), len(x)
    # (batch, C, *counts, *kernel) -> (C, *kernel, batch, *counts)
    block = extended(x, problem.windows, spans, problem.fill, out.dtype)
    view = sliding_windows(block, problem.windows, counts)[:, 0]
    view = view.transpose(1, *range(rank + 2, 2 * rank + 2), 0, *range(2, rank + 2))
    columns = batch * math.prod(counts)
    if problem.terms <= LONGEST_SUM:
        sums = kernel @ view.reshape(problem.terms, columns)
    else:
        sums = _long_sum(problem, kernel, view, columns)
    target = out[(slice(None), slice(None), *(slice(*outputs) for outputs in box))]
    target[...] = np.moveaxis(sums.reshape(problem.out_channels, batch, *counts), 0, 1)


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
