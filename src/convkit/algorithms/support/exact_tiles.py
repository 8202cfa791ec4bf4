"""Exact convolution of integers as a program: tiles laid out in a form, summed, and stored as integers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.forms import DOTS, Form
from convkit.algorithms.support.packing import (
    LINE,
    Packed,
    Source,
    packing,
    touched,
    touched_count,
    touched_elements,
    touched_stride,
)
from convkit.codegen import direct as kernel
from convkit.codegen import interleave
from convkit.codegen.library import address_of
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, STATUS, TABLES, Steps
from convkit.codegen.weights import Order, order_for, taps
from convkit.planner.problem import Problem
from convkit.spec.window import Window

TILE_OUTPUTS = 40 << 10
"""Outputs of one tile: their sums stay in the caches until they are stored."""

TILE_COLUMNS = 1 << 11
"""Columns of a tile of several rows."""

TILE_ROWS = 20
"""Tiles are a multiple of this many rows high, as register tiles are 4 or 5 rows high."""

PROGRAM_STEPS = 1 << 13
"""Steps of a program beyond which it is run several times, for some of the samples each."""

Box = tuple[Range, ...]
Strides = tuple[int, ...]


def windows_of(problem: Problem, form: Form) -> tuple[Window, ...]:
    """Two axes at least; for groups, the kernel's last one with zeros between its elements, in whole groups."""
    *others, last = problem.windows
    if form.group > 1:
        last = replace(last, kernel=-(-last.reach // form.group) * form.group, dilation=1)
    return (*(others or [Window(1, 1, 1)]), last)


@lru_cache(maxsize=512)
def order_of(problem: Problem, form: Form) -> Order:
    """In which order weights are read."""
    windows = windows_of(problem, form)
    shape = [window.kernel for window in windows]
    shape[-1] //= form.group
    across, along = (window.stride // math.gcd(window.stride, window.dilation) for window in windows[-2:])
    return order_for(tuple(shape), form.arithmetic, (across, along))


@dataclass(frozen=True, slots=True)
class _Tile:
    """Where a tile's samples and sums lie in scratch memory.

    Attributes
    ----------
    box, read : tuple of (int, int)
        Its outputs, and those with columns in whole groups.
    packed : Packed
        How the samples are laid out, at the beginning.
    sums : int
        Where the sums begin.
    strides : tuple of int
        Bytes between sums along each axis.
    phase : int
        Bytes between the sums of columns that differ by one.
    """

    box: Box
    read: Box
    packed: Packed
    sums: int
    strides: tuple[int, ...]
    phase: int

    @classmethod
    def of(cls, windows: tuple[Window, ...], form: Form, box: Box) -> _Tile:
        *others, (first, last) = box
        columns = -(-(last - first) // form.group)
        read = (*others, (first, first + columns * form.group))
        shape = tuple(touched_count(window, hi - lo) for window, (lo, hi) in zip(windows, read, strict=True))
        packed = Packed(0, shape, touched_stride(windows[-1]), form.item)
        item = np.dtype(form.sums).itemsize
        strides = [item, -(-columns * item // LINE) * LINE]
        for lo, hi in reversed(box[1:-1]):
            strides.append(strides[-1] * (hi - lo))
        phase = strides[-1] * (box[0][1] - box[0][0]) + LINE
        return cls(box, read, packed, -(-packed.bytes // LINE) * LINE + LINE, tuple(strides[::-1]), phase)

    def bytes(self, form: Form) -> int:
        """Bytes of scratch memory; whole vectors are read of the sums."""
        return self.sums + self.phase * form.group + 4 * LINE


def _tiles(windows: tuple[Window, ...], form: Form) -> Iterator[_Tile]:
    """Every tile, all axes cut."""
    cuts = [
        [(at, min(at + n, window.count)) for at in range(0, window.count, n)]
        for window, n in zip(windows, _lengths(windows), strict=True)
    ]
    for box in product(*cuts):
        yield _Tile.of(windows, form, box)


def _lengths(windows: tuple[Window, ...]) -> list[int]:
    """Outputs of one tile along each axis: its samples, more by the strides, are to stay in the cache."""
    *leading, rows, columns = (window.count for window in windows)
    strides = [touched_stride(window) for window in windows]
    room = max(1, TILE_OUTPUTS // math.prod(strides))
    lengths = [min(columns, max(1, TILE_COLUMNS // strides[-1], room // rows))]
    high = max(1, room // lengths[0])
    lengths.append(min(rows, high // TILE_ROWS * TILE_ROWS or high))
    room //= lengths[0] * lengths[1]
    for count in reversed(leading):
        lengths.append(max(1, min(count, room)))
        room //= lengths[-1]
    return lengths[::-1]


@lru_cache(maxsize=256)
def program(
    problem: Problem, form: Form, x_strides: Strides, out_strides: Strides, out_dtype: str,
    fit: interleave.Fit, pixel: int = 1,
) -> Program:  # fmt: skip
    """Everything about a call but its arrays; ``pixel`` numbers of the last axis make one sample."""
    return _Program(problem, form, x_strides, out_strides, out_dtype, fit, pixel).program()


@lru_cache(maxsize=256)
def scratch(problem: Problem, form: Form) -> int:
    """Bytes of scratch memory that one thread needs."""
    windows = windows_of(problem, form)
    lengths = _lengths(windows)
    return _Tile.of(windows, form, tuple((0, n) for n in lengths)).bytes(form)


@lru_cache(maxsize=256)
def samples_at_once(problem: Problem, form: Form) -> int:
    """For how many samples one program is made, so that it stays small however many there are."""
    windows = windows_of(problem, form)
    tiles = math.prod(-(-window.count // n) for window, n in zip(windows, _lengths(windows), strict=True))
    steps = problem.groups * tiles * (min(touched_stride(windows[-1]), 64) + 2)
    return max(1, min(problem.batch, PROGRAM_STEPS // steps))


class _Program:
    """Writes the program: for each tile its samples brought in, their sums formed, and the sums stored."""

    def __init__(
        self, problem: Problem, form: Form, x_strides: Strides, out_strides: Strides, out_dtype: str,
        fit: interleave.Fit, pixel: int,
    ) -> None:  # fmt: skip
        self.problem, self.form, self.tables = problem, form, Tables()
        self.windows, self.order = windows_of(problem, form), order_of(problem, form)
        one_row = len(problem.windows) == 1
        self.x_strides = ((0,) if one_row else ()) + x_strides[3:]
        self.out_strides = ((0,) if one_row else ()) + out_strides[3:]
        samples, groups = np.arange(problem.batch)[:, None], np.arange(problem.groups)[None]
        self.x_at = (samples * x_strides[0] + groups * x_strides[1]).ravel()
        self.out_at = (samples * out_strides[0] + groups * out_strides[1]).ravel()
        weights = len(self.order.elements) + (form in DOTS)
        of_group = groups * weights * np.dtype(form.sums).itemsize
        self.w_at = np.broadcast_to(of_group, (problem.batch, problem.groups)).ravel()
        self.source = Source(problem.input_dtype, self.x_strides, np.dtype(problem.input_dtype).itemsize, pixel)
        self.tiles = list(_tiles(self.windows, form))
        self.store = address_of(interleave.Interleave(form.sums, out_dtype, form.group, fit))

    def program(self) -> Program:
        pieces = [[*self.bring_in(tile), *self.sum(tile), *self.store_sums(tile)] for tile in self.tiles]
        return join(pieces, self.tables.array(), max(tile.bytes(self.form) for tile in self.tiles))

    def bring_in(self, tile: _Tile) -> list[Steps]:
        """The tile's samples, its boundary among them, in scratch memory."""
        positions = [touched(window, outputs) for window, outputs in zip(self.windows, tile.read, strict=True)]
        return packing(
            self.tables, self.windows, positions, self.source, tile.packed, self.form.sample, self.problem.fill,
            self.x_at,
        )  # fmt: skip

    def sum(self, tile: _Tile) -> Iterator[Steps]:
        """Sums of every phase."""
        windows, form = self.windows, self.form
        *leading, rows = (hi - lo for lo, hi in tile.box[:-1])
        columns = -(-(tile.box[-1][1] - tile.box[-1][0]) // form.group)
        elements = [touched_elements(window) for window in windows]
        elements[-1] = elements[-1][:: form.group]
        moves = [touched_stride(window) * s for window, s in zip(windows, tile.packed.strides)]
        offsets = [tile.packed.along(axis, along) for axis, along in enumerate(elements)]
        taps_at = self.tables.add(taps(self.order, offsets))
        # Rows a dilation apart form an image of their own, whose kernel rows are neighbours.
        across, along = windows[-2], windows[-1]
        images = across.dilation // math.gcd(across.dilation, across.stride)
        for index in product(*map(range, leading)):
            x_shift = sum(i * move for i, move in zip(index, moves))
            sums = tile.sums + sum(i * s for i, s in zip(index, tile.strides))
            for image in range(min(images, rows)):
                yield kernel.ARGUMENTS.steps(
                    self.order.address, len(self.x_at), lead=0, out=(SCRATCH, sums + image * tile.strides[-2]),
                    x=(SCRATCH, x_shift + image * moves[-1]), w=(KERNEL, self.w_at), taps=(TABLES, taps_at),
                    planes=form.group, rows=-(-(rows - image) // images), columns=columns, blocks=self.order.full,
                    last_blocks=len(self.order.blocks) - self.order.full, out_plane=tile.phase, x_plane=form.item,
                    w_plane=0, out_row=images * tile.strides[-2], x_row=images * moves[-1],
                    x_step=along.dilation // math.gcd(along.dilation, along.stride) * form.item * form.group,
                )  # fmt: skip

    def store_sums(self, tile: _Tile) -> Iterator[Steps]:
        """The phases brought together and stored."""
        *leading, rows, columns = (hi - lo for lo, hi in tile.box)
        begin = self.out_at + sum(lo * s for (lo, _), s in zip(tile.box, self.out_strides, strict=True))
        for index in product(*map(range, leading)):
            yield interleave.ARGUMENTS.steps(
                self.store, len(self.x_at),
                out=(OUT, begin + sum(i * s for i, s in zip(index, self.out_strides))),
                sums=(SCRATCH, tile.sums + sum(i * s for i, s in zip(index, tile.strides))), status=(STATUS, 0),
                planes=1, out_plane=0, sums_plane=0, rows=rows, out_row=self.out_strides[-2],
                sums_row=tile.strides[-2], phase=tile.phase, columns=columns,
            )  # fmt: skip
