"""Convolution that sums over channels, as a program: how it is cut, and what is done for each piece, step by step.

A tile of the extended input is laid down, channel by channel, as planes whose rows stand a fixed pitch apart. Pixel
``p = row*pitch + column`` then finds the sample of every kernel element at a distance that does not depend on ``p``, so
that all rows of a tile are one row of pixels, cut into vectors. The few pixels between the end of a row of outputs and
the beginning of the next are computed and never stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.packing import (
    LINE,
    Packed,
    Source,
    item_bytes,
    packing,
    touched,
    touched_elements,
    touched_stride,
    unpacking,
)
from convkit.codegen import dense as kernel
from convkit.codegen.dense import MOST_ROWS, Dense, lanes_of, most_vectors
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.planner.problem import Problem
from convkit.spec.window import Window

SUMS_BYTES = 1 << 18
"""Bytes of a tile's sums at most: with weights and samples they stay in the second-level cache."""

PACKED_BYTES = 1 << 18
"""Bytes of samples that are laid down at a time."""

TERMS = 1 << 10
"""Terms added at a time: the more, the fewer times sums are read and written; their samples stay in the cache."""

TILE_PRODUCTS = 1 << 24
"""Products of one tile: a few tenths of a millisecond, many times what handing it out takes."""

TASKS = 8
"""Tasks that a sample should have: where it has fewer tiles, they share out blocks of output channels."""

TASK_ROWS = 96
"""Output channels that a task keeps at least, since each task lays down the samples for itself."""

PROGRAM_STEPS = 1 << 13
"""Steps of a program beyond which it is run several times, for some of the samples each."""

Box = tuple[Range, ...]
Strides = tuple[int, ...]
ONE_ROW = Window(1, 1, 1)
"""The axis of rows that signals lack."""


def shared(total: int, most: int) -> list[tuple[int, int]]:
    """``total`` cut into as few pieces as can be, of at most ``most`` and nearly equal: (size, pieces of that size)."""
    count = -(-total // most)
    size = -(-total // count)
    small = count * size - total
    return [(size, count - small), (size - 1, small)]


def cuts(total: int, most: int) -> list[Range]:
    """The same as ranges."""
    ranges: list[Range] = []
    for size, count in shared(total, most):
        for _ in range(count):
            begin = ranges[-1][1] if ranges else 0
            ranges.append((begin, begin + size))
    return ranges


@dataclass(frozen=True, slots=True)
class Blocking:
    """How one sample of a problem is cut.

    Attributes
    ----------
    windows : tuple of Window
        Two axes at least.
    lengths : tuple of int
        Outputs of a tile along each axis at most.
    channels : int
        Input channels laid down and summed at a time at most.
    rows, vectors : int
        The register tile at most: output channels and vectors of pixels.
    splits : int
        Tasks that share the output channels of one tile.
    share : float
        How much of the arithmetic is wanted: tiles are whole vectors, and rows of pixels have gaps.
    """

    windows: tuple[Window, ...]
    lengths: tuple[int, ...]
    channels: int
    rows: int
    vectors: int
    splits: int
    share: float

    @property
    def boxes(self) -> list[Box]:
        """The outputs of every tile."""
        return list(product(*(cuts(w.count, n) for w, n in zip(self.windows, self.lengths, strict=True))))


@lru_cache(maxsize=512)
def blocking(problem: Problem) -> Blocking:
    """How each sample of ``problem`` is cut; neither threads nor the batch have a say in it."""
    windows = problem.windows if len(problem.windows) > 1 else (ONE_ROW, *problem.windows)
    item = item_bytes(problem.compute_dtype)
    taps, outputs, inputs = problem.taps, problem.out_channels, problem.in_channels
    channels = _most(inputs, max(1, TERMS // taps))
    strides = [touched_stride(window) for window in windows]
    room = max(1, min(
        SUMS_BYTES // (item * min(outputs, 1024)),
        PACKED_BYTES // (item * channels * math.prod(strides)),
        TILE_PRODUCTS // (taps * inputs * outputs),
    ))  # fmt: skip
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    room = max(room, 8 * lanes)
    lengths: list[int] = []
    for window in reversed(windows):
        lengths.append(_most(window.count, max(1, room)))
        room //= lengths[-1] if len(lengths) > 1 else _pitch(window, lengths[-1])
    lengths.reverse()
    *_, tall, wide = lengths
    pixels = -(-((tall - 1) * _pitch(windows[-1], wide) + wide) // lanes)
    tiles = problem.groups * math.prod(-(-w.count // n) for w, n in zip(windows, lengths, strict=True))
    splits = max(1, min(-(-TASKS // tiles), outputs // TASK_ROWS))
    rows, vectors = register_tile(outputs, pixels)
    share = outputs * tall * wide / lanes / _cycles(outputs, pixels, rows, vectors)
    return Blocking(windows, tuple(lengths), channels, rows, vectors, splits, share)


def _most(total: int, most: int) -> int:
    """The size of the pieces into which ``total`` is cut where they are ``most`` at most and nearly equal."""
    return -(-total // -(-total // most))


def _pitch(window: Window, outputs: int) -> int:
    """Pixels from one row of a tile to the next."""
    stride = touched_stride(window)
    return -(-len(touched(window, (0, outputs))) // stride)


@lru_cache(maxsize=1024)
def register_tile(outputs: int, pixels: int) -> tuple[int, int]:
    """The register tile that takes least time for so many output channels and vectors of pixels."""
    target = this_machine()
    choices = [
        (rows, vectors)
        for rows in range(1, min(MOST_ROWS, outputs) + 1)
        for vectors in range(1, min(most_vectors(target, rows), pixels) + 1)
    ]
    return min(choices, key=lambda tile: (_cycles(outputs, pixels, *tile), -tile[1]))


def _cycles(outputs: int, pixels: int, rows: int, vectors: int) -> float:
    """Cycles of one term of all outputs: a multiply-add each, two loads each, of which a vector's counts twice."""
    total = 0.0
    for r, blocks in shared(outputs, rows):
        for v, tiles in shared(pixels, vectors):
            total += blocks * tiles * max(r * v, (r + 2 * v) / 2, 10) if r and v else 0.0
    return total * (1 + 0.1 / vectors)  # weights are read again for every tile


def blocks_of(outputs: int, rows: int) -> list[tuple[int, int]]:
    """Register blocks of the output channels: (rows, blocks), without those that are none."""
    return [(size, count) for size, count in shared(outputs, rows) if count and size]


def pack_weights(problem: Problem, kernel: NDArray[np.generic]) -> NDArray[np.generic]:
    """Weights (groups, out, in, *kernel) in the order in which they are read, one row for each group."""
    rows = blocking(problem.derive(batch=1)).rows
    flat = np.ascontiguousarray(kernel, problem.compute_dtype).reshape(problem.groups, problem.out_channels, -1)
    parts, first = [], 0
    for size, count in blocks_of(problem.out_channels, rows):
        part = flat[:, first : first + size * count].reshape(problem.groups, count, size, -1)
        parts.append(part.swapaxes(2, 3).reshape(problem.groups, -1))
        first += size * count
    return np.concatenate(parts, axis=1)


@lru_cache(maxsize=256)
def samples_at_once(problem: Problem) -> int:
    """For how many samples one program is made, so that it stays small however many there are."""
    cut = blocking(problem.derive(batch=1))
    planes = math.prod(min(touched_stride(window), 64) for window in cut.windows)
    pieces = len(cut.boxes) * cut.splits * -(-problem.in_channels // cut.channels)
    segments = math.prod(cut.lengths[:-2])
    return max(1, min(problem.batch, PROGRAM_STEPS // (problem.groups * pieces * (planes + 3 * segments))))


def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs at most."""
    cut = blocking(problem.derive(batch=1))
    return max(_Tile(problem, cut, Tables(), box).bytes for box in cut.boxes[:1])


@lru_cache(maxsize=256)
def program(problem: Problem, x_strides: Strides, out_strides: Strides, out_dtype: str) -> Program:
    """Everything about a call but its arrays."""
    tables, cut = Tables(), blocking(problem.derive(batch=1))
    tiles = [_Tile(problem, cut, tables, box) for box in cut.boxes]
    pieces = [
        tile.steps(x_strides, out_strides, out_dtype, rows)
        for tile in tiles
        for rows in cuts(sum(n for _, n in blocks_of(problem.out_channels, cut.rows)), _blocks_a_task(problem, cut))
    ]
    return join(pieces, tables.array(), max(tile.bytes for tile in tiles))


def _blocks_a_task(problem: Problem, cut: Blocking) -> int:
    blocks = sum(count for _, count in blocks_of(problem.out_channels, cut.rows))
    return -(-blocks // cut.splits)


class _Tile:
    """The steps of one tile, for every sample and group: samples laid down, multiplied and added, the sums stored."""

    def __init__(self, problem: Problem, cut: Blocking, tables: Tables, outputs: Box) -> None:
        self.problem, self.cut, self.tables, self.outputs = problem, cut, tables, outputs
        self.real = problem.compute_dtype
        self.item = item_bytes(self.real)
        self.lanes = lanes_of(this_machine(), self.real)
        self.strides = [touched_stride(window) for window in cut.windows]
        self.positions = [
            _whole(touched(window, along), stride if axis < len(cut.windows) - 1 else 1)
            for axis, (window, along, stride) in enumerate(zip(cut.windows, outputs, self.strides, strict=True))
        ]
        counts = [len(found) // stride for found, stride in zip(self.positions[:-1], self.strides[:-1], strict=True)]
        # What one channel becomes for one phase of the axes before the last; those of the last are apart within it.
        self.packed = Packed(0, (*counts, len(self.positions[-1])), self.strides[-1], self.item)
        self.phases = list(product(*map(range, self.strides[:-1])))
        self.channel = self.packed.bytes * len(self.phases)
        self.counts = [hi - lo for lo, hi in outputs]
        self.pitch = self.packed.row // self.item
        self.vectors = -(-((self.counts[-2] - 1) * self.pitch + self.counts[-1]) // self.lanes)
        self.segments = list(product(*map(range, self.counts[:-2])))
        self.sums_row = len(self.segments) * self.vectors * self.lanes * self.item + LINE
        self.sums_at = self.channel * min(cut.channels, problem.in_channels) + LINE

    @property
    def bytes(self) -> int:
        """Scratch memory."""
        blocks = _blocks_a_task(self.problem, self.cut)
        return self.sums_at + self.sums_row * min(self.problem.out_channels, blocks * self.cut.rows)

    def steps(self, x_strides: Strides, out_strides: Strides, out_dtype: str, blocks: Range) -> list[Steps]:
        """All of them, in order, for some of the blocks of output channels."""
        samples, groups = np.arange(self.problem.batch)[:, None], np.arange(self.problem.groups)[None]
        x_at = (samples * x_strides[0] + groups * x_strides[1]).ravel()
        out_at = (samples * out_strides[0] + groups * out_strides[1]).ravel()
        self.group = (0 * samples + groups).ravel()
        x_space, out_space = x_strides[3:], out_strides[3:]
        if len(self.problem.windows) == 1:
            x_space, out_space = (0, *x_space), (0, *out_space)
        found: list[Steps] = []
        for channels in cuts(self.problem.in_channels, self.cut.channels):
            found += self.pack(x_at, x_strides[2], x_space, channels)
            found += self.multiply_add(channels, blocks)
        first, last = self.rows_before(blocks[0]), self.rows_before(blocks[1])
        at = out_at + first * out_strides[2] + sum(lo * s for (lo, _), s in zip(self.outputs, out_space, strict=True))
        return found + self.store(at, last - first, out_strides[2], out_space, out_dtype)

    def rows_before(self, block: int) -> int:
        """Output channels before a block."""
        rows = 0
        for size, count in blocks_of(self.problem.out_channels, self.cut.rows):
            rows += size * min(block, count)
            block -= min(block, count)
        return rows

    def pack(self, at: NDArray[np.int64], x_plane: int, x_space: Strides, channels: Range) -> list[Steps]:
        """Lay down some channels with what stands outside."""
        source = Source(self.problem.input_dtype, x_space, item_bytes(self.problem.input_dtype))
        found: list[Steps] = []
        for number, phase in enumerate(self.phases):
            spans = [
                along[first::stride] for along, first, stride in zip(self.positions, phase, self.strides, strict=False)
            ]
            found += packing(
                self.tables, self.cut.windows, [*spans, self.positions[-1]], source,
                replace(self.packed, place=number * self.packed.bytes), self.real, self.problem.fill,
                at + channels[0] * x_plane, channels[1] - channels[0], x_plane, self.channel,
            )  # fmt: skip
        return found

    def offsets(self, channels: int) -> list[int]:
        """How far from a pixel the samples of each channel and kernel element lie."""
        taps: list[int] = []
        for elements in product(*(touched_elements(window) for window in self.cut.windows)):
            *leading, last = elements
            phase, at = 0, 0
            for element, stride, row in zip(leading, self.strides, self.packed.strides, strict=False):
                phase = phase * stride + element % stride
                at += element // stride * row
            at += phase * self.packed.bytes + last % self.strides[-1] * self.packed.phase
            taps.append(at + last // self.strides[-1] * self.item)
        return [channel * self.channel + tap for channel in range(channels) for tap in taps]

    def multiply_add(self, channels: Range, blocks: Range) -> list[Steps]:
        """Add the products of some channels to the sums of some blocks of output channels."""
        problem = self.problem
        table = self.tables.add(self.offsets(channels[1] - channels[0]))
        depth = problem.terms
        widest = -(-self.vectors // -(-self.vectors // self.cut.vectors))
        (_, tiles), (_, last_tiles) = shared(self.vectors, widest)
        found: list[Steps] = []
        begin = 0
        for size, count in blocks_of(problem.out_channels, self.cut.rows):
            first, last = max(blocks[0], begin), min(blocks[1], begin + count)
            begin += count
            if first >= last:
                continue
            schedule = Dense(self.real, self.lanes, size, widest, "sums" if channels[0] else "zero")
            row = self.rows_before(first)
            weights = self.group * problem.out_channels * depth + row * depth + channels[0] * problem.taps * size
            sums = self.sums_at + (row - self.rows_before(blocks[0])) * self.sums_row
            for n, segment in enumerate(self.segments):
                x = sum(i * row for i, row in zip(segment, self.packed.strides, strict=False))
                found.append(
                    kernel.ARGUMENTS.steps(
                        address_of(schedule), len(weights), x=(SCRATCH, x), w=(KERNEL, weights * self.item),
                        sums=(SCRATCH, sums + n * self.vectors * self.lanes * self.item), offsets=(TABLES, table),
                        depth=(channels[1] - channels[0]) * problem.taps, blocks=last - first, sums_row=self.sums_row,
                        w_block=size * depth * self.item, tiles=tiles, last_tiles=last_tiles, rest=0,
                    )
                )  # fmt: skip
        return found

    def store(
        self, at: NDArray[np.int64], planes: int, out_plane: int, out_space: Strides, out_dtype: str
    ) -> list[Steps]:  # fmt: skip
        """Store the sums of the outputs, and not those between rows."""
        found: list[Steps] = []
        for n, segment in enumerate(self.segments):
            sums = self.sums_at + n * self.vectors * self.lanes * self.item
            moved = at + sum(i * stride for i, stride in zip(segment, out_space, strict=False))
            found.append(
                unpacking(
                    self.real, out_dtype, [sums], self.packed.row, self.counts[-1], self.counts[-2], out_space[-2],
                    out_space[-1], moved, planes, out_plane, self.sums_row,
                )
            )  # fmt: skip
        return found


def _whole(positions: NDArray[np.int64], stride: int) -> NDArray[np.int64]:
    """So many more positions that each phase has as many; no output meets those."""
    more = -len(positions) % stride
    return np.concatenate((positions, positions[-1] + 1 + np.arange(more, dtype=np.int64))) if more else positions


def contiguous_rows(strides: Sequence[int], sizes: Sequence[int], item: int) -> bool:
    """Whether the positions of all axes lie side by side, in order."""
    expected = item
    for stride, size in zip(reversed(strides), reversed(sizes), strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True
