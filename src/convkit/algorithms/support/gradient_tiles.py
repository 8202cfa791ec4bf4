"""The gradient of a layer's weights, as a program: a sum over pixels and samples, for every pair of channels.

``dw[o, c, j] = sum_(b,i) g[b, o, i] * v[b, c, i*stride + start + j*dilation]``. Rows of the register tile are input
channels and kernel elements, its vectors hold output channels, and its terms are pixels: of a chunk, which is one tile
of one sample or several whole small samples. For each chunk the samples are laid down as `planes`, and the upstream
gradient with its channels side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

import numpy as np

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.packing import LINE, item_bytes, touched_stride, unpacking
from convkit.algorithms.support.planes import Box, Planes, Strides, pitch, space, with_rows
from convkit.algorithms.support.register_tiles import cuts, cycles, largest, pieces, register_tile
from convkit.codegen import dense_channels as kernel
from convkit.codegen import transpose
from convkit.codegen.dense_channels import MOST_ROWS, DenseChannels
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import ADD, BIAS, KERNEL, OUT, SCRATCH, TABLES, Steps
from convkit.planner.problem import Problem
from convkit.spec.window import Window

TERMS = 768
"""Pixels of a chunk: the more, the fewer times sums are read and written; what is laid down stays in the cache."""

PACKED_BYTES = 1 << 18
"""Bytes of samples that are laid down at a time at most."""

SUMS_BYTES = 1 << 19
"""Bytes of the sums of one task at most."""

VECTORS = 12
"""Vectors of output channels that one task has at most."""

SMALL_KERNEL = 1 << 19
"""Bytes of weights up to which the chunks are shared out among tasks, whose sums are added in the end."""

PARTS = 8
"""How many tasks then share them."""

FEWEST_TERMS = 256
"""Pixels of a chunk at least, where there would be fewer chunks than tasks otherwise."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """How the gradient is cut; threads have no say in it.

    Attributes
    ----------
    windows : tuple of Window
        The forward operator's, two axes at least.
    lengths : tuple of int
        Pixels of a tile along each axis at most.
    samples : int
        Samples of a chunk.
    packed : int
        Input channels laid down at a time at most.
    channels : int
        Input channels of one task at most.
    vectors : int
        Vectors of output channels of one task at most.
    parts : int
        Tasks among which the chunks are shared out.
    tile : tuple of int
        Rows and vectors of the register tile.
    share : float
        How much of the arithmetic is wanted: output channels fill whole vectors.
    """

    windows: tuple[Window, ...]
    lengths: tuple[int, ...]
    samples: int
    packed: int
    channels: int
    vectors: int
    parts: int
    tile: tuple[int, int]
    share: float

    def chunks(self, samples: int) -> list[tuple[Range, Box]]:
        """The samples and the tile of every chunk, in the order in which they are summed."""
        boxes = product(*(cuts(w.count, n) for w, n in zip(self.windows, self.lengths, strict=True)))
        return list(product(cuts(samples, self.samples), boxes))


@lru_cache(maxsize=512)
def blocking(problem: Problem) -> Blocking:
    """How ``problem`` is cut, which is the adjoint of a layer by its kernel: samples take the place of channels."""
    windows = with_rows(tuple(window.kernel_adjoint() for window in problem.windows))
    item, lanes = item_bytes(problem.compute_dtype), lanes_of(this_machine(), problem.compute_dtype)
    taps, inputs, samples = problem.outputs, problem.batch, problem.in_channels
    small = item * problem.groups * problem.out_channels * inputs * taps <= SMALL_KERNEL
    room = terms = max(FEWEST_TERMS, min(TERMS, problem.terms // PARTS)) if small else TERMS
    lengths: list[int] = []
    for window in reversed(windows):
        lengths.append(largest(window.count, max(1, room)))
        room //= lengths[-1]
    lengths.reverse()
    pixels = math.prod(lengths)
    whole = pixels == math.prod(window.count for window in windows)
    together = largest(samples, max(1, terms // pixels)) if whole else 1
    vectors = -(-problem.out_channels // lanes)
    laid = item * together * math.prod(n * touched_stride(w) for w, n in zip(windows[:-1], lengths)) * pitch(
        windows[-1], lengths[-1]
    ) * touched_stride(windows[-1])  # fmt: skip
    wide = largest(vectors, VECTORS)
    channels = largest(inputs, max(1, SUMS_BYTES // (item * taps * wide * lanes)))
    packed = largest(channels, max(1, PACKED_BYTES // laid))
    tile = register_tile(packed * taps, wide, MOST_ROWS)
    share = problem.out_channels / lanes * packed * taps / cycles(packed * taps, vectors, *tile)
    chunks = -(-samples // together) * math.prod(-(-w.count // n) for w, n in zip(windows, lengths, strict=True))
    parts = min(PARTS, chunks) if small else 1
    return Blocking(windows, tuple(lengths), together, packed, channels, wide, parts, tile, share)


def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs."""
    cut = blocking(problem)
    samples, box = cut.chunks(problem.in_channels)[0]
    planes = Planes(cut.windows, box, problem.compute_dtype)
    return _Layout.of(problem, cut, planes, samples[1] - samples[0]).bytes


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things lie in scratch memory: the samples at its beginning, the upstream gradient, the sums."""

    upstream_at: int
    sums_at: int
    sums_row: int
    bytes: int

    @classmethod
    def of(cls, problem: Problem, cut: Blocking, planes: Planes, samples: int) -> _Layout:
        upstream_at = planes.channel * cut.packed * samples + LINE
        vector = this_machine().vector_bytes
        sums_at = upstream_at + samples * len(planes.pixels) * cut.vectors * vector + LINE
        sums_row = cut.vectors * vector + (LINE if cut.vectors * vector % 1024 == 0 else 0)
        return cls(upstream_at, sums_at, sums_row, sums_at + cut.channels * problem.outputs * sums_row)


@lru_cache(maxsize=128)
def program(
    problem: Problem, x_strides: Strides, g_strides: Strides, out_strides: Strides, part_stride: int
) -> Program:  # fmt: skip
    """Everything about a call but its arrays; the sums of part ``n`` are stored ``n * part_stride`` bytes further."""
    tables, cut = Tables(), blocking(problem)
    chunks = cut.chunks(problem.in_channels)
    vectors = -(-problem.out_channels // lanes_of(this_machine(), problem.compute_dtype))
    planes = {box: Planes(cut.windows, box, problem.compute_dtype) for _, box in chunks}
    layouts = [_Layout.of(problem, cut, planes[box], samples[1] - samples[0]) for samples, box in chunks]
    layout = max(layouts, key=lambda found: found.bytes)
    tasks: list[list[Steps]] = []
    for channels, block in product(cuts(problem.batch, cut.channels), cuts(vectors, cut.vectors)):
        task = _Task(problem, cut, tables, layout, channels, block)
        bounds = [part * len(chunks) // cut.parts for part in range(cut.parts + 1)]
        for part, some in enumerate(pairwise(bounds)):
            steps: list[Steps] = []
            for n in range(*some):
                samples, box = chunks[n]
                steps += task.chunk(planes[box], samples, box, x_strides, g_strides, first=n == some[0])
            tasks.append([*steps, *task.store(out_strides, part * part_stride)])
    return join(tasks, tables.array(), layout.bytes)


class _Task:
    """The steps that sum some chunks for some input and some output channels, of every group."""

    def __init__(
        self, problem: Problem, cut: Blocking, tables: Tables, layout: _Layout, channels: Range, block: Range
    ) -> None:  # fmt: skip
        self.problem, self.cut, self.tables, self.layout = problem, cut, tables, layout
        self.channels, self.block = channels, block
        self.dtype = problem.compute_dtype
        self.item, self.lanes = item_bytes(self.dtype), lanes_of(this_machine(), self.dtype)
        self.groups = np.arange(problem.groups, dtype=np.int64)
        self.tiles = pieces(block[1] - block[0], cut.tile[1])
        self.outputs = block[0] * self.lanes, min(problem.out_channels, block[1] * self.lanes)

    def chunk(
        self, planes: Planes, samples: Range, box: Box, x_strides: Strides, g_strides: Strides, first: bool
    ) -> list[Steps]:  # fmt: skip
        """Lay down what a chunk needs, and add its products."""
        found: list[Steps] = []
        together = samples[1] - samples[0]
        for n, sample in enumerate(range(*samples)):
            found += self.upstream(planes, n, sample, together, box, g_strides)
        for lo, hi in cuts(self.channels[1] - self.channels[0], self.cut.packed):
            found += self.samples(planes, samples, (self.channels[0] + lo, self.channels[0] + hi), x_strides)
            found += self.multiply_add(planes, together, (lo, hi), first)
        return found

    def samples(self, planes: Planes, samples: Range, channels: Range, x_strides: Strides) -> list[Steps]:
        """Lay down some channels of some samples."""
        found: list[Steps] = []
        count = channels[1] - channels[0]
        for n, sample in enumerate(range(*samples)):
            at = self.groups * x_strides[1] + channels[0] * x_strides[0] + sample * x_strides[2]
            found += planes.pack(
                self.tables, self.problem.input_dtype, space(x_strides), self.problem.fill, at, count, x_strides[0],
                n * count * planes.channel,
            )  # fmt: skip
        return found

    def upstream(
        self, planes: Planes, n: int, sample: int, samples: int, box: Box, strides: Strides
    ) -> list[Steps]:  # fmt: skip
        """Lay down the upstream gradient of one sample, output channels side by side, register tile by register tile.

        Rows of pixels that lie one after another are one row.
        """
        along = space(strides)
        *leading, rows, columns = planes.counts
        merged = along[-2] == columns * along[-1] or rows == 1
        at = self.groups * strides[0] + sample * strides[2] + sum(lo * s for (lo, _), s in zip(box, along, strict=True))
        pixels, vector = len(planes.pixels), self.lanes * self.item
        found: list[Steps] = []
        before, output = 0, self.outputs[0]
        for size, count in self.tiles:
            for _ in range(count):
                width = size * self.lanes
                panel = self.layout.upstream_at + samples * pixels * before * vector + n * pixels * size * vector
                for number, index in enumerate(product(*map(range, leading))):
                    moved = at + output * strides[1] + sum(i * s for i, s in zip(index, along, strict=False))
                    found.append(
                        transpose.ARGUMENTS.steps(
                            address_of(transpose.Transpose(self.dtype)), len(at), x=(KERNEL, moved),
                            to=(SCRATCH, panel + number * rows * columns * size * vector),
                            planes=1 if merged else rows, to_plane=columns * size * vector, x_plane=along[-2],
                            rows=min(width, self.outputs[1] - output), columns=rows * columns if merged else columns,
                            width=width, to_row=size * vector, x_row=strides[1],
                        )
                    )  # fmt: skip
                before, output = before + size, output + width
        return found

    def multiply_add(self, planes: Planes, samples: int, some: Range, first: bool) -> list[Steps]:
        """Add the products of a chunk to the sums of some of the task's channels."""
        channels, taps = some[1] - some[0], self.problem.outputs
        sample = np.arange(samples, dtype=np.int64)[:, None] * (channels * planes.channel)
        offsets = self.tables.add((sample + planes.pixels).ravel())
        rows = planes.elements(channels)
        vector = self.lanes * self.item
        (size, tiles), last = self.tiles[0], self.tiles[1:]
        found: list[Steps] = []
        begin, sums = 0, self.layout.sums_at + some[0] * taps * self.layout.sums_row
        for height, blocks in pieces(channels * taps, self.cut.tile[0]):
            schedule = DenseChannels(self.dtype, self.lanes, height, size, "zero" if first else "sums")
            found.append(
                kernel.ARGUMENTS.steps(
                    address_of(schedule), len(self.groups), x=(SCRATCH, 0), w=(SCRATCH, self.layout.upstream_at),
                    sums=(SCRATCH, sums + begin * self.layout.sums_row), offsets=(TABLES, offsets),
                    rows_at=(TABLES, self.tables.add(rows[begin : begin + height * blocks])), blocks=blocks,
                    sums_at=(TABLES, self.tables.add(np.arange(height * blocks) * self.layout.sums_row)),
                    depth=samples * len(planes.pixels), tiles=tiles, last_tiles=last[0][1] if last else 0,
                    w_vector=samples * len(planes.pixels) * vector, bias=(BIAS, 0), add=(ADD, 0), rest=0,
                )
            )  # fmt: skip
            begin += height * blocks
        return found

    def store(self, strides: Strides, part: int) -> list[Steps]:
        """Store the sums, kernel elements side by side."""
        taps, channels, outputs = self.problem.outputs, self.channels[1] - self.channels[0], self.outputs
        at = self.groups * strides[1] + self.channels[0] * strides[0] + outputs[0] * strides[2] + part
        if taps == 1:
            row = self.layout.sums_row
            return [
                unpacking(
                    self.dtype, self.dtype, [self.layout.sums_at], row, outputs[1] - outputs[0], channels, strides[0],
                    strides[2], at,
                )
            ]  # fmt: skip
        return [
            transpose.ARGUMENTS.steps(
                address_of(transpose.Transpose(self.dtype)), len(at), x=(SCRATCH, self.layout.sums_at), to=(OUT, at),
                planes=channels, to_plane=strides[0], x_plane=taps * self.layout.sums_row,
                rows=taps, columns=outputs[1] - outputs[0], width=taps, to_row=strides[2],
                x_row=self.layout.sums_row,
            )
        ]  # fmt: skip
