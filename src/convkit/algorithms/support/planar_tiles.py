"""Depthwise convolution of planes where they lie, as a program: some planes of some samples for each task."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.channelwise_tiles import BIAS
from convkit.algorithms.support.channelwise_ways import TASK_PRODUCTS, halved
from convkit.algorithms.support.finishing import ending_of
from convkit.algorithms.support.packing import LINE, item_bytes, places
from convkit.algorithms.support.planes import Strides, space, with_rows
from convkit.algorithms.support.register_tiles import largest
from convkit.codegen import planar
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.numbers import stored_as
from convkit.codegen.pack import FILL, ZEROS
from convkit.codegen.planar import Planar, most_rows
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.codegen.window_tile import WindowTile
from convkit.planner.problem import Problem
from convkit.spec.window import Window

LEAST_SHARE = 0.75, 0.4
"""How much of the last axis's vectors must be outputs; and how much of it where there are few products."""

FEW_TAPS = 9
"""Kernel elements of which there are few."""

WIDEST = 1 << 12
"""Columns at most: a row of zeros is kept for those outside."""

MOST_ELEMENTS = 7
"""Kernel rows and columns at most, all of which are written out."""


def fits(problem: Problem, x_strides: Strides, out_strides: Strides, stored: str) -> bool:
    """Whether planes can be read and written where they lie, under masks, without many of their lanes empty."""
    items, machine = (item_bytes(problem.input_dtype), item_bytes(stored)), this_machine()
    if machine.vector_bytes != 64 or len(problem.windows) > 2 or problem.in_channels * problem.out_channels > 1:
        return False
    rows, columns = with_rows(problem.windows)
    lanes = _lanes(problem)
    share = columns.count / (-(-columns.count // lanes) * lanes)
    return (
        (x_strides[-1], out_strides[-1]) == items
        and columns.up == rows.up == 1
        and columns.stride in (1, 2)
        and (columns.inside or columns.sides == ("zero", "zero"))
        and max(rows.kernel, columns.kernel) <= MOST_ELEMENTS
        and columns.size <= WIDEST
        and share >= LEAST_SHARE[problem.taps <= FEW_TAPS]
        and problem.fill == 0
    )


def _lanes(problem: Problem) -> int:
    """Numbers in a vector: half as many where rows are no longer, since half a vector is read twice as fast."""
    whole = lanes_of(this_machine(), problem.compute_dtype)
    return whole // 2 if problem.windows[-1].count <= whole // 2 else whole


@lru_cache(maxsize=256)
def program(
    problem: Problem, x_strides: Strides, out_strides: Strides, w_strides: Strides, stored: str
) -> Program:  # fmt: skip
    """Everything about a call but its arrays; results are of type ``stored``."""
    tables, dtype = Tables(), problem.compute_dtype
    lanes, item = _lanes(problem), item_bytes(dtype)
    rows, columns = with_rows(problem.windows)
    (x_row, _), (out_row, _) = space(x_strides), space(out_strides)
    height = largest(rows.count, most_rows(this_machine(), rows.kernel))
    tile = WindowTile(height, rows.kernel, rows.stride, rows.dilation)
    table, outside = _rows(rows, tile, x_row, out_row)
    kernel = Planar(
        dtype, lanes, tile, columns.start, columns.dilation, columns.stride,  # type: ignore[arg-type]
        outside, ending_of(problem.epilogue, "plane"), stored_as(problem.input_dtype, dtype), stored_as(stored, dtype),
    )  # fmt: skip
    masks = _masks(columns, lanes)
    zeros = np.zeros(-(-columns.size * item // 8), np.int64)
    w_row, w_column = space(w_strides)
    samples = np.arange(problem.batch, dtype=np.int64)
    least = max(1, TASK_PRODUCTS // (problem.taps * problem.outputs))
    tasks: list[list[Steps]] = []
    for lo, hi in halved(problem.groups, least):
        steps = planar.ARGUMENTS.steps(
            address_of(kernel), problem.batch, out=(OUT, samples * out_strides[0] + lo * out_strides[1]),
            x=(X, samples * x_strides[0] + lo * x_strides[1]), w=(KERNEL, lo * w_strides[0]), planes=hi - lo,
            rows_at=(TABLES, tables.add(table)), masks_at=(TABLES, tables.add(masks)), places=(SCRATCH, 0),
            zeros=(TABLES, tables.add(zeros)), bias=(BIAS, lo * item), out_plane=out_strides[1],
            x_plane=x_strides[1], w_plane=w_strides[0], w_row=w_row,
            w_column=w_column, columns=columns.kernel,
            tiles=len(table), tile_step=table.shape[1] * 8, vectors=len(masks), out_row=out_row,
        )  # fmt: skip
        tasks.append([steps])
    return join(tasks, tables.array(), -(-8 * len(kernel.positions) // LINE) * LINE)


def _rows(window: Window, tile: WindowTile, x_row: int, out_row: int) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """For each tile where its outputs lie, and the rows of samples that it meets; marks for rows of zeros.

    Positions that hold zeros in every tile are left out, where those that do not lie side by side: how many of them.
    """
    starts = np.array([min(at, window.count - tile.outputs) for at in range(0, window.count, tile.outputs)], np.int64)
    at = window.start + starts[:, None] * window.stride + np.array(tile.positions, np.int64)
    first = int(at.min())
    _, index = places((window,), [np.arange(first, int(at.max()) + 1, dtype=np.int64)], (1,))
    rows = index[at - first]
    met = np.nonzero((rows != ZEROS).any(axis=0))[0]
    first, last = (int(met[0]), int(met[-1]) + 1) if len(met) else (0, 0)
    outside, rows = (first, rows.shape[1] - last), rows[:, first:last]
    rows = np.where(rows <= FILL, rows, rows * x_row)
    return np.ascontiguousarray(np.concatenate((starts[:, None] * out_row, rows), axis=1)), outside


def _masks(window: Window, lanes: int) -> NDArray[np.int64]:
    """For each vector of columns the samples that there are, for each kernel element, and the outputs."""
    vectors = math.ceil(window.count / lanes)
    column = np.arange(vectors * lanes).reshape(vectors, 1, lanes)
    # Every vector that is read, one after another, starts where the last one ends.
    read = np.arange(window.stride)[:, None] * lanes + np.arange(lanes)
    first = np.arange(vectors).reshape(vectors, 1, 1, 1) * lanes * window.stride
    sample = first + window.start + np.arange(window.kernel)[:, None, None] * window.dilation + read
    there = ((sample >= 0) & (sample < window.size)).reshape(vectors, -1, lanes)
    bits = np.concatenate((there, column < window.count), axis=1)
    return np.sum(bits.astype(np.int64) << np.arange(lanes), axis=2)
