"""How a convolution that sums over channels is cut: tiles, blocks of output channels, and the order of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Literal, NamedTuple

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.dense_samples import PIXELS, Layout, Side
from convkit.algorithms.support.packing import item_bytes, touched_stride
from convkit.algorithms.support.planes import Box, pitch, with_rows
from convkit.algorithms.support.register_tiles import cuts, cycles, largest, pieces, register_tile
from convkit.codegen import dense, dense_channels
from convkit.codegen.library import this_machine
from convkit.codegen.register_tile import lanes_of
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

TASK_ROWS = 64, 32
"""Output channels that a task keeps at least, since each task lays down the samples for itself; and that it keeps where
there would be one task alone."""

TURNING = 0.8
"""Cycles that it takes to turn one sum, or one sample, where what lies side by side changes."""

HALVES = 1.05
"""What half vectors take besides, since there are twice as many instructions."""

STORING = 0.3
"""Cycles that it takes to write one sum to scratch memory and from there to the result."""

LEAST_PIXELS = 64
"""Outputs of one channel of a tile that are not made fewer to have more tasks: all weights are read for each tile."""


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
    vectors_of : {"pixels", "channels"}
        What lies side by side in the register tile. Pixels are stored as they are, but rows of pixels have gaps.
    tile : tuple of int
        Rows and vectors of the register tile at most.
    blocks : tuple of (int, int)
        Blocks of output channels: how many channels, and blocks of that many. Where vectors hold channels the last
        block's may not all be there.
    splits : int
        Tasks that share the output channels of one tile.
    share : float
        How much of the arithmetic is wanted: vectors are whole, and rows of pixels have gaps.
    lines : {"joined", "apart"}
        Whether all rows of pixels of a tile are one row of vectors, or each begins with a vector of its own and is
        stored where it stands.
    rows : int
        Rows of a tile are a multiple of this, save for the last tile's.
    lanes : int
        Numbers in a vector: half as many where half vectors are as fast and fewer of their numbers are not wanted.
    """

    windows: tuple[Window, ...]
    lengths: tuple[int, ...]
    channels: int
    vectors_of: Literal["pixels", "channels"]
    tile: tuple[int, int]
    blocks: tuple[tuple[int, int], ...]
    splits: int
    share: float
    lines: Literal["joined", "apart"] = "joined"
    rows: int = 1
    lanes: int = 0

    @property
    def boxes(self) -> list[Box]:
        """The outputs of every tile."""
        units = (*[1] * (len(self.windows) - 2), self.rows, 1)
        return list(product(*(cuts(w.count, n, u) for w, n, u in zip(self.windows, self.lengths, units, strict=True))))

    @property
    def blocks_a_task(self) -> int:
        """Blocks of output channels that one task computes at most."""
        blocks = sum(count for _, count in self.blocks)
        return _evenly(blocks, -(-blocks // self.splits)) if self.splits > 1 else blocks

    def weights(self, problem: Problem) -> int:
        """Weights of one group, as they are laid down."""
        return problem.terms * self.before(sum(count for _, count in self.blocks))

    def within(self, blocks: Range) -> Iterator[tuple[int, int, int]]:
        """Runs of blocks as large as each other among these: their size, the first, and one past the last."""
        begin = 0
        for size, count in self.blocks:
            first, last = max(blocks[0], begin), min(blocks[1], begin + count)
            begin += count
            if first < last:
                yield size, first, last

    def before(self, block: int) -> int:
        """Output channels before a block, those that are not there included."""
        channels = 0
        for size, count in self.blocks:
            channels += size * min(block, count)
            block -= min(block, count)
        return channels


@lru_cache(maxsize=512)
def blocking(problem: Problem, layout: Layout = PIXELS) -> Blocking:
    """How each sample of ``problem`` is cut; threads have no say in it, and the batch only in what tasks share."""
    if problem.batch != 1:
        one = blocking(problem.derive(batch=1), layout)
        return replace(one, splits=-(-one.splits // max(1, problem.batch)))
    windows = with_rows(problem.windows)
    channels = channels_at_once(problem)
    room = _room(problem, channels, math.prod(touched_stride(window) for window in windows))
    lengths: list[int] = []
    for window in reversed(windows):
        lengths.append(largest(window.count, max(1, room)))
        room //= lengths[-1] if len(lengths) > 1 else pitch(window, lengths[-1])
    lengths.reverse()
    ways = [
        *_by_pixels(problem, _shared_out(problem, windows, channels, lengths, "pixels"), layout),
        *_by_channels(problem, _shared_out(problem, windows, channels, lengths, "channels"), layout),
    ]
    cost, cut = min(ways, key=lambda way: way[0] / math.prod(way[1].lengths))
    ideal = problem.out_channels * math.prod(cut.lengths) / lanes_of(this_machine(), problem.compute_dtype)
    return replace(cut, share=ideal * problem.terms / cost)


def _shared_out(
    problem: Problem, windows: tuple[Window, ...], channels: int, most: list[int], vectors_of: Side
) -> Blocking:  # fmt: skip
    """Tiles, and how many tasks share one's output channels: an even number of tasks if rows allow."""
    rows = _rows_together(problem, windows, most) if vectors_of == "pixels" else 1
    units = -(-windows[-2].count // rows)
    others = problem.groups * math.prod(
        -(-w.count // n) for n, w in zip((*most[:-2], most[-1]), (*windows[:-2], windows[-1]), strict=True)
    )  # fmt: skip
    each = largest(units, max(1, most[-2] // rows))
    splits = max(1, min(-(-TASKS // (others * -(-units // each))), problem.out_channels // TASK_ROWS[0]))
    if others * splits == 1 and each == units and problem.out_channels >= 2 * TASK_ROWS[1]:
        splits = 2
    if others * splits % 2 and each < units:
        each = _evenly(units, each)
    lengths = (*most[:-2], min(windows[-2].count, each * rows), most[-1])
    return Blocking(windows, lengths, channels, vectors_of, (1, 1), (), splits, 1.0, rows=rows)


def _evenly(total: int, most: int) -> int:
    """The largest of an even number of pieces, about as large as ``most``; or that, if there is none."""
    near = *range(most, most - most // 4 - 1, -1), *range(most + 1, most + most // 4 + 1)
    return next((size for size in near if -(-total // size) % 2 == 0), most)


def _rows_together(problem: Problem, windows: tuple[Window, ...], lengths: list[int]) -> int:
    """Rows of outputs that fill whole vectors, where rows follow one another without a gap and a tile has so many."""
    columns, lanes = lengths[-1], lanes_of(this_machine(), problem.compute_dtype)
    rows = lanes // math.gcd(lanes, columns)
    return rows if problem.taps == 1 and columns == windows[-1].count and rows <= lengths[-2] else 1


def channels_at_once(problem: Problem) -> int:
    """Input channels summed at a time at most."""
    return largest(problem.in_channels, max(1, TERMS // problem.taps))


class Run(NamedTuple):
    """Terms that are summed one after another: some channels, for each of them some kernel elements.

    A run has the kernel's elements with one index along the first axis, so that outputs whose windows leave the input
    there can leave runs out.
    """

    channels: Range
    taps: Range
    at: int
    """Terms before."""


@lru_cache(maxsize=512)
def runs(problem: Problem) -> tuple[Run, ...]:
    """All terms in the order in which they are summed: channels by channels, there run by run."""
    leading = with_rows(problem.windows)[0].kernel
    if leading == 1:
        return (Run((0, problem.in_channels), (0, problem.taps), 0),)
    each = problem.taps // leading
    return tuple(
        Run((lo, hi), (n * each, (n + 1) * each), lo * problem.taps + n * each * (hi - lo))
        for lo, hi in cuts(problem.in_channels, channels_at_once(problem))
        for n in range(leading)
    )


Way = tuple[float, Blocking]
"""Cycles of a tile, and how it is cut."""


def _by_pixels(problem: Problem, cut: Blocking, layout: Layout) -> list[Way]:
    """If vectors hold pixels."""
    lanes, outputs = lanes_of(this_machine(), problem.compute_dtype), problem.out_channels
    windows, lengths = cut.windows, cut.lengths
    *leading, tall, wide = lengths
    far = pitch(windows[-1], wide)
    vectors = -(-((tall - 1) * far + wide) // lanes)
    tile = register_tile(outputs, vectors, dense.MOST_ROWS)
    cost = math.prod(leading) * problem.terms * cycles(outputs, vectors, *tile)
    lines: Literal["joined", "apart"] = "joined"
    if layout.result == "pixels" and tall > 1 and (far != wide or wide != windows[-1].count):
        cost += STORING * math.prod(lengths) * outputs
        each = register_tile(outputs, -(-wide // lanes), dense.MOST_ROWS)
        apart = math.prod(leading) * tall * problem.terms * cycles(outputs, -(-wide // lanes), *each)
        if apart < cost:
            cost, tile, lines = apart, each, "apart"
    if layout.samples == "channels":
        laid = math.prod(pitch(w, n) * touched_stride(w) for w, n in zip(windows, lengths, strict=True))
        cost += TURNING * problem.in_channels * laid
    if layout.result == "channels":
        cost += TURNING * math.prod(lengths) * outputs
    return [(cost, replace(cut, tile=tile, blocks=tuple(pieces(outputs, tile[0])), lines=lines, lanes=lanes))]


def _by_channels(problem: Problem, cut: Blocking, layout: Layout) -> list[Way]:
    """If vectors hold output channels: whole vectors, or half ones where those are as fast."""
    whole, pixels = lanes_of(this_machine(), problem.compute_dtype), math.prod(cut.lengths)
    found: list[Way] = []
    for lanes in (whole, whole // 2) if this_machine().halves else (whole,):
        vectors = -(-problem.out_channels // lanes)
        tile = register_tile(pixels, vectors, dense_channels.MOST_ROWS, lanes / whole)
        cost = problem.terms * cycles(pixels, vectors, *tile, lanes / whole) * (1 if lanes == whole else HALVES)
        if layout.result == "pixels":
            cost += TURNING * pixels * problem.out_channels
        blocks = tuple((size * lanes, count) for size, count in pieces(vectors, tile[1]))
        found.append((cost, replace(cut, tile=tile, blocks=blocks, lanes=lanes)))
    return found


def _room(problem: Problem, channels: int, strides: int) -> int:
    """Outputs of one channel of a tile at most."""
    item = item_bytes(problem.compute_dtype)
    return max(
        8 * lanes_of(this_machine(), problem.compute_dtype),
        min(
            SUMS_BYTES // (item * min(problem.out_channels, 1024)),
            PACKED_BYTES // (item * channels * strides),
            TILE_PRODUCTS // (problem.terms * problem.out_channels),
            max(LEAST_PIXELS, -(-problem.outputs // TASKS)),
        ),
    )
