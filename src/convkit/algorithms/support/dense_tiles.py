"""Convolution that sums over channels, as a program: what is done for each tile of outputs, step by step.

Samples are laid down as `planes`. Where vectors hold pixels, all rows of a tile are one row of pixels; the few between
the end of a row of outputs and the beginning of the next are computed and never stored. Where there are few terms to a
sum, that passage through scratch memory would take as long as they do: each row of outputs is stored where it stands.
Where vectors hold output channels, sums are turned around on their way out, unless the result has its channels side by
side too.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.dense_blocks import Blocking, blocking
from convkit.algorithms.support.dense_samples import (
    PIXELS,
    Found,
    Layout,
    Samples,
    layout_of,
    of_numbers,
    of_vectors,
)
from convkit.algorithms.support.finishing import ending_of
from convkit.algorithms.support.halves import readable
from convkit.algorithms.support.packing import LINE, item_bytes, touched_stride, unpacking
from convkit.algorithms.support.planes import Box, Planes, Strides, offsets, space
from convkit.algorithms.support.register_tiles import cuts, largest, pieces, shared
from convkit.algorithms.support.strips import WHOLE, Bases
from convkit.codegen import dense, dense_channels, finish, transpose
from convkit.codegen.dense import Dense
from convkit.codegen.dense_channels import DenseChannels
from convkit.codegen.epilogue import NO_ENDING, Ending
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.memory import type_name
from convkit.codegen.numbers import stored_as
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import ADD, OUT, SCRATCH, TABLES, Steps, X
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem
from convkit.spec.window import Window

PROGRAM_STEPS = 1 << 13
"""Steps of a program beyond which it is run several times, for some of the samples each."""

STREAMED = 1 << 23
"""Bytes of a result from which it is written past the caches: reading what is overwritten would take as long."""

Offsets = NDArray[np.int64]
Results = Literal["cached", "streamed"]


@lru_cache(maxsize=256)
def samples_at_once(problem: Problem) -> int:
    """For how many samples one program is made, so that it stays small however many there are."""
    cut = blocking(problem)
    planes = math.prod(min(touched_stride(window), 64) for window in cut.windows)
    parts = len(cut.boxes) * cut.splits * -(-problem.in_channels // cut.channels)
    segments = math.prod(cut.lengths[:-2])
    return max(1, min(problem.batch, PROGRAM_STEPS // (problem.groups * parts * (planes + 3 * segments))))


@lru_cache(maxsize=256)
def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs at most, for arrays in memory order."""
    cut, item = blocking(problem), item_bytes(problem.input_dtype)
    strides = tuple(item * math.prod(problem.input_shape[axis + 1 :]) for axis in range(len(problem.input_shape)))
    return tile_of(problem, cut, Tables(), cut.boxes[0], strides, PIXELS).bytes


@lru_cache(maxsize=256)
def program(
    problem: Problem, x_strides: Strides, out_strides: Strides, out_dtype: str, results: Results = "cached",
    w_strides: Strides | None = None,
) -> Program:  # fmt: skip
    """Everything about a call but its arrays; weights are in the order of `blocking` for the arrays' layout.

    ``results``: whether they may be written past the caches; ``w_strides``: those of weights that are read in place.
    """
    layout = layout_of(problem, x_strides, out_strides)
    tables, cut = Tables(), blocking(problem, layout)
    tiles = [tile_of(problem, cut, tables, box, x_strides, layout, w_strides) for box in cut.boxes]
    tasks = [
        tile.steps(x_strides, out_strides, out_dtype, blocks, results)
        for tile in tiles
        for blocks in cuts(sum(count for _, count in cut.blocks), cut.blocks_a_task)
    ]
    return join(tasks, tables.array(), max(tile.bytes for tile in tiles))


def read_in_place(problem: Problem, kernel: Array, layout: Layout) -> bool:
    """Whether weights for one call lie as the register tile reads them: output channels side by side, term by term."""
    cut, item = blocking(problem, layout), item_bytes(problem.compute_dtype)
    fits = cut.vectors_of == "channels" and problem.taps == 1 and problem.out_channels % cut.lanes == 0
    return problem.kernel_is == "fresh" and fits and kernel.dtype == problem.compute_dtype and kernel.strides[1] == item


def ends(problem: Problem, out: Array, add: Array | None) -> bool:
    """Whether a program can do the epilogue as it stores: where the result's pixels or channels lie side by side."""
    along, item = space(out.strides), out.itemsize
    placed = readable(type_name(out.dtype), problem.compute_dtype) and item in (along[-1], out.strides[2])
    alike = add is None or all(
        there * item == here * add.itemsize for there, here in zip(add.strides, out.strides, strict=True)
    )
    return placed and alike


def results_of(problem: Problem, out_at: int) -> Results:
    """Whether a result that begins at this address may be written past the caches."""
    bytes_ = math.prod(problem.output_shape) * item_bytes(problem.compute_dtype)
    return "streamed" if bytes_ >= STREAMED and out_at % this_machine().vector_bytes == 0 else "cached"


def tile_of(
    problem: Problem, cut: Blocking, tables: Tables, outputs: Box, x_strides: Strides, layout: Layout,
    w_strides: Strides | None = None, bases: Bases = WHOLE,
) -> Tile:  # fmt: skip
    """The steps of one tile of outputs."""
    if cut.vectors_of == "pixels":
        planes = Planes(cut.windows, outputs, problem.compute_dtype)
        samples = of_vectors(problem, cut.windows, outputs, planes, cut.channels, x_strides)
        return _PixelTile(problem, cut, tables, outputs, samples, bases, planes)
    channels = cut.channels, problem.in_channels
    samples = of_numbers(problem, cut.windows, outputs, channels, x_strides, layout)
    return _ChannelTile(problem, cut, tables, outputs, samples, bases, w_strides)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Where the sums of a tile are formed.

    Attributes
    ----------
    base : int
        The base that they are found from.
    at : ndarray of int
        The first of each sample and group.
    row : int
        Bytes from row to row of the register tile.
    strides : tuple of int
        Bytes along the axes: those before the last two, where vectors hold pixels.
    results : {"cached", "streamed"}
        Whether they may be written past the caches.
    place : {"result", "apart"}
        Whether this is where the result stands.
    """

    base: int
    at: Offsets
    row: int
    strides: Strides
    results: Results = "cached"
    place: Literal["result", "apart"] = "apart"

    @property
    def final(self) -> bool:
        """Whether this is where the result stands."""
        return self.place == "result"


class Tile(ABC):
    """The steps of one tile, for every sample and group: samples laid down, multiplied and added, the sums stored."""

    bytes: int
    sums_row: int
    sums_along: Strides = ()
    stored: str
    """The type of the result."""

    def __init__(
        self, problem: Problem, cut: Blocking, tables: Tables, outputs: Box, samples: Samples, bases: Bases
    ) -> None:  # fmt: skip
        self.bases = bases
        self.problem, self.cut, self.tables, self.outputs = problem, cut, tables, outputs
        self.dtype = problem.compute_dtype
        self.item, self.lanes = item_bytes(self.dtype), cut.lanes
        self.laid, self.sums_at = samples, samples.bytes + LINE
        self.counts = [hi - lo for lo, hi in outputs]
        self.leading = cut.windows[0].kernel  # runs of terms for each channel, see `dense_blocks.Run`
        batch, groups = np.arange(problem.batch)[:, None], np.arange(problem.groups)[None]
        self.samples, self.groups = (batch + 0 * groups).ravel(), (0 * batch + groups).ravel()
        self.bias_at = self.groups * problem.out_channels * self.item

    def steps(
        self, x_strides: Strides, out_strides: Strides, out_dtype: str, blocks: Range, results: Results
    ) -> list[Steps]:  # fmt: skip
        """All of them, in order, for some of the blocks of output channels."""
        problem, self.stored = self.problem, out_dtype
        x_at = self.samples * x_strides[0] + self.groups * x_strides[1]
        first, last = (min(problem.out_channels, self.cut.before(block)) for block in blocks)
        along = space(out_strides)
        out_at = self.samples * out_strides[0] + self.groups * out_strides[1] + first * out_strides[2]
        out_at += sum(lo * stride for (lo, _), stride in zip(self.outputs, along, strict=True))
        if out_dtype == self.dtype and self.stored_at_once(along, out_strides[2]):
            base, place = self.bases.out
            sums = _Sums(base, out_at + place, out_strides[2], along, results, "result")
        else:
            sums = _Sums(SCRATCH, self.sums_at + 0 * out_at, self.sums_row, self.sums_along)
        found: list[Steps] = []
        for channels in cuts(problem.in_channels, self.cut.channels):
            laying, where = self.laid.lay(self.tables, x_at, channels)
            if where.base == X:
                base, place = self.bases.x
                where = replace(where, base=base, at=where.at + place)
            terms = where.terms.reshape(channels[1] - channels[0], self.leading, -1).swapaxes(0, 1).ravel()
            found += [*laying, *self.multiply_add(replace(where, terms=terms), sums, channels, blocks)]
        if sums.final:
            return found
        return found + self.store(out_at, (first, last), out_strides[2], along, out_dtype)

    def way(self, sums: _Sums, channels: Range, *places: int | Offsets) -> Results:
        """Whether sums that begin at ``places`` are written past the caches: if they are whole vectors and final."""
        vector = self.lanes * self.item
        whole = channels == (0, self.problem.in_channels) and all(np.all(place % vector == 0) for place in places)
        return sums.results if whole else "cached"

    def weights(self, block: int, channel: int, size: int) -> Offsets:
        """How far the weights of a block of ``size`` output channels lie from the first, from an input channel on."""
        terms = self.cut.before(block) * self.problem.terms + channel * self.problem.taps * size
        return (self.groups * self.cut.weights(self.problem) + terms) * self.item

    def ending(self, bias: str, channels: Range | None = None) -> Ending:
        """What becomes of the sums when those of some input channels are added; of all of them if none are named."""
        if channels is not None and channels[1] != self.problem.in_channels:
            return NO_ENDING
        return ending_of(self.problem.epilogue, bias)

    def operands(self, at: Offsets, channel: int) -> dict[str, tuple[int, Offsets]]:
        """Where the operands of an epilogue lie for a place in the result, from an output channel on."""
        return {"bias": (self.bases.bias, self.bias_at + channel * self.item), "add": (ADD, self.added(at))}

    def added(self, at: Any) -> Any:
        """How far something lies in an array that is added, if it lies so far in the result."""
        epilogue = self.problem.epilogue
        if epilogue is None or not epilogue.add:
            return at
        return at // item_bytes(self.stored) * item_bytes(epilogue.added or self.dtype)

    @abstractmethod
    def stored_at_once(self, along: Strides, out_channel: int) -> bool:
        """Whether sums are formed where the result stands."""

    @abstractmethod
    def multiply_add(self, where: Found, sums: _Sums, channels: Range, blocks: Range) -> list[Steps]:
        """Add the products of some channels to the sums of some blocks of output channels."""

    def turned(
        self, bias: str, channel: int, to: tuple[int, Offsets | int], sums: int, **sizes: int
    ) -> list[Steps]:  # fmt: skip
        """Sums turned around on their way, and ended if it is the way out."""
        ending = self.ending(bias) if to[0] == OUT else NO_ENDING
        stored = stored_as(self.stored, self.dtype) if to[0] == OUT else ""
        kernel = transpose.Transpose(self.dtype, ending, stored=stored)
        at = 0 * self.groups + to[1]
        operands = {} if ending.empty else self.operands(at, channel)
        return [
            kernel.arguments.steps(
                address_of(kernel), len(self.groups), to=(to[0], at), x=(SCRATCH, sums), **operands, **sizes
            )
        ]  # fmt: skip

    def finished(self, bias: str, channel: int, at: Offsets, sums: int, **sizes: int) -> list[Steps]:
        """Sums ended on their way out."""
        kernel = finish.Finish(self.dtype, self.ending(bias), stored_as(self.stored, self.dtype))
        return [
            finish.ARGUMENTS.steps(
                address_of(kernel), len(at), out=(OUT, at), sums=(SCRATCH, sums), **self.operands(at, channel),
                add_plane=self.added(sizes["out_plane"]), add_row=self.added(sizes["out_row"]),
                bias_plane=self.item if bias == "plane" else 0,
                **sizes,
            )
        ]  # fmt: skip

    @abstractmethod
    def store(
        self, at: Offsets, channels: Range, out_channel: int, along: Strides, out_dtype: str
    ) -> list[Steps]:  # fmt: skip
        """Store the sums of some output channels."""


class _PixelTile(Tile):
    """Vectors hold pixels; the register tile's rows are output channels."""

    def __init__(
        self, problem: Problem, cut: Blocking, tables: Tables, outputs: Box, samples: Samples, bases: Bases,
        planes: Planes,
    ) -> None:  # fmt: skip
        super().__init__(problem, cut, tables, outputs, samples, bases)
        self.planes = planes
        rows, columns = self.planes.counts[-2:]
        joined = (rows - 1) * self.planes.strides[-2] // self.item + columns
        self.vectors = -(-joined // self.lanes)
        self.segments = list(product(*map(range, self.planes.counts[:-2])))
        self.segment = self.vectors * self.lanes * self.item
        self.sums_row = len(self.segments) * self.segment + LINE
        self.sums_along = tuple(
            self.segment * math.prod(self.planes.counts[axis + 1 : -2]) for axis in range(len(self.planes.counts) - 2)
        )
        self.bytes = self.sums_at + self.sums_row * min(problem.out_channels, cut.blocks_a_task * cut.blocks[0][0])

    def stored_at_once(self, along: Strides, out_channel: int) -> bool:
        rows, columns = self.planes.counts[-2:]
        if self.cut.lines == "apart":
            return along[-1] == self.item
        whole = self.planes.strides[-2] == columns * self.item  # no gaps between rows of pixels
        return whole and along[-1] == self.item and (rows == 1 or along[-2] == columns * self.item)

    def apart(self, sums: _Sums) -> bool:
        """Whether each row of pixels begins with a vector of its own, rather than where the one before ends."""
        return sums.final and self.cut.lines == "apart"

    def multiply_add(self, where: Found, sums: _Sums, channels: Range, blocks: Range) -> list[Steps]:
        problem = self.problem
        table = self.tables.add(where.terms)
        rows, columns = self.planes.counts[-2:]
        lines, vectors = (rows, -(-columns // self.lanes)) if self.apart(sums) else (1, self.vectors)
        widest = largest(vectors, self.cut.tile[1])
        (_, tiles), (_, last_tiles) = shared(vectors, widest)
        # In scratch memory there is room behind samples and sums; behind the input and the result there may be none.
        rest = rows // lines * columns % self.lanes if where.base == X or sums.final else 0
        found: list[Steps] = []
        begin = 0
        for size, count in self.cut.blocks:
            first, last = max(blocks[0], begin), min(blocks[1], begin + count)
            begin += count
            if first >= last:
                continue
            start, edge = "sums" if channels[0] else "zero", "masked" if rest else "whole"
            ending = self.ending("row", channels) if sums.final else NO_ENDING
            results = self.way(sums, channels, sums.at, sums.row, *sums.strides[: -1 if self.apart(sums) else -2])
            schedule = Dense(self.dtype, self.lanes, size, widest, start, edge, ending, results)
            row = (self.cut.before(first) - self.cut.before(blocks[0])) * sums.row
            for segment in self.segments:
                to = sums.at + row + sum(i * stride for i, stride in zip(segment, sums.strides, strict=False))
                x = where.at + sum(i * stride for i, stride in zip(segment, where.strides, strict=False))
                found.append(
                    dense.ARGUMENTS.steps(
                        address_of(schedule), len(self.groups), x=(where.base, x),
                        w=(self.bases.kernel, self.weights(first, channels[0], size)), sums=(sums.base, to),
                        offsets=(TABLES, table), depth=(channels[1] - channels[0]) * problem.taps, blocks=last - first,
                        sums_row=sums.row, w_block=size * problem.terms * self.item, rest=rest,
                        tiles=tiles - (1 if rest else 0), last_tiles=last_tiles, lines=lines,
                        sums_line=sums.strides[-2] if lines > 1 else 0,
                        x_line=where.strides[-2] if lines > 1 else 0, ahead=0,
                        **self.operands(to, self.cut.before(first)),
                    )
                )  # fmt: skip
        return found

    def store(
        self, at: Offsets, channels: Range, out_channel: int, along: Strides, out_dtype: str
    ) -> list[Steps]:  # fmt: skip
        rows, columns = self.planes.counts[-2:]
        count = channels[1] - channels[0]
        found: list[Steps] = []
        for n, segment in enumerate(self.segments):
            moved = at + sum(i * stride for i, stride in zip(segment, along, strict=False))
            sums = self.sums_at + n * self.segment
            if readable(out_dtype, self.dtype) and out_channel == item_bytes(out_dtype) != along[-1]:
                found += self.turned(
                    "column", channels[0], (OUT, moved), sums, planes=rows, to_plane=along[-2],
                    x_plane=self.planes.strides[-2], rows=count, columns=columns, width=count, to_row=along[-1],
                    x_row=self.sums_row,
                )  # fmt: skip
                continue
            if self.problem.epilogue is not None:
                found += self.finished(
                    "plane", channels[0], moved, sums, planes=count, out_plane=out_channel, sums_plane=self.sums_row,
                    rows=rows, out_row=along[-2], sums_row=self.planes.strides[-2], columns=columns,
                )  # fmt: skip
                continue
            found.append(
                unpacking(
                    self.dtype, out_dtype, [sums], self.planes.strides[-2], columns, rows, along[-2], along[-1], moved,
                    count, out_channel, self.sums_row,
                )
            )  # fmt: skip
        return found


def runs_met(windows: tuple[Window, ...], outputs: Range) -> list[tuple[int, Range]]:
    """Which kernel elements along the first axis meet samples: for so many outputs, from which on, and up to which.

    Beyond a side that stands for zeros nothing is met, and products with zeros need not be added; unless another axis
    has a constant beyond its sides, which stands where both are left.
    """
    window, others = windows[0], windows[1:]
    if any("constant" in other.sides for other in others):
        return [(outputs[1] - outputs[0], (0, window.kernel))]
    found: list[tuple[int, Range]] = []
    for n in range(*outputs):
        at = n * window.stride + window.start
        lo = max(0, -(at // window.dilation)) if window.sides[0] == "zero" else 0
        hi = window.kernel
        if window.sides[1] == "zero":
            hi = min(hi, max(0, -(-(window.size - at) // window.dilation)))
        met = (min(lo, hi), hi)
        if found and found[-1][1] == met:
            found[-1] = found[-1][0] + 1, met
        else:
            found.append((1, met))
    return found


class _ChannelTile(Tile):
    """Vectors hold output channels; the register tile's rows are pixels."""

    def __init__(
        self, problem: Problem, cut: Blocking, tables: Tables, outputs: Box, samples: Samples, bases: Bases,
        w_strides: Strides | None,
    ) -> None:  # fmt: skip
        super().__init__(problem, cut, tables, outputs, samples, bases)
        self.w_strides = w_strides
        self.pixels = math.prod(self.counts)
        self.met = runs_met(cut.windows, outputs[0])
        channels = cut.blocks_a_task * cut.blocks[0][0]
        self.sums_row = channels * self.item + (LINE if channels * self.item % 1024 == 0 else 0)
        self.turned_at = self.sums_at + self.sums_row * self.pixels + LINE
        self.bytes = self.turned_at + self.pixels * self.item * channels

    def stored_at_once(self, along: Strides, out_channel: int) -> bool:
        return out_channel == self.item

    def multiply_add(self, where: Found, sums: _Sums, channels: Range, blocks: Range) -> list[Steps]:
        problem = self.problem
        to_pixels = offsets(self.counts, sums.strides) if sums.final else np.arange(self.pixels) * sums.row
        terms, pixels = self.tables.add(where.terms), offsets(self.counts, where.strides)
        found: list[Steps] = []
        begin = 0
        for size, count in self.cut.blocks:
            first, last = max(blocks[0], begin), min(blocks[1], begin + count)
            begin += count
            if first >= last:
                continue
            to = sums.at + (self.cut.before(first) - self.cut.before(blocks[0])) * self.item
            # Only the very last channels may not fill their vector, and have no room behind them in the result.
            very_last = self.cut.before(last) >= problem.out_channels
            rest = problem.out_channels % self.lanes if sums.final and very_last else 0
            ending = self.ending("column", channels) if sums.final else NO_ENDING
            start, edge = "sums" if channels[0] else "zero", "masked" if rest else "whole"
            one_after_another = where.strides[-1] == problem.in_channels * self.item and problem.taps == 1
            memory = "far" if where.base == X and one_after_another else "near"
            run, pixel = (channels[1] - channels[0]) * problem.taps // self.leading, 0
            weights, w_row, w_kind = self.weights(first, channels[0], size), 0, "ordered"
            if self.w_strides is not None:
                w_group, _, w_row, *_ = self.w_strides
                weights = self.groups * w_group + channels[0] * w_row + self.cut.before(first) * self.item
                w_kind = "rows"
            for lines, (lo, hi) in self.met:
                for rows, row_blocks in pieces(lines * self.pixels // self.counts[0], self.cut.tile[0]):
                    some = slice(pixel, pixel + rows * row_blocks)
                    results = self.way(sums, channels, to, to_pixels[some])
                    schedule = DenseChannels(
                        self.dtype, self.lanes, rows, size // self.lanes, start, edge, ending, results, w_kind, memory
                    )  # fmt: skip
                    found.append(
                        dense_channels.ARGUMENTS.steps(
                            address_of(schedule), len(self.groups), x=(where.base, where.at), sums=(sums.base, to),
                            w=(self.bases.kernel, weights + lo * run * size * self.item),
                            offsets=(TABLES, terms + lo * run * 8),
                            rows_at=(TABLES, self.tables.add(pixels[some])), depth=(hi - lo) * run, blocks=row_blocks,
                            sums_at=(TABLES, self.tables.add(to_pixels[some])),
                            w_vector=problem.terms * self.lanes * self.item, w_row=w_row,
                            tiles=last - first - (1 if rest else 0), last_tiles=0, rest=rest, w_ahead=0,
                            x_ahead=0, **self.operands(to, self.cut.before(first)),
                        )
                    )  # fmt: skip
                    pixel += rows * row_blocks
        return found

    def store(
        self, at: Offsets, channels: Range, out_channel: int, along: Strides, out_dtype: str
    ) -> list[Steps]:  # fmt: skip
        *leading, rows, columns = self.counts
        merged, count = rows == 1 or along[-2] == columns * along[-1], channels[1] - channels[0]
        found: list[Steps] = []
        for n, index in enumerate(product(*map(range, leading))):
            moved = at + sum(i * stride for i, stride in zip(index, along, strict=False))
            first = n * rows * columns
            sums = self.sums_at + first * self.sums_row
            if out_channel == item_bytes(out_dtype) and self.problem.epilogue is not None:
                found += self.finished(
                    "column", channels[0], moved, sums, planes=rows, out_plane=along[-2],
                    sums_plane=columns * self.sums_row, rows=columns, out_row=along[-1], sums_row=self.sums_row,
                    columns=count,
                )  # fmt: skip
                continue
            if out_channel == item_bytes(out_dtype):
                found.append(
                    unpacking(
                        self.dtype, out_dtype, [sums], self.sums_row, count, columns, along[-1], out_channel, moved,
                        rows, along[-2], columns * self.sums_row,
                    )
                )  # fmt: skip
                continue
            direct = readable(out_dtype, self.dtype) and along[-1] == item_bytes(out_dtype)
            in_rows = direct and not merged
            row = self.pixels * self.item
            found += self.turned(
                "row", channels[0], (OUT, moved) if direct else (SCRATCH, self.turned_at + first * self.item), sums,
                planes=rows if in_rows else 1, to_plane=along[-2], x_plane=columns * self.sums_row,
                rows=columns if in_rows else rows * columns, columns=count,
                width=columns if in_rows else rows * columns, to_row=out_channel if direct else row,
                x_row=self.sums_row,
            )  # fmt: skip
            if not direct:
                found.append(
                    unpacking(
                        self.dtype, out_dtype, [self.turned_at + first * self.item], columns * self.item, columns, rows,
                        along[-2], along[-1], moved, count, out_channel, row,
                    )
                )  # fmt: skip
        return found
