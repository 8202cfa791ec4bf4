"""Convolution that sums over channels, as a program: how it is cut, and what is done for each piece, step by step.

All rows of a tile are one row of pixels, cut into vectors; see `planes`. The few pixels between the end of a row of
outputs and the beginning of the next are computed and never stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.packing import LINE, item_bytes, touched_stride, unpacking
from convkit.algorithms.support.planes import Box, Planes, Strides, pitch, space, with_rows
from convkit.algorithms.support.register_tiles import cuts, cycles, largest, pieces, register_tile, shared
from convkit.codegen import dense as kernel
from convkit.codegen.dense import MOST_ROWS, Dense, lanes_of
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, SCRATCH, TABLES, Steps
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
    windows = with_rows(problem.windows)
    channels = largest(problem.in_channels, max(1, TERMS // problem.taps))
    room = _room(problem, channels, math.prod(touched_stride(window) for window in windows))
    lengths: list[int] = []
    for window in reversed(windows):
        lengths.append(largest(window.count, max(1, room)))
        room //= lengths[-1] if len(lengths) > 1 else pitch(window, lengths[-1])
    lengths.reverse()
    *_, tall, wide = lengths
    lanes, outputs = lanes_of(this_machine(), problem.compute_dtype), problem.out_channels
    pixels = -(-((tall - 1) * pitch(windows[-1], wide) + wide) // lanes)
    tiles = problem.groups * math.prod(-(-w.count // n) for w, n in zip(windows, lengths, strict=True))
    splits = max(1, min(-(-TASKS // tiles), outputs // TASK_ROWS))
    rows, vectors = register_tile(outputs, pixels, MOST_ROWS)
    share = outputs * tall * wide / lanes / cycles(outputs, pixels, rows, vectors)
    return Blocking(windows, tuple(lengths), channels, rows, vectors, splits, share)


def _room(problem: Problem, channels: int, strides: int) -> int:
    """Outputs of one channel of a tile at most."""
    item = item_bytes(problem.compute_dtype)
    return max(
        8 * lanes_of(this_machine(), problem.compute_dtype),
        min(
            SUMS_BYTES // (item * min(problem.out_channels, 1024)),
            PACKED_BYTES // (item * channels * strides),
            TILE_PRODUCTS // (problem.terms * problem.out_channels),
        ),
    )


def pack_weights(problem: Problem, kernel: NDArray[np.generic]) -> NDArray[np.generic]:
    """Weights (groups, out, in, *kernel) in the order in which they are read, one row for each group."""
    rows = blocking(problem.derive(batch=1)).rows
    flat = np.ascontiguousarray(kernel, problem.compute_dtype).reshape(problem.groups, problem.out_channels, -1)
    parts, first = [], 0
    for size, count in pieces(problem.out_channels, rows):
        part = flat[:, first : first + size * count].reshape(problem.groups, count, size, -1)
        parts.append(part.swapaxes(2, 3).reshape(problem.groups, -1))
        first += size * count
    return np.concatenate(parts, axis=1)


@lru_cache(maxsize=256)
def samples_at_once(problem: Problem) -> int:
    """For how many samples one program is made, so that it stays small however many there are."""
    cut = blocking(problem.derive(batch=1))
    planes = math.prod(min(touched_stride(window), 64) for window in cut.windows)
    parts = len(cut.boxes) * cut.splits * -(-problem.in_channels // cut.channels)
    segments = math.prod(cut.lengths[:-2])
    return max(1, min(problem.batch, PROGRAM_STEPS // (problem.groups * parts * (planes + 3 * segments))))


def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs at most."""
    cut = blocking(problem.derive(batch=1))
    return max(_Tile(problem, cut, Tables(), box).bytes for box in cut.boxes[:1])


@lru_cache(maxsize=256)
def program(problem: Problem, x_strides: Strides, out_strides: Strides, out_dtype: str) -> Program:
    """Everything about a call but its arrays."""
    tables, cut = Tables(), blocking(problem.derive(batch=1))
    tiles = [_Tile(problem, cut, tables, box) for box in cut.boxes]
    tasks = [
        tile.steps(x_strides, out_strides, out_dtype, rows)
        for tile in tiles
        for rows in cuts(sum(n for _, n in pieces(problem.out_channels, cut.rows)), blocks_a_task(problem, cut))
    ]
    return join(tasks, tables.array(), max(tile.bytes for tile in tiles))


def blocks_a_task(problem: Problem, cut: Blocking) -> int:
    """Blocks of output channels that one task computes at most."""
    blocks = sum(count for _, count in pieces(problem.out_channels, cut.rows))
    return -(-blocks // cut.splits)


class _Tile:
    """The steps of one tile, for every sample and group: samples laid down, multiplied and added, the sums stored."""

    def __init__(self, problem: Problem, cut: Blocking, tables: Tables, outputs: Box) -> None:
        self.problem, self.cut, self.tables, self.outputs = problem, cut, tables, outputs
        self.real = problem.compute_dtype
        self.item, self.lanes = item_bytes(self.real), lanes_of(this_machine(), self.real)
        self.planes = planes = Planes(cut.windows, outputs, self.real)
        rows, columns = planes.counts[-2:]
        self.vectors = -(-((rows - 1) * planes.strides[-2] // self.item + columns) // self.lanes)
        self.segments = list(product(*map(range, planes.counts[:-2])))
        self.segment = self.vectors * self.lanes * self.item
        self.sums_row = len(self.segments) * self.segment + LINE
        self.sums_at = planes.channel * cut.channels + LINE

    @property
    def bytes(self) -> int:
        """Scratch memory."""
        rows = min(self.problem.out_channels, blocks_a_task(self.problem, self.cut) * self.cut.rows)
        return self.sums_at + self.sums_row * rows

    def steps(self, x_strides: Strides, out_strides: Strides, out_dtype: str, blocks: Range) -> list[Steps]:
        """All of them, in order, for some of the blocks of output channels."""
        problem = self.problem
        samples, groups = np.arange(problem.batch)[:, None], np.arange(problem.groups)[None]
        x_at = (samples * x_strides[0] + groups * x_strides[1]).ravel()
        out_at = (samples * out_strides[0] + groups * out_strides[1]).ravel()
        self.group = (0 * samples + groups).ravel()
        found: list[Steps] = []
        for lo, hi in cuts(problem.in_channels, self.cut.channels):
            at = x_at + lo * x_strides[2]
            found += self.planes.pack(
                self.tables, problem.input_dtype, space(x_strides), problem.fill, at, hi - lo, x_strides[2]
            )
            found += self.multiply_add((lo, hi), blocks)
        first, last = self.rows_before(blocks[0]), self.rows_before(blocks[1])
        along = space(out_strides)
        at = out_at + first * out_strides[2] + sum(lo * s for (lo, _), s in zip(self.outputs, along, strict=True))
        return found + self.store(at, last - first, out_strides[2], along, out_dtype)

    def rows_before(self, block: int) -> int:
        """Output channels before a block."""
        rows = 0
        for size, count in pieces(self.problem.out_channels, self.cut.rows):
            rows += size * min(block, count)
            block -= min(block, count)
        return rows

    def multiply_add(self, channels: Range, blocks: Range) -> list[Steps]:
        """Add the products of some channels to the sums of some blocks of output channels."""
        problem = self.problem
        table = self.tables.add(self.planes.elements(channels[1] - channels[0]))
        depth = problem.terms
        widest = largest(self.vectors, self.cut.vectors)
        (_, tiles), (_, last_tiles) = shared(self.vectors, widest)
        found: list[Steps] = []
        begin = 0
        for size, count in pieces(problem.out_channels, self.cut.rows):
            first, last = max(blocks[0], begin), min(blocks[1], begin + count)
            begin += count
            if first >= last:
                continue
            schedule = Dense(self.real, self.lanes, size, widest, "sums" if channels[0] else "zero")
            row = self.rows_before(first)
            weights = self.group * problem.out_channels * depth + row * depth + channels[0] * problem.taps * size
            sums = self.sums_at + (row - self.rows_before(blocks[0])) * self.sums_row
            for n, segment in enumerate(self.segments):
                x = sum(i * row for i, row in zip(segment, self.planes.strides, strict=False))
                found.append(
                    kernel.ARGUMENTS.steps(
                        address_of(schedule), len(weights), x=(SCRATCH, x), w=(KERNEL, weights * self.item),
                        sums=(SCRATCH, sums + n * self.segment), offsets=(TABLES, table),
                        depth=(channels[1] - channels[0]) * problem.taps, blocks=last - first, sums_row=self.sums_row,
                        w_block=size * depth * self.item, tiles=tiles, last_tiles=last_tiles, rest=0,
                    )
                )  # fmt: skip
        return found

    def store(
        self, at: NDArray[np.int64], planes: int, out_plane: int, out_space: Strides, out_dtype: str
    ) -> list[Steps]:  # fmt: skip
        """Store the sums of the outputs, and not those between rows."""
        rows, columns = self.planes.counts[-2:]
        found: list[Steps] = []
        for n, segment in enumerate(self.segments):
            sums = self.sums_at + n * self.segment
            moved = at + sum(i * stride for i, stride in zip(segment, out_space, strict=False))
            found.append(
                unpacking(
                    self.real, out_dtype, [sums], self.planes.strides[-2], columns, rows, out_space[-2],
                    out_space[-1], moved, planes, out_plane, self.sums_row,
                )
            )  # fmt: skip
        return found
