"""Programs of filters over bytes, a few rows of results at a time: boundaries are tables of rows and of columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import Any

import numpy as np

from convkit import threads
from convkit.algorithms.support import alone
from convkit.algorithms.support.blocks import needed
from convkit.algorithms.support.packing import Packed, Range, Source, packing, places, unpacking
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
COLUMNS = 1 << 11
"""Columns of one task, about, where rows are cut: sums of several rows stay in the cache."""

ROWS = 64
"""Rows of results of one task at least: those above them are read by another one too."""

PROGRAM_STEPS = 1 << 13
"""Steps of a program beyond which it is run several times, for some of the samples each."""

Strides = tuple[int, ...]
Nest = byte_boxes.ByteBox | byte_taps.ByteTaps


@dataclass(frozen=True, slots=True)
class Filter:
    """What is done with a row.

    Attributes
    ----------
    kernel : ByteBox or ByteTaps
        The loop nest.
    cycles : float
        Multiply-adds of a vector of float32 that 16 outputs take as long as, about.
    """

    kernel: Nest
    cycles: float


FilterOf = Callable[[Problem], Filter]
"""The filter of a problem."""


def fits(problem: Problem) -> bool:
    """Whether bytes become bytes, window by window."""
    windows = problem.windows
    types = problem.input_dtype, problem.compute_dtype, problem.result_dtype
    return (
        types == ("uint8", "float32", "uint8")
        and len(windows) == 2
        and problem.structure == "separable"
        and all(window.stride == 1 and window.size and "constant" not in window.sides for window in windows)
        and windows[0].dilation == 1
    )


def seconds_of(problem: Problem, found: Filter, machine: Machine) -> float:
    """Seconds on two threads."""
    tasks = problem.batch * problem.windows[0].count / ROWS
    return on_two_threads(one_thread(problem, found, machine), tasks) + 8e-6


def one_thread(problem: Problem, found: Filter, machine: Machine) -> float:
    """Seconds on one thread."""
    outputs = problem.batch * problem.outputs
    halo = 1 + 0.5 * problem.windows[0].kernel / _height(problem)
    moved = problem.batch * problem.windows[0].size * problem.windows[1].size + outputs
    return max(outputs * found.cycles * halo * 2 / machine.fused, moved / machine.bandwidth)


def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs, about."""
    down, along = problem.windows
    row = min(along.span, 2 * COLUMNS + along.reach) + 4 * LINE
    return row * (_height(problem) + down.kernel + 4 * byte_taps.ROWS)


def run(problem: Problem, filter_of: FilterOf, prepared: Array, x: Array, out: Array, seconds: float) -> None:
    """Write the result for ``x`` into ``out``."""
    if x.dtype != "uint8" or out.dtype != "uint8":  # kernels read memory as they are told
        raise TypeError(f"samples and results are {x.dtype} and {out.dtype}, not bytes")
    pixel = 1
    if interleaved(problem, x, out):
        # All channels of an image at once: its rows are rows of numbers, whose columns stand a pixel apart.
        pixel, problem = problem.batch, folded(problem)
    x_strides, out_strides = ((*a.strides[:-1], a.strides[-1] // pixel) for a in (x, out))
    together = max(1, PROGRAM_STEPS // (3 * len(_boxes(problem, filter_of(problem)))))
    for first in range(0, problem.batch, together):
        count = min(together, problem.batch - first)
        part = problem if count == problem.batch else problem.derive(batch=count)
        work = program(part, filter_of(part), x_strides, out_strides, pixel)
        bases = address(out) + first * out.strides[0], address(x) + first * x.strides[0], address(prepared)
        pool.run(work, bases, threads.num_threads(), seconds * count / problem.batch)


def one_array(problem: Problem, filter_of: FilterOf, prepared: Array, seconds: float) -> Alone:
    """The same for one sample, all else worked out before."""

    def made(x_strides: Strides, out_strides: Strides) -> Program:
        return program(problem, filter_of(problem), x_strides, out_strides)

    return alone.alone(problem, "uint8", made, prepared, seconds)


@lru_cache(maxsize=256)
def program(problem: Problem, found: Filter, x_strides: Strides, out_strides: Strides, pixel: int = 1) -> Program:
    """Everything about a call but its arrays."""
    tables = Tables()
    tiles = [_Tile(problem, found.kernel, tables, box, x_strides, out_strides, pixel) for box in _boxes(problem, found)]
    return join([tile.steps for tile in tiles], tables.array(), max(tile.scratch for tile in tiles))


def _boxes(problem: Problem, found: Filter) -> list[tuple[Range, Range]]:
    """Rows and columns of the results of every tile."""
    down, along = problem.windows
    width = along.count if isinstance(found.kernel, byte_boxes.ByteBox) else COLUMNS
    return list(product(_cut(down.count, _height(problem)), _cut(along.count, width)))


def _height(problem: Problem) -> int:
    """Rows of results of one task, about."""
    return max(ROWS, 8 * problem.windows[0].kernel)


def _cut(count: int, size: int) -> list[Range]:
    """Pieces of about this size, all nearly equal."""
    pieces = max(1, count // size)
    return list(pairwise(count * piece // pieces for piece in range(pieces + 1)))


class Apart(Packed):
    """Rows an odd number of cache lines apart, so that they fall into different sets; whole vectors may be read."""

    __slots__ = ()

    @property
    def row(self) -> int:
        """Bytes from one row to the next."""
        return (-(-self.shape[-1] // LINE) | 1) * LINE


class _Tile:
    """The steps of a tile of results, for every sample."""

    def __init__(
        self, problem: Problem, kernel: Nest, tables: Tables, box: tuple[Range, Range], x_strides: Strides,
        out_strides: Strides, pixel: int,
    ) -> None:  # fmt: skip
        self.problem, self.tables, self.pixel = problem, tables, pixel
        self.windows, self.x_strides = problem.windows, x_strides[-2:]
        self.spans = [needed(window, outputs) for window, outputs in zip(problem.windows, box, strict=True)]
        (lo, hi), (left, right) = box
        self.rows, self.columns = hi - lo, right - left
        samples = np.arange(problem.batch, dtype=np.int64)
        out_at = samples * out_strides[0] + lo * out_strides[-2] + left * out_strides[-1]
        self.x_at = samples * x_strides[0]
        self.steps: list[Steps] = []
        self.scratch = 0
        if out_strides[-1] == 1:
            self.out: tuple[int, Any] = OUT, out_at
            self.out_row = out_strides[-2]
        else:
            results = Apart(0, (self.rows, self.columns), 1, 1)
            self.out, self.out_row, self.scratch = (SCRATCH, 0), results.row, results.bytes
        if isinstance(kernel, byte_taps.ByteTaps):
            self.taps(kernel)
        else:
            self.box(kernel)
        if self.out[0] == SCRATCH:
            place = out_strides[-2], out_strides[-1], out_at
            self.steps.append(unpacking("uint8", "uint8", [0], self.out_row, self.columns, self.rows, *place))

    def pack(self) -> Apart:
        """A copy of what the windows meet, with all that stands beyond the edges."""
        packed = Apart(self.scratch, tuple(hi - lo for lo, hi in self.spans), 1, 1)
        source = Source("uint8", self.x_strides, 1, self.pixel)
        self.steps += packing(self.tables, self.windows, self.spans, source, packed, "uint8", 0, self.x_at)
        self.scratch += packed.bytes
        return packed

    def taps(self, kernel: byte_taps.ByteTaps) -> None:
        """Sums of products."""
        packed = self.pack()
        samples = packed.shape[1]
        plane = (-(-samples // LINE) + 2 | 1) * LINE  # the last vector reaches beyond the last window
        self.steps.append(
            byte_taps.ARGUMENTS.steps(
                address_of(kernel), self.problem.batch, out=self.out, x=(SCRATCH, packed.place),
                sums=(SCRATCH, self.scratch), w=(KERNEL, 0), rows=self.rows, columns=self.columns, samples=samples,
                plane=plane, x_row=packed.row, out_row=self.out_row,
            )
        )  # fmt: skip
        self.scratch += byte_taps.ROWS * 4 * plane

    def box(self, kernel: byte_boxes.ByteBox) -> None:
        """Sums alone, in place where columns are neighbours."""
        down, along = self.windows
        wanted = [np.arange(*span, dtype=np.int64) for span in self.spans]
        begin, end = self.spans[1]
        if self.x_strides[-1] == 1:
            x: tuple[int, Any] = X, self.x_at
            rows_at, columns = places(self.windows, wanted, self.x_strides, self.pixel)
            inside = (wanted[1] >= 0) & (wanted[1] < along.size)
            first, last = 0, along.size
        else:
            packed = self.pack()
            x = SCRATCH, packed.place
            rows_at = np.arange(len(wanted[0]), dtype=np.int64) * packed.row - begin
            inside, columns, (first, last) = np.ones(end - begin, bool), wanted[1], self.spans[1]
        repeats = ~inside & (columns > pack.FILL)
        if inside.any() and not repeats.any():  # otherwise the whole row is summed, wherever in it they come from
            first, last = int(wanted[1][inside][0]), int(wanted[1][inside][-1]) + 1
        origin = min(first, begin)
        origin -= (begin - origin) % 2  # windows begin with an even column
        lead = (first - origin) % 2
        plane = (-(-(max(last, end) - origin) // LINE) + 3 | 1) * LINE

        def at(position: Array) -> Array:
            column = position - origin
            return plane * (column % 2) + column - column % 2

        edges = np.stack([at(wanted[1][repeats]), at(columns[repeats])], axis=1)
        rows_at = np.concatenate([[pack.ZEROS], rows_at])
        self.steps.append(
            byte_boxes.ARGUMENTS.steps(
                address_of(kernel), self.problem.batch, out=self.out, x=x, sums=(SCRATCH, self.scratch),
                windows=(SCRATCH, self.scratch + begin - origin), zeros=(SCRATCH, self.scratch + 2 * plane),
                rows_at=(TABLES, self.tables.add(rows_at)), edges_at=(TABLES, self.tables.add(edges)),
                rounding=(KERNEL, 0), rows=self.rows, down=down.kernel, columns=self.columns, begin=first - lead,
                lead=lead, samples=last - first + lead, first=first - lead - origin, plane=plane, edges=len(edges),
                out_row=self.out_row, **byte_boxes.steps(along.kernel, along.dilation, plane),
            )
        )  # fmt: skip
        self.scratch += 3 * plane
