"""How a convolution that sums over channels is cut: tiles, blocks of output channels, and the order of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convkit import threads
from convkit.algorithms.support.packing import item_bytes, touched_stride
from convkit.algorithms.support.planes import Box, Strides, pitch, with_rows
from convkit.algorithms.support.register_tiles import cuts, cycles, largest, pieces, register_tile
from convkit.codegen import dense, dense_channels, gather, pool, transpose
from convkit.codegen.dense import lanes_of
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import OUT, TABLES, Steps, X
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

WEIGHTS_AT_ONCE = 1 << 16
"""Weights that one task puts in order."""

TURNING = 0.8
"""Cycles that it takes to turn one sum, where output channels lie side by side, so that pixels do."""


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
    """

    windows: tuple[Window, ...]
    lengths: tuple[int, ...]
    channels: int
    vectors_of: Literal["pixels", "channels"]
    tile: tuple[int, int]
    blocks: tuple[tuple[int, int], ...]
    splits: int
    share: float

    @property
    def boxes(self) -> list[Box]:
        """The outputs of every tile."""
        return list(product(*(cuts(w.count, n) for w, n in zip(self.windows, self.lengths, strict=True))))

    @property
    def blocks_a_task(self) -> int:
        """Blocks of output channels that one task computes at most."""
        return -(-sum(count for _, count in self.blocks) // self.splits)

    def before(self, block: int) -> int:
        """Output channels before a block, those that are not there included."""
        channels = 0
        for size, count in self.blocks:
            channels += size * min(block, count)
            block -= min(block, count)
        return channels


@lru_cache(maxsize=512)
def blocking(problem: Problem) -> Blocking:
    """How each sample of ``problem`` is cut; neither threads nor the batch have a say in it."""
    if problem.batch != 1:
        return blocking(problem.derive(batch=1))
    windows = with_rows(problem.windows)
    channels = largest(problem.in_channels, max(1, TERMS // problem.taps))
    room = _room(problem, channels, math.prod(touched_stride(window) for window in windows))
    lengths: list[int] = []
    for window in reversed(windows):
        lengths.append(largest(window.count, max(1, room)))
        room //= lengths[-1] if len(lengths) > 1 else pitch(window, lengths[-1])
    lengths.reverse()
    tiles = problem.groups * math.prod(-(-w.count // n) for w, n in zip(windows, lengths, strict=True))
    splits = max(1, min(-(-TASKS // tiles), problem.out_channels // TASK_ROWS))
    by_pixels, by_channels = _by_pixels(problem, windows, lengths), _by_channels(problem, lengths)
    vectors_of, (cost, tile, blocks) = min(
        (("pixels", by_pixels), ("channels", by_channels)), key=lambda way: way[1][0]
    )  # fmt: skip
    ideal = problem.out_channels * math.prod(lengths) / lanes_of(this_machine(), problem.compute_dtype)
    return Blocking(windows, tuple(lengths), channels, vectors_of, tile, blocks, splits, ideal * problem.terms / cost)  # type: ignore[arg-type]


Way = tuple[float, tuple[int, int], tuple[tuple[int, int], ...]]


def _by_pixels(problem: Problem, windows: tuple[Window, ...], lengths: list[int]) -> Way:
    """Cycles of a tile, its register tile and blocks of output channels, if vectors hold pixels."""
    lanes, outputs = lanes_of(this_machine(), problem.compute_dtype), problem.out_channels
    *leading, tall, wide = lengths
    vectors = -(-((tall - 1) * pitch(windows[-1], wide) + wide) // lanes)
    tile = register_tile(outputs, vectors, dense.MOST_ROWS)
    cost = math.prod(leading) * problem.terms * cycles(outputs, vectors, *tile)
    return cost, tile, tuple(pieces(outputs, tile[0]))


def _by_channels(problem: Problem, lengths: list[int]) -> Way:
    """The same if vectors hold output channels."""
    lanes, pixels = lanes_of(this_machine(), problem.compute_dtype), math.prod(lengths)
    vectors = -(-problem.out_channels // lanes)
    tile = register_tile(pixels, vectors, dense_channels.MOST_ROWS)
    cost = problem.terms * cycles(pixels, vectors, *tile) + TURNING * pixels * problem.out_channels
    return cost, tile, tuple((size * lanes, count) for size, count in pieces(vectors, tile[1]))


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


def weights_of(problem: Problem) -> int:
    """Weights of one group, as they are laid down."""
    return problem.terms * sum(size * count for size, count in blocking(problem).blocks)


def pack_weights(problem: Problem, kernel: NDArray[Any]) -> NDArray[Any]:
    """Weights (groups, out, in, *kernel) in the order in which they are read: block by block, there term by term."""
    kernel = np.asarray(kernel, problem.compute_dtype)
    packed = np.empty((problem.groups, weights_of(problem)), problem.compute_dtype)
    program = _weights_program(problem.derive(batch=1), kernel.strides)
    pool.run(program, (packed.ctypes.data, kernel.ctypes.data, 0), threads.num_threads(), packed.size * 4e-10)
    return packed


@lru_cache(maxsize=128)
def _weights_program(problem: Problem, strides: Strides) -> Program:
    tables, blocks = Tables(), blocking(problem).blocks
    item, depth = item_bytes(problem.compute_dtype), problem.terms
    terms = np.zeros(1, np.int64)
    for size, stride in zip(problem.kernel_shape[2:], strides[2:], strict=True):
        terms = (terms[:, None] + np.arange(size, dtype=np.int64) * stride).ravel()
    terms_at, neighbours = tables.add(terms), bool((np.diff(terms) == item).all())
    groups = np.arange(problem.groups, dtype=np.int64)
    tasks: list[list[Steps]] = []
    first = 0
    for size, count in blocks:
        at_once = max(1, WEIGHTS_AT_ONCE // (size * depth))
        whole = min(count, (problem.out_channels - first) // size)
        ranges = [(n, min(n + at_once, whole), size) for n in range(0, whole, at_once)]
        if whole < count:
            ranges.append((whole, count, problem.out_channels - first - whole * size))
        for lo, hi, rows in ranges:
            begin = first + lo * size
            to = OUT, groups * (item * weights_of(problem)) + begin * depth * item
            place = {"to": to, "to_plane": size * depth * item, "planes": hi - lo, "rows": rows, "width": size,
                     "x": (X, groups * strides[0] + begin * strides[1]), "x_plane": size * strides[1]}  # fmt: skip
            if neighbours:
                address = address_of(transpose.Transpose(problem.compute_dtype))
                step = transpose.ARGUMENTS.steps(
                    address, len(groups), **place, columns=depth, to_row=size * item, x_row=strides[1]
                )  # fmt: skip
            else:
                rows_at = tables.add(np.arange(rows, dtype=np.int64) * strides[1])
                step = gather.ARGUMENTS.steps(
                    address_of(gather.Gather(problem.compute_dtype)), len(groups), **place, terms=depth,
                    rows_at=(TABLES, rows_at), terms_at=(TABLES, terms_at),
                )  # fmt: skip
            tasks.append([step])
        first += size * count
    return join(tasks, tables.array(), 64)
