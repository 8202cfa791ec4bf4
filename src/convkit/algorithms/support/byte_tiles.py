"""Programs of filters over bytes, a few rows of results at a time: boundaries are tables of rows and of columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from convkit import threads
from convkit.algorithms.support import alone
from convkit.algorithms.support.packing import Packed, Source, packing, places
from convkit.algorithms.support.pixels import folded, interleaved
from convkit.codegen import byte_boxes, byte_taps, pack, pool
from convkit.codegen.library import address_of
from convkit.codegen.memory import address
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.planner.algorithm import Alone, Array
from convkit.planner.machine import Machine, on_two_threads
from convkit.planner.problem import Problem

LINE = 64
WIDEST = 1 << 14
"""Columns at most: rows of sums stay in the second-level cache."""

ROWS = 64
"""Rows of results of one task at least: those above them are read by another one too."""

Strides = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """What is done with a row.

    Attributes
    ----------
    kernel : ByteBox or ByteTaps
        The loop nest.
    phases, rows : int
        Phases of a row of sums, and rows of them.
    cycles : float
        Multiply-adds of a vector of float32 that 16 outputs take as long as, about.
    """

    kernel: byte_boxes.ByteBox | byte_taps.ByteTaps
    phases: int
    rows: int
    cycles: float


FilterOf = Callable[[Problem], Filter]
"""The filter of a problem."""


def fits(problem: Problem) -> bool:
    """Whether bytes become bytes, by single steps in rows that are not too long."""
    windows = problem.windows
    types = problem.input_dtype, problem.compute_dtype, problem.result_dtype
    return (
        types == ("uint8", "float32", "uint8")
        and len(windows) == 2
        and problem.structure == "separable"
        and all(window.stride == 1 and window.size and "constant" not in window.sides for window in windows)
        and windows[0].dilation == 1
        and max(windows[1].size, windows[1].span) * problem.batch <= WIDEST
    )


def seconds_of(problem: Problem, found: Filter, machine: Machine) -> float:
    """Seconds on two threads."""
    tasks = problem.batch * problem.windows[0].count / ROWS
    return on_two_threads(one_thread(problem, found, machine), tasks) + 1.25e-5


def one_thread(problem: Problem, found: Filter, machine: Machine) -> float:
    """Seconds on one thread."""
    outputs = problem.batch * problem.outputs
    halo = 1 + 0.5 * problem.windows[0].kernel / ROWS
    moved = problem.batch * problem.windows[0].size * problem.windows[1].size + outputs
    return max(outputs * found.cycles * halo * 2 / machine.fused, moved / machine.bandwidth)


def scratch(problem: Problem, found: Filter) -> int:
    """Bytes of scratch memory that one thread needs, about."""
    row = (max(problem.windows[1].size, problem.windows[1].span) + 4 * LINE) * max(1, problem.batch)
    return row * (found.phases * found.rows + 1) + row * (_height(problem) + problem.windows[0].kernel)


def run(problem: Problem, filter_of: FilterOf, prepared: Array, x: Array, out: Array, seconds: float) -> None:
    """Write the result for ``x`` into ``out``."""
    if x.dtype != "uint8" or out.dtype != "uint8":  # kernels read memory as they are told
        raise TypeError(f"samples and results are {x.dtype} and {out.dtype}, not bytes")
    pixel = 1
    if interleaved(problem, x, out):
        # All channels of an image at once: its rows are rows of numbers, whose columns stand a pixel apart.
        pixel, problem = problem.batch, folded(problem)
    x_strides, out_strides = ((*a.strides[:-1], a.strides[-1] // pixel) for a in (x, out))
    target = out
    if out_strides[-1] != 1:
        target = np.empty(out.shape, np.uint8)
        out_strides = target.strides
    work = program(problem, filter_of(problem), x_strides, out_strides, pixel)
    pool.run(work, (address(target), address(x), address(prepared)), threads.num_threads(), seconds)
    if target is not out:
        out[...] = target


def one_array(problem: Problem, filter_of: FilterOf, prepared: Array, seconds: float) -> Alone:
    """The same for one sample, all else worked out before."""

    def made(x_strides: Strides, out_strides: Strides) -> Program:
        return program(problem, filter_of(problem), x_strides, out_strides)

    return alone.alone(problem, "uint8", made, prepared, seconds)


@lru_cache(maxsize=256)
def program(
    problem: Problem, found: Filter, x_strides: Strides, out_strides: Strides, pixel: int = 1
) -> Program:  # fmt: skip
    """Everything about a call but its arrays."""
    tables = Tables()
    rows = problem.windows[0].count
    pieces = max(1, rows // _height(problem))
    cuts = pairwise(rows * piece // pieces for piece in range(pieces + 1))
    tiles = [_Tile(problem, found, tables, cut, x_strides, out_strides, pixel) for cut in cuts]
    return join([tile.steps for tile in tiles], tables.array(), max(tile.scratch for tile in tiles))


def _height(problem: Problem) -> int:
    return max(ROWS, 8 * problem.windows[0].kernel)


class _Tile:
    """The steps of some rows of results, for every sample."""

    def __init__(
        self, problem: Problem, found: Filter, tables: Tables, rows: tuple[int, int], x_strides: Strides,
        out_strides: Strides, pixel: int,
    ) -> None:  # fmt: skip
        down, along = problem.windows
        lo, hi = rows
        samples = np.arange(problem.batch, dtype=np.int64)
        x: tuple[int, Any] = X, samples * x_strides[0]
        spans = (down.start + lo, down.start + hi + down.kernel - 1), (along.start, along.start + along.span)
        wanted = [np.arange(*span, dtype=np.int64) for span in spans]
        self.steps: list[Steps] = []
        self.scratch = 0
        if x_strides[-1] == 1:
            rows_at, columns = places((down, along), wanted, (x_strides[-2], 1), pixel)
            inside = (wanted[1] >= 0) & (wanted[1] < along.size)
            first, last = 0, along.size
        else:  # a copy of what these rows meet, with all that stands beyond its edges
            packed = Packed(0, tuple(hi - lo for lo, hi in spans), 1, 1)
            source = Source("uint8", x_strides[-2:], 1, pixel)
            self.steps = packing(tables, (down, along), spans, source, packed, "uint8", 0, x[1])
            self.scratch, x = packed.bytes, (SCRATCH, 0)
            rows_at = np.arange(packed.shape[0], dtype=np.int64) * packed.row - along.start
            inside, columns = np.ones(packed.shape[1], bool), wanted[1]
            first, last = spans[1]
        repeats = ~inside & (columns > pack.FILL)
        if inside.any() and not repeats.any():  # otherwise the whole row is summed, wherever in it they come from
            first, last = int(wanted[1][inside][0]), int(wanted[1][inside][-1]) + 1
        phases = found.phases
        origin = min(first, along.start)
        origin -= (along.start - origin) % phases  # windows begin in the first phase
        lead = (first - origin) % phases
        plane = (-(-(max(last, along.start + along.span) - origin) // LINE) + 3 | 1) * LINE

        def at(position: Array) -> Array:
            column = position - origin
            return plane * (column % phases) + column - column % phases

        edges = np.stack([at(wanted[1][repeats]), at(columns[repeats])], axis=1)
        given = {
            "out": (OUT, samples * out_strides[0] + lo * out_strides[-2]), "x": x, "sums": (SCRATCH, self.scratch),
            "windows": (SCRATCH, self.scratch + along.start - origin),
            "zeros": (SCRATCH, self.scratch + found.rows * phases * plane), "edges_at": (TABLES, tables.add(edges)),
            "rows": hi - lo, "columns": along.count, "begin": first - lead, "lead": lead, "samples": last - first + lead,
            "first": first - lead - origin, "plane": plane, "width": plane, "edges": len(edges),
            "out_row": out_strides[-2],
        }  # fmt: skip
        self.scratch += (found.rows * phases + 1) * plane
        kernel = found.kernel
        if isinstance(kernel, byte_boxes.ByteBox):
            rows_at = np.concatenate([[pack.ZEROS], rows_at])
            given |= {"rounding": (KERNEL, 0), "down": down.kernel}
            given |= byte_boxes.steps(along.kernel, along.dilation, plane)
        else:
            given |= {"w": (KERNEL, 0)}
        given["rows_at"] = TABLES, tables.add(rows_at)
        arguments = byte_boxes.ARGUMENTS if isinstance(kernel, byte_boxes.ByteBox) else byte_taps.ARGUMENTS
        self.steps.append(arguments.steps(address_of(kernel), problem.batch, **given))
