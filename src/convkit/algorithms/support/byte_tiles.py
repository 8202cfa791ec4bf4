"""Programs of boxes over bytes, a few rows of results at a time: boundaries are tables of rows and of columns."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from convkit.algorithms.support.packing import places
from convkit.codegen import byte_boxes, pack
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, X
from convkit.planner.problem import Problem

LINE = 64
WIDEST = 1 << 16
"""Columns at most: a row of sums and what a window's last row adds to them stay in the second-level cache."""

ROWS = 64
"""Rows of results that are done one after another at least: those above them are summed first."""


def fits(problem: Problem) -> bool:
    """Whether every sum is exact in 16 bits, and results are bytes again."""
    windows = problem.windows
    types = problem.input_dtype, problem.compute_dtype, problem.result_dtype
    return (
        types == ("uint8", "float32", "uint8")
        and len(windows) == 2
        and all(window.stride == 1 and window.size and "constant" not in window.sides for window in windows)
        and all(window.kernel == 1 or axis in problem.uniform for axis, window in enumerate(windows))
        and windows[0].dilation == 1
        and largest(problem) <= byte_boxes.LARGEST
        and max(windows[1].size, windows[1].span) * problem.batch <= WIDEST
    )


def largest(problem: Problem) -> int:
    """The largest sum."""
    return 255 * problem.taps


def kernel_of(problem: Problem) -> byte_boxes.ByteBox:
    """The compiled kernel."""
    return byte_boxes.byte_box_for(this_machine(), problem.windows[1].dilation)


def reads(x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> bool:
    """Whether columns follow each other in memory."""
    return x_strides[-1] == out_strides[-1] == 1


@lru_cache(maxsize=256)
def program(
    problem: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], rounding_at: int, pixel: int = 1
) -> Program:  # fmt: skip
    """Everything about a call but its arrays; ``rounding_at`` says where, in the prepared kernel, the rounding is."""
    down, along = problem.windows
    tables = Tables()
    samples = np.arange(problem.batch, dtype=np.int64)
    wanted = [np.arange(window.start, window.start + window.span) for window in (down, along)]
    rows, columns = places((down, along), wanted, (x_strides[-2], 1), pixel)
    inside = (wanted[1] >= 0) & (wanted[1] < along.size)
    repeats = ~inside & (columns > pack.FILL)
    # Where columns repeat others, the whole row is summed; sums of the first window begin at an even place.
    first, after = (0, along.size) if repeats.any() else (max(0, along.start), min(along.size, along.last + 1))
    after = max(first, after)
    origin = min(first, along.start)
    origin -= (along.start - origin) % 2
    lead = (first - origin) % 2
    plane = (-(-(max(after, along.last + 1) - origin) // LINE) + 3 | 1) * LINE

    def at(position: np.ndarray) -> np.ndarray:
        column = position - origin
        return plane * (column % 2) + column - column % 2

    edges = np.stack([at(wanted[1][repeats]), at(columns[repeats])], axis=1)
    edges_at = tables.add(edges)
    height = max(ROWS, 8 * down.kernel)
    pieces = max(1, down.count // height)
    cuts = [down.count * piece // pieces for piece in range(pieces + 1)]
    tasks = []
    for lo, hi in zip(cuts, cuts[1:], strict=False):
        rows_at = tables.add(np.concatenate([[pack.ZEROS], rows[lo : hi + down.kernel - 1]]))
        tasks.append([
            byte_boxes.ARGUMENTS.steps(
                address_of(kernel_of(problem)), problem.batch, out=(OUT, samples * out_strides[0] + lo * out_strides[-2]),
                x=(X, samples * x_strides[0]), sums=(SCRATCH, 0), windows=(SCRATCH, along.start - origin),
                zeros=(SCRATCH, 2 * plane), rows_at=(TABLES, rows_at), edges_at=(TABLES, edges_at),
                rounding=(KERNEL, rounding_at), rows=hi - lo, down=down.kernel, columns=along.count,
                begin=first - lead, lead=lead, samples=after - first + lead, first=first - lead - origin, plane=plane,
                width=plane, edges=len(edges), out_row=out_strides[-2],
                **byte_boxes.steps(along.kernel, along.dilation, plane),
            )
        ])  # fmt: skip
    return join(tasks, tables.array(), 3 * plane)


def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs, about."""
    along = problem.windows[1]
    return 3 * (max(along.size, along.span) + 4 * LINE)


def vectors_of(problem: Problem) -> float:
    """What an output takes, in multiply-adds of a vector of float32."""
    return 3.0 + (0.35 if problem.windows[1].dilation == 1 else 0.7) * problem.windows[1].kernel


def work_of(problem: Problem) -> float:
    """Additions of an output."""
    return float(problem.windows[1].kernel + 2) * math.prod((problem.batch, problem.outputs))
