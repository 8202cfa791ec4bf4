"""Sums over channels for every pixel and kernel element, brought where they belong, as a program.

A row of samples becomes rows of products, one for each output channel and kernel element, by the register tile of
`convkit.codegen.dense`, which reads the samples in place. They stay in a ring of few rows, between zeros that stand for
what lies beyond the edge, until every row of outputs that they are part of has been added up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, product

import numpy as np

from convkit.algorithms.support.dense_samples import Found, InPlace, InPlanes, Samples
from convkit.algorithms.support.packing import LINE, item_bytes, unpacking
from convkit.algorithms.support.planes import Planes, Strides, space, with_rows
from convkit.algorithms.support.register_tiles import cuts, cycles, largest, pieces, register_tile, shared
from convkit.codegen import col2im, dense
from convkit.codegen.col2im import Col2im
from convkit.codegen.dense import Dense
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import ADD, BIAS, KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem
from convkit.spec.window import Window

TASKS = 8
"""Tasks of a sample at most."""

SHARED = 10
"""Rows of samples that a task has at least for each that the next one multiplies again."""

Order = tuple[int, int, int, int]
"""Which row of weights is the first element's of the first output channel, and how many rows further those of the next
channel, row and column of the kernel are."""

MOST_VECTORS = 3
"""Vectors of the register tile at most: the taller it is, the fewer times samples come from far memory."""

PROGRAM_STEPS = 1 << 14
"""Steps of a program beyond which it is run several times, for some of the samples each."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """How a sample is cut.

    Attributes
    ----------
    windows : tuple of Window
        Of rows and of columns.
    ring : int
        Rows of samples whose products are kept.
    before : int
        Zeros before each row of products.
    pitch : int
        Numbers from row to row of products, zeros included.
    tile : tuple of int
        Rows and vectors of the register tile at most.
    rows : int
        Rows of outputs of a task at most.
    share : float
        How much of the arithmetic is wanted.
    """

    windows: tuple[Window, ...]
    ring: int
    before: int
    pitch: int
    tile: tuple[int, int]
    rows: int
    share: float

    @property
    def blocks(self) -> int:
        """Tasks of a sample."""
        return len(cuts(self.windows[0].count, self.rows))


def met(window: Window, output: int) -> list[tuple[int, int]]:
    """The kernel elements that meet a sample for an output, and which."""
    found: list[tuple[int, int]] = []
    for element in range(window.kernel):
        place = output * window.stride + window.start + element * window.dilation
        if place % window.up == 0 and 0 <= place // window.up < window.size:
            found.append((element, place // window.up))
    return found


def shifts(window: Window) -> list[list[tuple[int, int]]]:
    """For each phase of outputs the kernel elements that meet samples, and how far ahead these are."""
    return [
        [
            (element, place // window.up)
            for element in range(window.kernel)
            if (place := phase + window.start + element * window.dilation) % window.up == 0
        ]
        for phase in range(window.up)
    ]


@lru_cache(maxsize=512)
def blocking(problem: Problem) -> Blocking:
    """How each sample of ``problem`` is cut; neither threads nor the batch have a say in it."""
    windows = with_rows(problem.windows)
    rows, columns = windows
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    ahead = [shift for phase in shifts(columns) for _, shift in phase]
    before = -(-max(0, -min(ahead, default=0)) // lanes) * lanes
    vectors, turns = -(-columns.size // lanes), -(-columns.count // (columns.up * lanes))
    after = max(vectors, turns) * lanes + max(0, *ahead, 0)
    ring = -(-rows.reach // rows.up) + 1
    sums = problem.out_channels * problem.taps
    tile = register_tile(sums, min(vectors, MOST_VECTORS), dense.MOST_ROWS)
    twice = -(-rows.reach // rows.up) - 1  # rows of samples that two tasks multiply
    most = max(2, rows.size // (SHARED * twice)) if twice else TASKS
    tasks = min(TASKS, most - most % 2, rows.count)
    each = largest(rows.count, -(-rows.count // max(1, tasks)))
    wanted = columns.size / lanes * sums
    share = wanted / cycles(sums, vectors, *tile) * rows.size / (rows.size + twice * (tasks - 1))
    return Blocking(windows, ring, before, -(-(before + after) // lanes) * lanes, tile, each, share)


@lru_cache(maxsize=256)
def products(problem: Problem) -> Problem:
    """The layer of single pixels that makes a row of samples rows of products."""
    columns = with_rows(problem.windows)[1].size
    return problem.plain.derive(
        windows=(Window(1, 1, 1), Window(columns, 1, columns)), out_channels=problem.out_channels * problem.taps
    )


def blocks(problem: Problem) -> tuple[tuple[int, int], ...]:
    """Blocks of its outputs, as weights are ordered for them."""
    return tuple(pieces(problem.out_channels * problem.taps, blocking(problem).tile[0]))


def kept(problem: Problem) -> int:
    """Bytes of products that are kept."""
    cut = blocking(problem)
    return cut.ring * cut.pitch * problem.out_channels * problem.taps * item_bytes(problem.compute_dtype)


@lru_cache(maxsize=256)
def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs, for samples in memory order."""
    item, shape = item_bytes(problem.input_dtype), problem.input_shape
    strides = tuple(item * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return _Task(problem, blocking(problem), Tables(), strides, strides, (0, 0, 0, 0), problem.compute_dtype).bytes


@lru_cache(maxsize=256)
def samples_at_once(problem: Problem) -> int:
    """For how many samples one program is made."""
    cut = blocking(problem)
    steps = cut.windows[0].count + 2 * (cut.windows[0].size + cut.ring * cut.blocks)
    return max(1, min(problem.batch, PROGRAM_STEPS // (problem.groups * steps)))


@lru_cache(maxsize=256)
def program(
    problem: Problem, x_strides: Strides, out_strides: Strides, out_dtype: str, order: Order
) -> Program:  # fmt: skip
    """Everything about a call but its arrays; ``order``: that of the rows of weights."""
    tables, cut = Tables(), blocking(problem)
    task = _Task(problem, cut, tables, x_strides, out_strides, order, out_dtype)
    tasks = [task.steps(lo, hi) for lo, hi in cuts(cut.windows[0].count, cut.rows)]
    return join(tasks, tables.array(), task.bytes)


class _Task:
    """The steps for some rows of outputs, of every sample and group."""

    def __init__(
        self, problem: Problem, cut: Blocking, tables: Tables, x_strides: Strides, out_strides: Strides, order: Order,
        out_dtype: str,
    ) -> None:  # fmt: skip
        self.problem, self.cut, self.tables, self.order, self.out_dtype = problem, cut, tables, order, out_dtype
        self.dtype, self.item = problem.compute_dtype, item_bytes(problem.compute_dtype)
        self.lanes = lanes_of(this_machine(), self.dtype)
        self.sums = problem.out_channels * problem.taps
        # A ring's row after row for one row of products: the next one's are `each` bytes further.
        self.row, self.each = cut.pitch * self.item, cut.ring * cut.pitch * self.item
        batch, groups = np.arange(problem.batch)[:, None], np.arange(problem.groups)[None]
        self.groups = (0 * batch + groups).ravel()
        self.x_at = (batch * x_strides[0] + groups * x_strides[1]).ravel()
        self.out_at = (batch * out_strides[0] + groups * out_strides[1]).ravel()
        self.x_row, self.out_row, self.out_step = space(x_strides)[-2], *space(out_strides)[-2:]
        self.out_channel = out_strides[2]
        one = products(problem)
        box = (0, 1), (0, cut.windows[1].size)
        in_place = problem.input_dtype == self.dtype and x_strides[-1] == self.item
        self.samples: Samples = InPlace(one, one.windows, box, x_strides)
        if not in_place:
            self.samples = InPlanes(one, Planes(one.windows, box, self.dtype), problem.in_channels, x_strides)
        self.samples_at = self.each * self.sums + LINE
        self.result_at = self.samples_at + self.samples.bytes + LINE
        self.result_row = -(-cut.windows[1].count // self.lanes) * self.lanes * self.item
        self.bytes = self.result_at + self.result_row * problem.out_channels + LINE
        self.columns = shifts(cut.windows[1])

    def steps(self, first: int, last: int) -> list[Steps]:
        """Zeros beside the rows, then row by row what is still missing for it, and the row."""
        nothing = Found(X, self.x_at, (), np.zeros(0, np.int64))
        found = self.multiply_add(0, self.cut.ring * self.cut.pitch, nothing)
        held: dict[int, int] = {}
        for output in range(first, last):
            elements = met(self.cut.windows[0], output)
            for _, sample in elements:
                place = sample % self.cut.ring
                if held.get(place) != sample:
                    held[place] = sample
                    laying, where = self.samples.lay(
                        self.tables, self.x_at + sample * self.x_row, (0, self.problem.in_channels), self.samples_at
                    )
                    at = place * self.row + self.cut.before * self.item
                    found += [*laying, *self.multiply_add(at, self.cut.windows[1].size, where)]
            found += self.add_up(output, elements)
        return found

    def multiply_add(self, at: int, columns: int, where: Found) -> list[Steps]:
        """All products of a row of samples; zeros if there are no terms."""
        channels, depth = self.problem.in_channels, len(where.terms)
        rest, vectors = columns % self.lanes, -(-columns // self.lanes)
        widest = largest(vectors, self.cut.tile[1])
        (_, tiles), (_, last_tiles) = shared(vectors, widest)
        terms = self.tables.add(where.terms)
        found: list[Steps] = []
        begin = 0
        for size, count in blocks(self.problem):
            edge, memory = "masked" if rest else "whole", "far" if where.base == X and depth else "near"
            schedule = Dense(self.dtype, self.lanes, size, widest, edge=edge, memory=memory)
            found.append(
                dense.ARGUMENTS.steps(
                    address_of(schedule), len(self.groups), x=(where.base, where.at),
                    w=(KERNEL, (self.groups * self.sums + begin) * channels * self.item),
                    sums=(SCRATCH, at + begin * self.each), offsets=(TABLES, terms), depth=depth, blocks=count,
                    sums_row=self.each, w_block=size * channels * self.item, rest=rest,
                    tiles=tiles - (1 if rest else 0), last_tiles=last_tiles, lines=1, sums_line=0, x_line=0,
                    ahead=self.x_row,
                    bias=(BIAS, 0), add=(ADD, 0),
                )
            )  # fmt: skip
            begin += size * count
        return found

    def add_up(self, output: int, elements: list[tuple[int, int]]) -> list[Steps]:
        """A row of outputs, stored where it stands or by way of scratch memory."""
        _, columns = self.cut.windows
        begin, of_channel, of_row, of_column = self.order
        offsets = [
            [
                (begin + i * of_row + j * of_column) * self.each
                + sample % self.cut.ring * self.row
                + (self.cut.before + ahead) * self.item
                for (i, sample), (j, ahead) in product(elements, phase)
            ]
            for phase in self.columns
        ]
        places = np.array([*chain(*offsets), 0], np.int64)
        at, channels = self.out_at + output * self.out_row, self.problem.out_channels
        direct = self.out_step == self.item and self.out_dtype == self.dtype
        adding = col2im.ARGUMENTS.steps(
            address_of(Col2im(self.dtype, self.lanes, columns.up)), len(self.groups),
            out=(OUT, at) if direct else (SCRATCH, self.result_at), x=(SCRATCH, 0),
            offsets=(TABLES, self.tables.add(places)), channels=channels,
            counts=(TABLES, self.tables.add([len(phase) for phase in offsets])), columns=columns.count,
            out_channel=self.out_channel if direct else self.result_row, x_channel=of_channel * self.each,
        )  # fmt: skip
        if direct:
            return [adding]
        return [
            adding,
            unpacking(
                self.dtype, self.out_dtype, [self.result_at], self.result_row, columns.count, channels,
                self.out_channel, self.out_step, at,
            ),
        ]  # fmt: skip


def rows_of(kernel: Array) -> tuple[Array, Order]:
    """Weights (groups, out, in, *kernel) as rows of all output channels and kernel elements, and how these follow.

    A view, if they are a uniform distance apart in some order, as in every plain layout.
    """
    groups, outputs, inputs, *space = kernel.shape
    rows, columns = (1, *space)[-2:]
    sizes, strides = (outputs, rows, columns), (kernel.strides[1], *(0, *kernel.strides[3:])[-2:])
    axes = sorted((axis for axis in range(3) if sizes[axis] > 1), key=lambda axis: abs(strides[axis]))
    step, apart = abs(strides[axes[0]]) if axes else 0, [0, 0, 0]
    reach = 1
    for axis in axes:
        if abs(strides[axis]) != step * reach:
            copy = np.ascontiguousarray(kernel)
            return copy.transpose(0, 1, *range(3, kernel.ndim), 2).reshape(groups, -1, inputs), natural(sizes)
        apart[axis], reach = reach if strides[axis] > 0 else -reach, reach * sizes[axis]
    begin = -sum((size - 1) * each for size, each in zip(sizes, apart, strict=True) if each < 0)
    forwards = (apart[0], 1, *kernel.strides[3:])
    low = kernel[(slice(None), *(slice(None, None, -1 if each < 0 else 1) for each in forwards))]
    shape, view = (groups, reach, inputs), (low.strides[0], step, low.strides[2])
    return np.lib.stride_tricks.as_strided(low, shape, view), (begin, apart[0], apart[1], apart[2])


def natural(sizes: tuple[int, int, int]) -> Order:
    """Output channel by output channel, there row by row."""
    _, rows, columns = sizes
    return 0, rows * columns, columns, 1
