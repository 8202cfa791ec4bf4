"""Depthwise convolution with channels side by side, as a program: what is done for each tile of outputs.

Where the channels of an array lie side by side they are read, or written, where they are. Otherwise some of them are
turned into scratch memory, vectors of channels pixel by pixel, and sums are turned back on their way out. Upsampled
problems are done phase by phase, all phases of a tile in one place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.channelwise_weights import Piece, pieces, weights_of
from convkit.algorithms.support.finishing import ending_of
from convkit.algorithms.support.packing import LINE, item_bytes, places
from convkit.algorithms.support.planes import Box, Strides, space, with_rows
from convkit.algorithms.support.register_tiles import cuts, largest
from convkit.codegen import channelwise, gather, transpose, unpack
from convkit.codegen import groups as groups_of
from convkit.codegen.channelwise import HEAD, Channelwise, held, most_pixels, positions
from convkit.codegen.groups import Groups
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.pack import FILL, ZEROS
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.planner.problem import Problem
from convkit.spec.window import Window

Offsets = NDArray[np.int64]

PROGRAM_STEPS = 1 << 13
"""Steps of a program beyond which it is run several times, for some of the samples each."""

TASK_PRODUCTS = 1 << 17
"""Products of a task at least: some microseconds, many times what handing it out takes."""

TASKS = 8
"""Tasks that a sample should have, as far as they are of that size."""

TILE_BYTES = 1 << 17
"""Bytes of a tile's samples, and of its sums, that are turned in scratch memory."""

TURNED, IN_PLACE = 2, 16
"""Vectors of channels that are done together: turned, or where they lie."""

GAP = 16
"""Columns that no output needs, up to which they are turned with their neighbours."""

AHEAD, STREAMED = 1 << 22, 1 << 23
"""Bytes of samples and results from which samples are asked for before they are needed; of results from which they are
written past the caches."""

BIAS = 5
"""The base under which the bias lies."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How samples are read, and results written.

    Attributes
    ----------
    read, write : bool
        Where they lie, rather than turned.
    reads, results : str
        As in `Channelwise`.
    """

    read: bool
    write: bool
    reads: Literal["plain", "ahead"] = "plain"
    results: Literal["cached", "streamed"] = "cached"

    @classmethod
    def of(cls, problem: Problem, x_strides: Strides, out_strides: Strides, out_at: int) -> Ways:
        """Channels side by side are read and written where they lie; ``out_at`` is the address of the result."""
        item, vector = item_bytes(problem.compute_dtype), this_machine().vector_bytes
        lone = problem.groups == 1
        read, write = x_strides[1] == item or lone, out_strides[1] == item or lone
        results = item * math.prod(problem.output_shape)
        far = read and item * math.prod(problem.input_shape) + results >= AHEAD
        sizes = problem.output_shape
        strides = [stride for axis, stride in enumerate(out_strides) if axis != 1 and sizes[axis] > 1]
        aligned = all(number % vector == 0 for number in (out_at, *strides))
        past = write and aligned and results >= STREAMED and item * problem.groups % vector == 0
        return cls(read, write, "ahead" if far else "plain", "streamed" if past else "cached")

    @property
    def vectors(self) -> int:
        """Vectors of channels that are done together at most."""
        return IN_PLACE if self.read and self.write else TURNED


@lru_cache(maxsize=256)
def boxes(problem: Problem, vectors: int) -> tuple[Box, ...]:
    """The outputs of every tile; neither threads nor the batch have a say in it."""
    windows, lanes = with_rows(problem.windows), lanes_of(this_machine(), problem.compute_dtype)
    channels = min(problem.groups, vectors * lanes)
    chunks = -(-problem.groups // channels)
    work = max(1, problem.terms * problem.out_channels * channels // math.prod(w.up for w in windows))
    room = max(TASK_PRODUCTS // work, -(-problem.outputs * chunks // TASKS), 64)
    if vectors == TURNED:
        strides = math.prod(min(w.stride, w.reach) for w in windows) * max(problem.in_channels, problem.out_channels)
        room = min(room, max(64, TILE_BYTES // (item_bytes(problem.compute_dtype) * channels * strides)))
    lengths: list[int] = []
    for window in reversed(windows):
        lengths.append(largest(window.count, max(1, room)))
        room //= lengths[-1]
    lengths.reverse()
    return tuple(product(*(cuts(w.count, n) for w, n in zip(windows, lengths, strict=True))))


@lru_cache(maxsize=256)
def samples_at_once(problem: Problem, ways: Ways) -> int:
    """For how many samples one program is made, so that it stays small however many there are."""
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    chunks = -(-problem.groups // (ways.vectors * lanes))
    of_phase = len(pieces(problem.windows)) + 2 * ways.vectors
    steps = chunks * len(boxes(problem, ways.vectors)) * of_phase * problem.out_channels * problem.in_channels
    return max(1, min(problem.batch, PROGRAM_STEPS // steps))


@lru_cache(maxsize=256)
def program(problem: Problem, x_strides: Strides, out_strides: Strides, ways: Ways) -> Program:
    """Everything about a call but its arrays."""
    tables = Tables()
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    tasks: list[list[Steps]] = []
    scratch = 0
    for box in boxes(problem, ways.vectors):
        tile = Tile(problem, ways, tables, box, x_strides, out_strides)
        for lo, hi in cuts(-(-problem.groups // lanes), ways.vectors):
            tasks.append(tile.steps(lo * lanes, min(hi * lanes, problem.groups)))
        scratch = max(scratch, tile.bytes)
    return join(tasks, tables.array(), scratch)


@lru_cache(maxsize=256)
def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs at most."""
    item, box = item_bytes(problem.compute_dtype), boxes(problem, TURNED)[0]
    strides = 0, problem.out_channels * item, item, *(0 for _ in problem.windows)
    return Tile(problem, Ways(False, False), Tables(), box, strides, strides).bytes


class Axis:
    """What outputs along one axis meet: positions, and the samples that stand there."""

    def __init__(self, window: Window, outputs: range) -> None:
        self.window, self.outputs = window, outputs
        first = window.start + outputs.start * window.stride
        last = window.start + (outputs.stop - 1) * window.stride + window.reach
        (rows, columns) = places((window,), [np.arange(first, last, dtype=np.int64)], (1,))
        self.first, self.index = first, columns + 0 * rows
        counts = np.arange(len(outputs), dtype=np.int64) * window.stride
        elements = np.arange(window.kernel, dtype=np.int64) * window.dilation
        self.samples = self.index[counts[:, None] + elements]
        """The sample of each output and kernel element, or a mark."""

    def needed(self) -> Offsets:
        """The samples that any output meets."""
        return np.unique(self.samples[self.samples >= 0])


class Tile:
    """The steps of one box of outputs, for every sample of the batch and some groups."""

    def __init__(
        self, problem: Problem, ways: Ways, tables: Tables, box: Box, x_strides: Strides, out_strides: Strides,
        vectors: int = 0, gradient: bool = False,
    ) -> None:  # fmt: skip
        self.problem, self.ways, self.tables, self.box = problem, ways, tables, box
        self.x_strides, self.out_strides = x_strides, out_strides
        self.gradient = gradient
        self.dtype, self.item = problem.compute_dtype, item_bytes(problem.compute_dtype)
        self.lanes, self.vector = lanes_of(this_machine(), self.dtype), this_machine().vector_bytes
        self.samples = np.arange(problem.batch, dtype=np.int64)
        self.pixel = min(vectors or ways.vectors, -(-problem.groups // self.lanes)) * self.vector
        self.pieces: list[tuple[int, Piece, list[range], list[Axis]]] = []
        for number, piece in enumerate(pieces(problem.windows)):
            outputs = piece.outputs(box)
            if all(map(len, outputs)):
                axes = [Axis(w, along) for w, along in zip(piece.windows, outputs, strict=False)]
                self.pieces.append((number, piece, outputs, axes))
        self.counts = [hi - lo for lo, hi in box]
        self.bytes = self._lay_out()

    def _lay_out(self) -> int:
        """Where everything lies in scratch memory, and how much that is: addresses, samples, sums."""
        most = 1
        for _, piece, _, axes in self.pieces:
            if axes:
                along = held(len(self._positions(axes[-1])))
                most = max(most, piece.kernel[0] * self.problem.in_channels * along)
        self.samples_at = -(-8 * most // LINE) * LINE + LINE
        self.needed: list[Offsets] = []
        for axis in range(len(self.box)):
            all_of = [axes[axis].needed() for *_, axes in self.pieces if axes]
            found = np.unique(np.concatenate(all_of)) if all_of else np.zeros(0, np.int64)
            self.needed.append(_filled(found) if axis == len(self.box) - 1 else found)
        sizes = [len(found) for found in self.needed]
        self.channel = math.prod(sizes) * self.pixel
        self.packed = [self.pixel * math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
        self.sums_at = self.samples_at + (0 if self.ways.read else self.channel * self.problem.in_channels + LINE)
        self.sums = [self.pixel * math.prod(self.counts[axis + 1 :]) for axis in range(len(self.counts))]
        self.sums_bytes = 0 if self.ways.write else math.prod(self.counts) * self.pixel + LINE
        # Sums of one output channel after another have one place; where all are wanted, each has its own.
        self.apart = self.put_together or self.gradient
        self.turned_at = self.sums_at + self.sums_bytes * (self.problem.out_channels if self.apart else 1)
        return self.turned_at + self.sums_bytes

    @property
    def put_together(self) -> bool:
        """Whether the channels of a group lie side by side in the result, and groups do."""
        return _side_by_side(self.out_strides, self.problem.out_channels, self.item)

    def _positions(self, axis: Axis, pixels: int = 0) -> list[int]:
        window = axis.window
        return positions(pixels or self._pixels(axis), window.kernel, window.stride, window.dilation)

    def _pixels(self, axis: Axis) -> int:
        return largest(len(axis.outputs), max(1, most_pixels(this_machine(), axis.window.kernel)))

    def steps(self, lo: int, hi: int) -> list[Steps]:
        """All of them, in order, for the groups from ``lo`` to ``hi``."""
        found: list[Steps] = []
        x = self.samples * self.x_strides[0] + lo * self.x_strides[1]
        out = self.samples * self.out_strides[0] + lo * self.out_strides[1]
        out = out + sum(first * s for (first, _), s in zip(self.box, space(self.out_strides), strict=True))
        if not self.ways.read:
            found += self.lay_samples(x, hi - lo)
        for o in range(self.problem.out_channels):
            at = out + o * self.out_strides[2]
            for piece in self.pieces:
                found.append(self.multiply_add(*piece, x, at, o, lo, hi))
            if not self.ways.write and not self.put_together:
                found += self.turn_out(at, hi - lo)
        return [*found, *self.put(out, hi - lo)] if self.put_together and not self.ways.write else found

    # -------------------------------------------------------------------------------------------------- the way in

    def turn_in(
        self, base: int, x: Offsets, strides: Strides, needed: list[Offsets], to: int, packed: list[int], groups: int
    ) -> list[Steps]:  # fmt: skip
        """Lay some samples of one channel of every group down, pixel by pixel."""
        along = space(strides)
        *outer, rows, columns = needed
        found: list[Steps] = []
        for index in product(*(range(len(axis)) for axis in outer)):
            at = sum(int(axis[i]) * s for axis, i, s in zip(outer, index, along, strict=False))
            place = to + sum(i * s for i, s in zip(index, packed, strict=False))
            for (row, row_count), (column, column_count) in product(_runs(rows), _runs(columns)):
                begin = at + int(rows[row]) * along[-2] + int(columns[column]) * along[-1]
                there = place + row * packed[-2] + column * packed[-1]
                for v in range(-(-groups // self.lanes)):
                    moved = base, x + begin + v * self.lanes * strides[1]
                    lanes = min(self.lanes, groups - v * self.lanes)
                    found.append(
                        self._turned(
                            moved, strides, there + v * self.vector, packed[-2], lanes, row_count, column_count
                        )
                    )
        return found

    def _turned(
        self, x: tuple[int, Offsets], strides: Strides, to: int, to_row: int, lanes: int, rows: int, columns: int
    ) -> Steps:  # fmt: skip
        *_, x_row, x_column = space(strides)
        if x_column != self.item and columns > 1:
            rows_at = self.tables.add(np.arange(lanes, dtype=np.int64) * strides[1])
            terms_at = self.tables.add(np.arange(columns, dtype=np.int64) * x_column)
            return gather.ARGUMENTS.steps(
                address_of(gather.Gather(self.dtype)), len(x[1]), to=(SCRATCH, to), x=x, planes=rows, terms=columns,
                to_plane=to_row, x_plane=x_row, rows=lanes, to_row=self.pixel, rows_at=(TABLES, rows_at),
                terms_at=(TABLES, terms_at),
            )  # fmt: skip
        if columns * self.item == x_row and columns * self.pixel == to_row:  # one long row
            rows, columns = 1, rows * columns
        return transpose.ARGUMENTS.steps(
            address_of(transpose.Transpose(self.dtype)), len(x[1]), to=(SCRATCH, to), x=x, planes=rows, rows=lanes,
            to_plane=to_row, x_plane=x_row, columns=columns, width=self.lanes, to_row=self.pixel, x_row=strides[1],
        )  # fmt: skip

    def lay_samples(self, x: Offsets, groups: int) -> list[Steps]:
        """Lay the samples of all channels of every group down."""
        where = self.samples_at, self.packed, self.channel
        return self.lay(X, x, self.x_strides, self.problem.in_channels, self.needed, *where, groups)

    def lay_gradient(self, g: Offsets, groups: int) -> list[Steps]:
        """Lay the gradient of all output channels of every group down where their sums would be."""
        box = [np.arange(lo, hi, dtype=np.int64) for lo, hi in self.box]
        where = self.sums_at, self.sums, self.sums_bytes
        return self.lay(KERNEL, g, self.out_strides, self.problem.out_channels, box, *where, groups)

    def lay(
        self, base: int, x: Offsets, strides: Strides, channels: int, needed: list[Offsets], to: int,
        packed: list[int], channel: int, groups: int,
    ) -> list[Steps]:  # fmt: skip
        """Lay channels down one by one, or all at once where they lie side by side in every pixel."""
        if not all(len(found) for found in needed):
            return []
        if not _side_by_side(strides, channels, self.item):
            return [
                step
                for c in range(channels)
                for step in self.turn_in(base, x + c * strides[2], strides, needed, to + c * channel, packed, groups)
            ]
        *outer, rows, columns = needed
        along, found = space(strides), list[Steps]()
        kernel = Groups(self.dtype, channels, "apart")
        for index in product(*(range(len(axis)) for axis in outer)):
            at = sum(int(axis[i]) * s for axis, i, s in zip(outer, index, along, strict=False))
            place = to + sum(i * s for i, s in zip(index, packed, strict=False))
            for (row, row_count), (column, column_count) in product(_runs(rows), _runs(columns)):
                begin = at + int(rows[row]) * along[-2] + int(columns[column]) * along[-1]
                found.append(
                    groups_of.ARGUMENTS.steps(
                        address_of(kernel), len(x), to=(SCRATCH, place + row * packed[-2] + column * self.pixel),
                        x=(base, x + begin), rows=row_count, to_row=packed[-2], x_row=along[-2], groups=groups,
                        pixels=column_count, to_pixel=self.pixel, x_pixel=along[-1], channel=channel,
                        vector=self.vector,
                    )
                )  # fmt: skip
        return found

    # ------------------------------------------------------------------------------------------------ the arithmetic

    def sums_of(self, channel: int) -> int:
        """Where the sums of an output channel are formed in scratch memory."""
        return self.sums_at + (channel * self.sums_bytes if self.apart else 0)

    def multiply_add(
        self, number: int, piece: Piece, outputs: list[range], axes: list[Axis], x: Offsets, out: Offsets, o: int,
        lo: int, hi: int,
    ) -> Steps:  # fmt: skip
        """The outputs of one phase."""
        problem, cut, ways = self.problem, weights_of(self.problem), self.ways
        rows, columns = piece.kernel if piece.windows else (0, 1)
        pixels = self._pixels(axes[-1]) if axes else largest(len(outputs[-1]), most_pixels(this_machine(), 1))
        starts = [min(at, len(outputs[-1]) - pixels) for at in range(0, len(outputs[-1]), pixels)]
        first, moves, tables = self.geometry(piece, outputs, axes, starts, pixels)
        edge, channels = self.edge(hi - lo)
        last = piece.windows[-1] if piece.windows else Window(1, 1, 1)
        schedule = Channelwise(
            self.dtype, self.lanes, pixels, columns, last.stride, last.dilation, edge, ways.reads, ways.results,
            ending_of(problem.epilogue, "channel"),
        )  # fmt: skip
        terms = rows * columns * problem.in_channels * self.vector
        return channelwise.ARGUMENTS.steps(
            address_of(schedule), len(x), bias=(BIAS, lo * self.item), channels=channels, out_pixel=moves[-1],
            ahead=pixels * last.stride * space(self.x_strides)[-1], w_vector=terms, **tables, **self.blank(channels),
            out=(OUT, out + first) if ways.write else (SCRATCH, self.sums_of(o) + first),
            x=(X, x) if ways.read else (SCRATCH, self.samples_at),
            w=(KERNEL, cut.begins[number] + (o * cut.vectors + lo // self.lanes) * terms),
        )  # fmt: skip

    def geometry(
        self, piece: Piece, outputs: list[range], axes: list[Axis], starts: list[int], pixels: int
    ) -> tuple[int, list[int], dict[str, Any]]:
        """Where the first output lies, how far apart they are along each axis, and the tables of rows and tiles."""
        to = space(self.out_strides) if self.ways.write else tuple(self.sums)
        moves = [step * stride for (_, step), stride in zip(piece.targets, to, strict=True)]
        first = sum(
            (along.start * step + begin - lo) * stride
            for along, (begin, step), (lo, _), stride in zip(outputs, piece.targets, self.box, to, strict=True)
        )
        tiles, marked = self._tiles(axes, starts, pixels, moves[-1])
        channels = 1 if self.gradient else self.problem.in_channels
        rows = self._rows(outputs, axes, moves, *(piece.kernel if piece.windows else (0, 1)), marked, channels)
        return first, moves, {
            "rows_at": (TABLES, self.tables.add(rows)), "row_step": rows.shape[1] * 8, "rows": len(rows),
            "tiles_at": (TABLES, self.tables.add(tiles)), "tiles": len(starts), "places": (SCRATCH, 0),
        }  # fmt: skip

    def edge(self, groups: int) -> tuple[Literal["whole", "masked"], int]:
        """Whether the last channels are masked, as they are outside scratch memory, and how many are done."""
        if groups % self.lanes and (self.ways.read or self.ways.write):
            return "masked", groups
        return "whole", -(-groups // self.lanes) * self.lanes

    def blank(self, channels: int) -> dict[str, Any]:
        """What marks stand for."""
        fill = np.full(channels, self.problem.fill.real, self.dtype)
        both = {"zeros": np.zeros(channels, self.dtype), "fill": fill}
        return {name: (TABLES, self.tables.add(_words(numbers))) for name, numbers in both.items()}

    def _along(self, axis: int, samples: Offsets, strides: Strides) -> Offsets:
        """How far samples along an axis lie from the first, in bytes; marks stay."""
        found = samples if self.ways.read else np.searchsorted(self.needed[axis], samples)
        return np.where(samples <= FILL, samples, found * strides[axis])

    def _tiles(self, axes: list[Axis], starts: list[int], pixels: int, move: int) -> tuple[Offsets, bool]:
        """The table of tiles, and whether any of their positions holds the fill."""
        strides = space(self.x_strides) if self.ways.read else tuple(self.packed)
        words = held(len(self._positions(axes[-1], pixels)) if axes else pixels)
        table = np.zeros((len(starts), 1 + words), np.int64)
        table[:, 0] = np.array(starts, np.int64) * move
        if not axes:
            return table, False
        axis = axes[-1]
        index = np.array(starts, np.int64)[:, None] * axis.window.stride + np.array(
            self._positions(axis, pixels), np.int64
        )
        table[:, 1 : 1 + index.shape[1]] = self._along(len(axes) - 1, axis.index[index], strides)
        return table, bool((table == FILL).any())

    def _rows(
        self, outputs: list[range], axes: list[Axis], moves: list[int], kernel_rows: int, columns: int, marked: bool,
        in_channels: int,
    ) -> Offsets:  # fmt: skip
        """The table of rows."""
        strides = space(self.x_strides) if self.ways.read else tuple(self.packed)
        channel = self.x_strides[2] if self.ways.read else self.channel
        lengths = [len(along) for along in outputs[:-1]]
        table = np.zeros((math.prod(lengths), HEAD + kernel_rows * in_channels), np.int64)
        for n, index in enumerate(np.ndindex(*lengths)):
            table[n, 0] = sum(i * move for i, move in zip(index, moves, strict=False))
            if not axes:
                continue
            at = np.zeros(1, np.int64)
            for number, (i, axis) in enumerate(zip(index, axes, strict=False)):
                here, there = self._along(number, axis.samples[i], strides)[None, :], at[:, None]
                outside = np.where(here <= FILL, here, there)
                at = np.where((here <= FILL) | (there <= FILL), outside, there + here).ravel()
            channels = np.arange(in_channels, dtype=np.int64)[:, None] * channel
            at = np.where(at <= FILL, at, channels + at).ravel()
            met = np.nonzero((at != ZEROS) | marked)[0]
            # Rows of zeros are left out, where those that are not lie side by side.
            first, last = (int(met[0]), int(met[-1]) + 1) if len(met) else (0, 0)
            table[n, 1:HEAD] = last - first, first * columns * self.vector
            table[n, HEAD : HEAD + last - first] = at[first:last]
        return table

    # ------------------------------------------------------------------------------------------------- the way out

    def turn_out(self, out: Offsets, groups: int) -> list[Steps]:
        """Store the sums of one channel of every group."""
        *outer, rows, columns = self.counts
        along = space(self.out_strides)
        found: list[Steps] = []
        for index in product(*map(range, outer)):
            at = out + sum(i * s for i, s in zip(index, along, strict=False))
            sums = self.sums_at + sum(i * s for i, s in zip(index, self.sums, strict=False))
            for v in range(-(-groups // self.lanes)):
                channels = min(self.lanes, groups - v * self.lanes)
                moved = at + v * self.lanes * self.out_strides[1]
                found += self._stored(moved, sums + v * self.vector, channels, rows, columns)
        return found

    def put(self, out: Offsets, groups: int) -> list[Steps]:
        """Store the sums of all channels of every group, side by side in every pixel."""
        *outer, rows, columns = self.counts
        along, found = space(self.out_strides), list[Steps]()
        kernel = Groups(self.dtype, self.problem.out_channels, "together")
        for index in product(*map(range, outer)):
            at = out + sum(i * s for i, s in zip(index, along, strict=False))
            sums = self.sums_at + sum(i * s for i, s in zip(index, self.sums, strict=False))
            found.append(
                groups_of.ARGUMENTS.steps(
                    address_of(kernel), len(out), to=(OUT, at), x=(SCRATCH, sums), rows=rows, to_row=along[-2],
                    x_row=self.sums[-2], pixels=columns, to_pixel=along[-1], x_pixel=self.pixel, groups=groups,
                    channel=self.sums_bytes, vector=self.vector,
                )
            )  # fmt: skip
        return found

    def _stored(self, out: Offsets, sums: int, channels: int, rows: int, columns: int) -> list[Steps]:
        *_, out_row, out_column = space(self.out_strides)
        if out_column != self.item and columns > 1:
            count = rows * columns
            turned = transpose.ARGUMENTS.steps(
                address_of(transpose.Transpose(self.dtype)), len(out), to=(SCRATCH, self.turned_at), x=(SCRATCH, sums),
                planes=1, rows=count, to_plane=0, x_plane=0, columns=channels, width=count, to_row=count * self.item,
                x_row=self.pixel,
            )  # fmt: skip
            kernel = unpack.Unpack(self.dtype, self.dtype, "strided")
            stored = unpack.ARGUMENTS.steps(
                address_of(kernel), len(out), out=(OUT, out), sums=(SCRATCH, self.turned_at), planes=channels,
                imaginary=(SCRATCH, self.turned_at), out_plane=self.out_strides[1], sums_plane=count * self.item,
                rows=rows, out_row=out_row, sums_row=columns * self.item, columns=columns, out_step=out_column,
            )  # fmt: skip
            return [turned, stored]
        planes = rows
        if columns * self.item == out_row or rows == 1:  # one long row
            planes, columns = 1, rows * columns
        return [
            transpose.ARGUMENTS.steps(
                address_of(transpose.Transpose(self.dtype)), len(out), to=(OUT, out), x=(SCRATCH, sums), planes=planes,
                rows=columns, to_plane=out_row, x_plane=self.sums[-2], columns=channels, width=columns,
                to_row=self.out_strides[1], x_row=self.pixel,
            )
        ]  # fmt: skip


def _side_by_side(strides: Strides, channels: int, item: int) -> bool:
    return channels > 1 and strides[2] == item and strides[1] == channels * item


def _words(numbers: NDArray[Any]) -> Offsets:
    """Numbers as the words of a table."""
    return np.frombuffer(numbers.tobytes().ljust(-(-numbers.nbytes // 8) * 8, b"\0"), np.int64)


def _filled(samples: Offsets) -> Offsets:
    """Samples in order, with those between them where only few are missing."""
    if not len(samples):
        return samples
    parts = [
        np.arange(samples[begin], samples[begin + count - 1] + 1, dtype=np.int64)
        for begin, count in _runs(samples, GAP)
    ]
    return np.concatenate(parts)


def _runs(samples: Offsets, gap: int = 1) -> Iterator[tuple[int, int]]:
    """Samples in order as runs of neighbours no more than ``gap`` apart: (the first one's number, how many)."""
    ends = [*(np.nonzero(np.diff(samples) > gap)[0] + 1).tolist(), len(samples)]
    begin = 0
    for end in ends:
        yield begin, end - begin
        begin = end
