"""Compiled: direct convolution by loops compiled for this machine, sums held in registers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support.blocks import SPACE, Range, block_size, extended, needed
from convkit.planner import probes, registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, width
from convkit.planner.problem import Problem
from convkit.spec.window import Window

LEAST_PRODUCTS = 1 << 14
"""Products of one sample below which neither loading the compiler nor its kernels would be paid back."""

TILE_PRODUCTS = 1 << 23
"""Products of one tile: a tenth of a millisecond or two, many times what handing it out takes."""

TILE_OUTPUTS = 1 << 12, 1 << 17
"""Outputs of one tile at least and at most: with its input it stays in the second-level cache."""

TILE_COLUMNS = 1 << 12
"""Columns of a tile of several rows: the rows that one row of outputs touches stay in the cache for the next."""

TILE_ROWS = 20
"""Tiles are a multiple of this many rows high, as register tiles are 4 or 5 rows high."""


SMALL_IMAGE = 1 << 16
"""Outputs of an image whose tiles are all extended: quicker than handing out its four sides one by one."""


class Compiled:
    """``out[i] = sum_j v[i + j*dilation] * w[j]`` by a compiled loop nest; see `convkit.codegen.Schedule`.

    Every output is formed by the same sequence of fused multiply-adds wherever it stands. Windows that leave the
    input are cut off as a frame, whose blocks are extended; all others read the input where it lies.
    """

    name = "compiled"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if problem.outputs * problem.taps == 0:
            return Reason("nothing-to-do")
        if problem.compute_dtype not in ("float32", "float64"):
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        if any(window.stride > 1 for window in problem.windows):
            return Reason("strided")
        if problem.in_channels > 1 or problem.out_channels > 1:
            return Reason("mixed-channels")
        products = problem.taps * problem.outputs * problem.groups
        if products < LEAST_PRODUCTS:
            return Reason("too-small", products=products, limit=LEAST_PRODUCTS)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size = np.dtype(problem.compute_dtype).itemsize
        work = float(problem.multiply_adds)
        # With one kernel row, each multiply-add waits for samples of its own, half of them across a cache line.
        loads = 2.5 if len(problem.windows) == 1 or problem.windows[-2].kernel == 1 else 1.0
        written = problem.batch * problem.groups * problem.outputs
        seconds = 2 * work * loads / machine.fused + 1.4 * written / machine.elementwise
        tiles = sum(1 for _ in _tiles(problem))
        # The model describes two threads, whatever their number is, so that it does not decide how sums are formed.
        seconds *= width(problem.compute_dtype) / (1.8 if tiles > 1 else 1.0)
        moved = size * (math.prod(problem.input_shape) + math.prod(problem.output_shape))
        calls = 20 + 12 * tiles
        held = max((_held(problem, box) for box in _frame(problem.windows)), default=0)
        seconds = max(seconds, moved / machine.bandwidth) + calls * machine.call
        return Cost(2 * work, moved, seconds, held * size * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> codegen.Direct:
        plain = kernel[:, 0, 0]
        return codegen.Direct.prepare(
            plain[:, None] if plain.ndim == 2 else plain, "float32" if problem.compute_dtype == "float32" else "float64"
        )

    def run(self, problem: Problem, prepared: codegen.Direct, x: Array, out: Array) -> None:
        work = [partial(_tile, problem, prepared, x, out, *tile) for tile in _tiles(problem)]
        threads.run_all(work, 2 * problem.multiply_adds * width(problem.compute_dtype) / DEFAULT.fused)


Box = tuple[Range, ...]


def _frame(windows: tuple[Window, ...]) -> list[Box]:
    """The outputs as boxes: those whose windows leave the input, side by side, and the box of all others."""
    whole = tuple((0, window.count) for window in windows)
    if math.prod(window.count for window in windows) <= SMALL_IMAGE:
        return [whole]
    boxes: list[Box] = []
    inner: Box = ()
    for axis, window in enumerate(windows):
        enter = min(max(0, -window.start), window.count)
        leave = min(window.size - window.reach - window.start + 1, window.count)
        if leave <= enter:
            return [*boxes, (*inner, *whole[axis:])]
        outside = [(lo, hi) for lo, hi in ((0, enter), (leave, window.count)) if lo < hi]
        boxes += [(*inner, side, *whole[axis + 1 :]) for side in outside]
        inner = (*inner, (enter, leave))
    return [*boxes, inner]


def _lengths(problem: Problem, box: Box) -> list[int]:
    """Outputs of one tile of ``box`` along each axis."""
    least, most = TILE_OUTPUTS
    room = min(max(TILE_PRODUCTS // problem.taps, least), most)
    sizes = [hi - lo for lo, hi in box]
    if len(sizes) == 1:
        return [min(sizes[0], room)]
    *leading, rows, columns = sizes
    columns = min(columns, max(TILE_COLUMNS, room // rows))
    rows = min(rows, -(-room // (columns * TILE_ROWS)) * TILE_ROWS)
    lengths = [columns, rows]
    room //= rows * columns
    for count in reversed(leading):
        lengths.append(max(1, min(count, room)))
        room //= lengths[-1]
    return lengths[::-1]


def _tiles(problem: Problem) -> Iterator[tuple[slice, slice, Box]]:
    """Samples, groups and outputs of every tile; cut by the problem alone, so that threads do not change the bits."""
    for box in _frame(problem.windows):
        lengths = _lengths(problem, box)
        groups, samples = _together(problem, lengths)
        cuts = [[(at, min(at + n, hi)) for at in range(lo, hi, n)] for (lo, hi), n in zip(box, lengths, strict=True)]
        for b, g in product(range(0, problem.batch, samples), range(0, problem.groups, groups)):
            for tile in product(*cuts):
                yield slice(b, b + samples), slice(g, g + groups), tile


def _together(problem: Problem, lengths: list[int]) -> tuple[int, int]:
    """How many groups and samples one tile holds, where images are small."""
    room = max(1, TILE_OUTPUTS[1] // max(1, math.prod(lengths)))
    groups = max(1, min(problem.groups, room))
    return groups, max(1, min(problem.batch, room // groups))


def _held(problem: Problem, box: Box) -> int:
    """Numbers that a tile of ``box`` holds at most: its block, where it is extended or converted, and its sums."""
    lengths = _lengths(problem, box)
    return math.prod(_together(problem, lengths)) * (block_size(problem.windows, lengths) + math.prod(lengths))


def _tile(
    problem: Problem, direct: codegen.Direct, x: Array, out: Array, samples: slice, groups: slice, box: Box
) -> None:
    spans = [needed(window, outputs) for window, outputs in zip(problem.windows, box, strict=True)]
    block = _rows(extended(x[samples, groups], problem.windows, spans, problem.fill, out.dtype))
    target = out[(samples, groups, slice(None), *(slice(*outputs) for outputs in box))]
    sums = target if _neighbours(target) else np.empty(target.shape, out.dtype)
    direct.run(
        block if _neighbours(block) else np.ascontiguousarray(block),
        _rows(sums),
        [1, *(window.dilation for window in problem.windows)][-max(2, len(box)) :],
        first_group=groups.start,
    )
    if sums is not target:
        target[...] = sums


def _rows(array: Array) -> Array:
    """Without the axis of one channel; one axis is one row."""
    return array if array.ndim == SPACE + 1 else array[:, :, 0]


def _neighbours(array: Array) -> bool:
    """Whether numbers along the last axis lie side by side."""
    return array.shape[-1] == 1 or array.strides[-1] == array.itemsize


def _fused_rate(timer: probes.Timer) -> float | None:
    """Operations per second of a 9 x 9 kernel on samples in cache; None where nothing can be compiled."""
    if codegen.why_not() is not None:
        return None
    x, out = np.ones((1, 1, 72, 1032), np.float32), np.empty((1, 1, 64, 1024), np.float32)
    direct = codegen.Direct.prepare(np.ones((1, 9, 9)), "float32")
    return 2 * 81 * out.size / timer(lambda: direct.run(x, out, (1, 1)))


probes.register("fused", _fused_rate)
registry.register(Compiled())
